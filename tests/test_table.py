"""Tables: what a spec may be, what its cells are, what is collected and what refused; a small one is really run."""
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pretrain.objectives
from launch.collect import entries
from launch.spec import cell_of, read, state, value
from launch.table import main, stages_of
from pretrain import config
from pretrain.files import write_json
from pretrain.machine.metrics import event
from pretrain.run import prepare, views_of
from pretrain.train import fingerprint
from tests.test_small_files import damages

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
SPEC = """
def get_table():
  return dict(
      title='Temperatures', differs='Everything: 8 x 8 digits.', seeds=(0, 1), shared={'steps': 3},
      rows={'SimCLR': dict(config='TINY'),
            'Deeper': dict(config='TINY', overrides={'backbone.depth': 2})},
      columns={'0.2': {'objective.temperature': 0.2}, '0.5': {'objective.temperature': 0.5}},
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'loss': 'metrics/loss'},
      paper={'SimCLR': {'0.2': {'kNN': 80.0}}}, source='nobody, table 0', tolerance=3.)
""".replace('TINY', f'{ROOT}/tests/tiny.py')


@pytest.mark.parametrize('path', sorted((ROOT / 'launch' / 'tables').glob('*.py')), ids=lambda p: p.stem)
def test_every_table_has_cells_whose_configs_are_configs(path):
  _, cells = read(str(path.relative_to(ROOT)), Path('runs'))
  for cell in cells:
    if 'program' in cell.config:  # which sets some keys of its runs, and checks them when it begins
      continue
    config.check(prepare, cell.config, 'config')
    own = dict(cell.config['objective'])
    name = own.pop('name')
    built = [key for key, value in own.items() if isinstance(value, dict)]  # a text tower, from such an entry
    own = {key: value for key, value in own.items() if key not in built}
    config.check(config.find(pretrain.objectives, name), own, 'config.objective',
                 ('backbone', 'steps', 'examples', *built))
    for step, changes in (*cell.config.get('phases', ()), (None, {})):
      if made := (cell.config.get('views') or {}) | changes:  # texts and rows have none
        views_of(made, f'config.views of phase {step}')


@pytest.fixture
def spec(tmp_path):
  path = tmp_path / 'temperatures.py'
  path.write_text(SPEC)
  return path


def finish(cell, knn: float, loss: float = 1., **made) -> None:
  """What a run leaves behind."""
  write_json(cell.workdir / 'config.json', cell.config)
  write_json(cell.workdir / 'result.json', {
      'config': fingerprint(cell.config), 'metrics': {'loss': loss}, 'made': {'commit': 'abc', **made},
      'evaluation': [{'features': 'raw pixels', 'knn': 0.1}, {'features': 'pretrained backbone', 'knn': knn}]})


def collect(spec, tmp_path, *flags) -> str:
  assert main([str(spec), 'collect', f'--runs={tmp_path}/runs', *flags]) == 0
  return (tmp_path / 'runs/temperatures.md').read_text()


def test_cells_are_rows_by_columns_by_seeds(spec, tmp_path):
  _, cells = read(str(spec), tmp_path / 'runs')
  assert len(cells) == 8 and len({fingerprint(cell.config) for cell in cells}) == 8
  last = cells[-1]
  assert (last.row, last.column, last.seed) == ('Deeper', '0.5', 1)
  assert last.config['seed'] == 1 and last.config['backbone']['depth'] == 2 and last.config['steps'] == 3
  assert last.workdir == tmp_path / 'runs/deeper/0.5/seed1' and '--config.objective.temperature=0.5' in last.argv
  assert len(read(str(spec), tmp_path, only=('Deeper',))[1]) == 4


def test_mean_and_spread_stand_beside_the_papers_number(spec, tmp_path):
  _, cells = read(str(spec), tmp_path / 'runs')
  for n, cell in enumerate(cells):
    finish(cell, 0.80 + 0.02 * (n % 2) + 0.1 * (n // 2 == 3))
  text = collect(spec, tmp_path)
  assert '| SimCLR | 81.0 ± 1.4 | 1.0 ± 0.0 | 81.0 ± 1.4 |' in text  # of 80 and 82, ddof 1
  assert '| Deeper | 81.0 ± 1.4 | 1.0 ± 0.0 | 91.0 ± 1.4 |' in text
  assert '| SimCLR 0.2 kNN | 80 | 81.0 ± 1.4 | +1.0 | yes |' in text
  assert 'Everything: 8 x 8 digits.' in text and '8 runs: commit abc.' in text and 'temperatures.py run' in text
  rows = list(csv.DictReader((tmp_path / 'runs/temperatures.csv').open()))
  assert len(rows) == 16 and rows[0]['value'] == '80.0000' and rows[0]['paper'] == '80.0'
  assert (tmp_path / 'runs/temperatures.png').read_bytes().startswith(b'\x89PNG')


def test_a_row_may_be_a_program_whose_stages_are_measured(tmp_path):
  """Seeds and shared keys go to several of its runs, metrics come from one of them."""
  path = tmp_path / 'stages.py'
  path.write_text("""
def get_table():
  return dict(
      title='Stages', differs='Everything.', seeds=(3,), shared={'batch': 16},
      rows={'distilled': dict(config='configs/dinov2_distill.py:fashion_mnist', command='program',
                              prefix=('teacher.', 'student.'))},
      metrics={'kNN': 'student:evaluation/pretrained backbone/knn'})
""")
  _, (cell,) = read(str(path), tmp_path / 'runs')
  assert [cell.config[name][key] for name in ('teacher', 'student') for key in ('seed', 'batch')] == [3, 16, 3, 16]
  finish(cell._replace(workdir=cell.workdir / 'student'), 0.7)
  finish(cell, 0.2)
  assert value(cell, 'kNN') == 70.


def test_what_is_missing_or_failed_is_said_and_never_averaged_away(spec, tmp_path, capsys):
  _, cells = read(str(spec), tmp_path / 'runs')
  finish(cells[0], 0.8)
  write_json(cells[1].workdir / 'config.json', cells[1].config)
  event(cells[1].workdir, 'stop', step=2, reason='loss or gradient not finite at step 2')
  write_json(cells[2].workdir / 'config.json', cells[2].config)
  event(cells[2].workdir, 'error', reason='OSError: no space')
  write_json(cells[3].workdir / 'config.json', cells[3].config)
  event(cells[3].workdir, 'stop', step=2, reason='SIGTERM')
  assert [state(cell)[0] for cell in cells[:5]] == ['done', 'failed', 'failed', 'stopped', 'missing']
  text = collect(spec, tmp_path)
  assert '| SimCLR | 80.0 (n=1; 1 failed) |' in text and '1 failed, 1 stopped' in text and '| 2 missing |' in text
  capsys.readouterr()
  assert main([str(spec), 'status', f'--runs={tmp_path}/runs']) == 0
  said = capsys.readouterr().out
  assert '1 done, 1 stopped, 2 failed, 4 missing' in said and 'no space' in said.replace('\n', ' ')


def test_one_bad_cell_never_stops_a_table(spec, tmp_path, capsys):
  """Each small file of a cell cut at every byte and with each value gone or of another type."""
  table, cells = read(str(spec), tmp_path / 'runs')
  for cell in cells[:2]:
    finish(cell, 0.8)
  bad = cells[0].workdir
  for name in ('result.json', 'config.json'):
    good = (bad / name).read_bytes()
    for data in damages(bad / name):
      (bad / name).write_bytes(data)
      word, about = state(cells[0])
      assert word in ('done', 'damaged', 'missing', 'another config') and (about or word in ('done', 'missing'))
      if word != 'another config':  # which is refused in words, as before
        assert len(entries(table, cells)[0].values) in (1, 2)
    (bad / name).write_bytes(good)
  (bad / 'result.json').write_text('{"config": "x", "evaluation": [3], "metrics": {}}')
  text = collect(spec, tmp_path)
  assert '| SimCLR | 80.0 (n=1; 1 damaged)' in text, text
  capsys.readouterr()
  os.truncate(bad / 'result.json', 9)
  assert main([str(spec), 'status', f'--runs={tmp_path}/runs']) == 0
  assert 'result.json is damaged: wanted a JSON object' in capsys.readouterr().out.replace('\n', ' ')


def test_runs_of_another_config_are_not_mixed_in(spec, tmp_path, capsys):
  _, cells = read(str(spec), tmp_path / 'runs')
  finish(cells[0], 0.8)
  finish(cells[1]._replace(config=cells[1].config | {'steps': 4}), 0.9)
  for command in ('collect', 'run'):
    assert main([str(spec), command, f'--runs={tmp_path}/runs']) == 1
    assert '1 run directories belong to another config' in capsys.readouterr().err


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ("title='Temperatures', ", '', 'a table needs title'),
    ('seeds=', 'seed=', "no 'seed' in a table; nearest: 'seeds'"),
    ('seeds=(0, 1)', 'seeds=()', 'seeds is empty'),
    ("{'objective.temperature': 0.5}", "{'objective.temperature': 0.2}", 'are one cell: the same config'),
    ("'Deeper': dict", "'simclr': dict", 'are one cell: the same directory'),
    ('tiny.py', 'tinny.py', "nearest: "),
    ("overrides={'backbone", "override={'backbone", "wanted config, and perhaps some of"),
    ("paper={'SimCLR'", "paper={'SimCRL'", "'SimCRL', which the table has not; nearest: 'SimCLR'"),
    ("{'0.2': {'kNN': 80", "{'0.2': {'knn': 80", "nearest: 'kNN'"),
    ('backbone/knn', 'backbone/nn', "no 'nn' of 'evaluation/pretrained backbone/nn'"),
    ('metrics/loss', 'metrics', 'is no number'),
])
def test_a_bad_spec_is_refused_in_words(spec, tmp_path, capsys, old, new, words):
  _, cells = read(str(spec), tmp_path / 'runs')
  finish(cells[0], 0.8)
  spec.write_text(SPEC.replace(old, new))
  assert spec.read_text() != SPEC
  assert main([str(spec), 'collect', f'--runs={tmp_path}/runs']) == 1
  assert words in capsys.readouterr().err


def test_flags_are_refused_in_words(spec, tmp_path, capsys):
  for flags, words in ((['colect'], "nearest: 'collect'"), (['run', '--workes=2'], "nearest: '--workers'"),
                       (['run', '--workers=0'], 'wanted at least 1'), (['run', '--only=simclr'], "nearest: 'SimCLR'"),
                       (['run', '--engine=kubernetes'], 'no \'kubernetes\''), (['collect'], 'nothing to collect'),
                       (['plan'], 'plan needs --topology')):
    assert main([str(spec), *flags, f'--runs={tmp_path}/none']) == 1
    assert words in capsys.readouterr().err


def test_on_a_cluster_it_is_one_array(spec, tmp_path, capsys):
  assert main([str(spec), 'run', '--engine=slurm', '--topology=h100:1x1', '--workers=3', f'--runs={tmp_path}/runs',
               '--dry-run']) == 0
  text = capsys.readouterr().out
  assert '#SBATCH --array=0-7%3' in text and '7) command=(' in text and '--gpus-per-node=1' in text
  assert main([str(spec), 'run', '--engine=k8s', '--image=i', f'--runs={tmp_path}/runs', '--dry-run']) == 0
  assert capsys.readouterr().out.count('kind: JobSet') == 8


def test_plan_says_what_a_cell_needs_elsewhere(spec, tmp_path, capsys):
  assert main([str(spec), 'plan', '--topology=v5e:2x2', '--only=SimCLR', f'--runs={tmp_path}/runs']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2 and lines[0].startswith('SimCLR 0.2: ') and 'TFLOP a step' in lines[0]


def test_a_program_is_planned_by_its_stages(tmp_path):
  (cell, *_), = read(str(ROOT / 'launch/tables/labels_cifar10.py'), tmp_path, only=('Curriculum Labeling',))[1:]
  stages = stages_of(cell.config)
  assert stages.keys() == {'train'} and stages['train']['batch'] == 512 and 'checkpoint' in stages['train']
  assert stages_of(stages['train']) == {'': stages['train']}


def test_a_table_is_run_where_it_is_missing_and_no_cell_twice(spec, tmp_path, capsys):
  cells = read(str(spec), tmp_path / 'runs')[1]
  evaluate = "--config.evaluate=dict(train=dict(name='digits', split='train'), test=dict(name='digits', split='test'))"
  mine = [cell_of(read(str(spec), tmp_path)[0], cell.row, cell.column, cell.seed, tmp_path / 'runs', 'python',
                  (evaluate.removeprefix('--config.'),)) for cell in cells[:4]]
  for cell in mine[1:3]:
    finish(cell, 0.5)
  command = [sys.executable, '-m', 'launch.table', str(spec), 'run', f'--runs={tmp_path}/runs', '--only=SimCLR',
             '--workers=2', evaluate]
  env = os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'}
  done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr + ''.join(p.read_text() for p in tmp_path.rglob('*.log'))
  assert '4 cells: 2 done, 2 missing; to run: 2' in done.stdout and '4 cells: 4 done' in done.stdout
  text = collect(spec, tmp_path, '--only=SimCLR', evaluate)
  result = json.loads((mine[0].workdir / 'result.json').read_text())
  assert result['made'].keys() == {'commit', 'jax', 'python', 'device'} and result['steps'] == 3
  assert '| SimCLR | ' in text and 'missing' not in text
  assert main(command[3:]) == 0
  assert '4 cells: 4 done; to run: 0' in capsys.readouterr().out
