"""Programs of several runs: the stages, what goes from one to the next, stops and kills; the start from another run."""
import functools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import data.sources
from data import identity
from data import labels as stores
from data.source import images
from data.sources import array_record, folder
from data.sources.digits import digits
from pretrain import config, train
from pretrain.__main__ import main
from pretrain.config import ConfigError
from pretrain.interop import initialize
from pretrain.machine import rundir
from pretrain.programs import label as labeling
from pretrain.programs import stages
from pretrain.programs.stages import program
from pretrain.train import DONE, STOPPED, prepare
from pretrain.views.supervised import supervised as supervised_views
from tests.shipped import PROGRAMS, shallow
from tests.test_train import StopAfter, assert_same, final, tiny
from tests.test_train import losses as losses_of
from tests.tiny import pixels

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
TEST = dict(name='digits', split='test')
HARD = ["views={'name': 'supervised', 'size': 8, 'pad': 1, 'flip': 0.}",
        "objective={'name': 'supervised', 'classes': 10}", 'steps=4', 'checkpoint.every_steps=2']
LABELS = "labels={'per_class': 8, 'seed': 0}"
SOFT = [HARD[0], "objective={'name': 'distill', 'classes': 10, 'temperature': 1.}", *HARD[2:]]


def student(*overrides: str) -> dict:
  return {key: value for key, value in tiny(*overrides).items() if key != 'source'}


def curriculum(**options) -> dict:
  return dict(program=dict(name='curriculum_labeling', test=TEST, balanced=False, **options), train=tiny(*HARD, LABELS))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Curriculum Labeling that admits everything at once."""
  workdir = tmp_path_factory.mktemp('whole')
  assert program(curriculum(stepping=100.), workdir, quiet=True) == DONE
  return workdir


def result(workdir: Path) -> list[dict]:
  return json.loads((workdir / 'result.json').read_text())['stages']


# Programs -------------------------------------------------------------------------------------------------------------

def test_curriculum_labeling_at_100_per_cent_is_plain_self_training(whole, tmp_path):
  tree = tiny(*HARD, LABELS)
  config_ = dict(program=dict(name='self_training', admission=dict(percentile=0.), test=TEST), teacher=tree,
                 student={key: value for key, value in tree.items() if key not in ('source', 'labels')})
  assert program(config_, tmp_path, quiet=True) == DONE
  for one, other in [('cycle0', 'generation0'), ('cycle1', 'generation1')]:
    assert losses_of(whole / one) == losses_of(tmp_path / other) and len(losses_of(whole / one)) == 4
  rows = result(tmp_path)
  assert [{**row, 'stage': ''} for row in rows] == [{**row, 'stage': ''} for row in result(whole)]
  assert [row['examples'] for row in rows] == [80, 1437] and 0 < rows[1]['label_accuracy'] < 1
  assert rows[0]['accuracy'] == json.loads((tmp_path / 'generation0' / 'accuracy.json').read_text())['accuracy']


def test_a_program_s_directory(whole, capsys):
  names = {'config.json', 'format.json', 'lock', 'cycle0', 'labels1', 'cycle1', 'result.json'}
  assert {path.name for path in whole.iterdir()} == names
  assert json.loads((whole / 'result.json').read_text())['made'].keys() == rundir.made().keys()
  assert program(curriculum(stepping=100.), whole) == DONE and 'is complete' in capsys.readouterr().out
  free = curriculum(stepping=100.)
  free['train']['mesh'] = dict(fsdp=8, data=1)
  assert program(free, whole) == DONE
  changed = curriculum(stepping=100.)
  changed['train']['seed'] = 1
  for other, words in [(curriculum(stepping=50.), r'program.stepping: 100.0 -> 50.0'),
                       (changed, r'train.seed: \(absent\) -> 1')]:
    with pytest.raises(ConfigError, match=words):
      program(other, whole)


@pytest.mark.parametrize('parts', [(), ('backbone', 'head')])
def test_cycles_admit_more_and_start_from_scratch_or_the_one_before(parts, tmp_path, monkeypatch):
  """The stages themselves are left out but for the first; what they are given is what is looked at."""
  runs, stored = [], np.random.default_rng(0).dirichlet(np.ones(10), 1437).astype(np.float32)

  def fit(run, workdir):
    runs.append((workdir.name, run))
    return workdir

  def label(model, out, *, source, generation):
    assert source == dict(name='digits', split='train') and model == tmp_path / f'cycle{generation - 1}'
    about = stores.About('m', 'train of digits', identity.look(digits(split='train').unlabeled()).identity.digest,
                         1437, 10, tuple('0123456789'), generation)
    rows = stores.Labels(about, np.arange(1437), stored.argmax(1).astype(np.int32), stored.max(1), stored)
    stores.write_part(out, 0, 1, rows)
    stores.finish(out, 1, about)
    return out

  from pretrain.programs import curriculum_labeling as file
  monkeypatch.setattr(file, 'fit', fit)
  monkeypatch.setattr(file, 'label', label)
  rows = file.curriculum_labeling(workdir=tmp_path, train=tiny(*HARD, LABELS), stepping=20., balanced=False,
                                  parts=parts)
  counts = [row['examples'] for row in rows]
  assert counts == [80] + [80 + math.ceil(round(share * (1437 - 80), 6)) for share in (0.2, 0.4, 0.6, 0.8, 1.)]
  assert [name for name, _ in runs] == [f'cycle{i}' for i in range(6)]
  for i, (_, run) in enumerate(runs):
    before = run.pop('initialize', None)
    assert before == (dict(workdir=str(tmp_path / f'cycle{i - 1}'), parts=parts) if parts and i else None)
    assert {k: v for k, v in run.items() if k not in ('source', 'labels')} == {
        k: v for k, v in tiny(*HARD).items() if k != 'source'}
  sets = [set(config.call(prepare, run, 'config').batches.args[0].rows) for _, run in runs[1:]]
  assert all(a < b for a, b in zip(sets, sets[1:], strict=False))
  shutil.rmtree(tmp_path / 'labels1')
  file.curriculum_labeling(workdir=tmp_path, train=tiny(*HARD, LABELS), stepping=100.)
  equal = config.call(prepare, runs[-1][1], 'config').batches.args[0]
  assert set(equal.rows) == sets[-1] and len(set(np.bincount(equal.labels))) == 1  # all classes equally often


def test_noisy_student_balances_and_learns_soft_labels(tmp_path):
  tree = dict(program=dict(name='noisy_student', threshold=0.05, per_class=40, test=TEST),
              teacher=tiny(*HARD, LABELS, 'steps=40', 'checkpoint.every_steps=40', 'schedule.peak=1e-2'),
              student=student(*SOFT, 'views.operations=2', 'views.cutout_share=0.25', 'backbone.depth=2',
                              'backbone.drop_path=0.2'))
  assert program(tree, tmp_path, quiet=True) == DONE
  saved = json.loads((tmp_path / 'student1' / 'config.json').read_text())['source']
  assert saved['soft'] and saved['repeat'] and saved['labels'] == dict(per_class=8, seed=0)
  rows = result(tmp_path)
  seen = np.unique(stores.read(tmp_path / 'labels1').label)
  assert rows[1]['examples'] == 80 + 40 * len(seen) and [row['stage'] for row in rows] == ['teacher', 'student1']


def test_simclr2_fine_tunes_from_the_projector_and_distils_without_labels(tmp_path):
  tree = dict(program=dict(name='simclr2', test=TEST),
              pretrain=tiny('steps=2', 'schedule.warmup_steps=0', 'objective.hidden=(48, 40)'),
              finetune=tiny(*HARD, LABELS, 'objective.projector=(48,)'), distill=student(*SOFT))
  assert program(tree, tmp_path, quiet=True) == DONE
  before = final(tmp_path / 'pretrain', tree['pretrain'])[0]
  run = json.loads((tmp_path / 'finetune' / 'config.json').read_text())
  assert run['initialize'] == dict(workdir=str(tmp_path / 'pretrain'), parts=[
      'backbone', 'projector/layers/0', 'projector/norms/0'])
  made = config.call(prepare, run, 'config')
  first = initialize.start(made.initialize, made.training)
  assert_same(first.params['backbone'], before.params['backbone'])
  assert_same(first.params['projector']['layers'][0], before.params['projector']['layers'][0])
  assert_same(first.params['projector']['norms'][0], before.params['projector']['norms'][0])
  assert_same(first.memory['statistics']['projector']['norms'][0], before.memory['statistics']['projector']['norms'][0])
  assert 'labels' not in json.loads((tmp_path / 'distill' / 'config.json').read_text())['source']
  assert [row['examples'] for row in result(tmp_path)] == [80, 1437]


def plm(unlabeled: dict | None) -> dict:
  return dict(program=dict(name='predictions_plm', unlabeled=unlabeled, test=TEST), finetune=tiny(*HARD, LABELS),
              pretrain=student(*HARD, 'steps=2', 'schedule.warmup_steps=0'))


def test_predictions_are_learned_before_the_labels(tmp_path):
  tree = plm(dict(name='digits', split='train'))
  assert program(tree, tmp_path, quiet=True) == DONE
  rows = result(tmp_path)
  assert [(row['stage'], row['examples']) for row in rows] == [('finetune0', 80), ('pretrain', 1437), ('finetune1', 80)]
  assert 0 < rows[1]['label_accuracy'] < 1 and 'label_accuracy' not in rows[2]
  run = json.loads((tmp_path / 'finetune1' / 'config.json').read_text())
  assert run.pop('initialize') == dict(workdir=str(tmp_path / 'pretrain'), parts=['backbone', 'head'])
  assert run == json.loads((tmp_path / 'finetune0' / 'config.json').read_text())
  assert losses_of(tmp_path / 'finetune1') != losses_of(tmp_path / 'finetune0')


def test_without_unlabeled_examples_the_predictions_are_plain_fine_tuning(whole, tmp_path):
  tree = plm(None)
  assert program(tree, tmp_path, quiet=True) == DONE
  assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {'finetune0', 'finetune1'}
  for stage in ('finetune0', 'finetune1'):
    assert losses_of(tmp_path / stage) == losses_of(whole / 'cycle0')  # a run of this config, on its own
    assert_same(final(tmp_path / stage, tree['finetune'])[0], final(whole / 'cycle0', tree['finetune'])[0])


def test_predictions_for_pre_training_a_model_of_texts(tmp_path):
  """Two classes that a word tells apart; few labels, many texts without."""
  rng, words = np.random.default_rng(0), ['good', 'bad', *'abcdefgh']
  for name, n in [('gold', 12), ('many', 64), ('test', 40)]:
    labels = np.arange(n) % 2
    lines = [{'text': ' '.join(words[i] for i in [*rng.integers(2, 10, 2), y]), **({} if name == 'many' else {
        'label': words[y]})} for y in labels]
    (tmp_path / f'{name}.jsonl').write_text('\n'.join(map(json.dumps, lines)))
  of = lambda name: dict(name='labeled_text', path=str(tmp_path / f'{name}.jsonl'), tokenizer='bytes', length=12)
  run = student(*HARD, 'batch=8', 'steps=30', 'checkpoint.every_steps=30', 'schedule.peak=1e-2',
                "backbone={'name': 'text', 'vocabulary': 260, 'length': 12, 'width': 16, 'depth': 1, 'heads': 2, "
                "'mlp': 16, 'pool': 'mean'}")
  run = {key: value for key, value in run.items() if key != 'views'}
  run['objective'] = dict(name='supervised', classes=2, tokens=True)
  tree = dict(program=dict(name='predictions_plm', unlabeled=of('many'), test=of('test')),
              finetune=run | dict(source=of('gold')), pretrain=run)
  assert program(tree, tmp_path / 'run', quiet=True) == DONE
  rows = result(tmp_path / 'run')
  assert [row['examples'] for row in rows] == [12, 64, 12] and 'label_accuracy' not in rows[1]
  assert rows[2]['accuracy'] > 0.8
  found = stores.read(tmp_path / 'run' / 'labels')
  assert found.about.classes == 2 and np.bincount(found.label, minlength=2).min() > 0


MAE = ["views={'name': 'mae', 'size': 8, 'scale': (0.8, 1.0)}", "schedule={'name': 'constant', 'peak': 1e-3}",
       'batch=64', "objective={'name': 'mae', 'mask_ratio': 0.5, 'decoder_width': 16, 'decoder_depth': 1, "
       "'decoder_heads': 2, 'standardize': True}", 'checkpoint.every_steps=50']


def test_mae_pre_pretraining_goes_from_run_to_run(tmp_path, monkeypatch):
  """Nothing is trained; what the stages are given is what is looked at."""
  from pretrain.programs import mae_prepretrain as file
  runs = {}
  monkeypatch.setattr(file, 'fit', lambda run, workdir: runs.update({workdir.name: run}) or workdir)
  monkeypatch.setattr(file, 'row', lambda stage, *_: {'stage': stage.name})
  configs = dict(prepretrain=tiny(*MAE), pretrain=tiny(*HARD), finetune=tiny(*HARD, LABELS))
  for last in (True, False):
    given = configs if last else {name: run for name, run in configs.items() if name != 'finetune'}
    rows = file.mae_prepretrain(workdir=tmp_path, **given)
    assert [row['stage'] for row in rows] == list(given)[1:]
  for name, before in [('pretrain', 'prepretrain'), ('finetune', 'pretrain')]:
    assert runs[name] == configs[name] | {'initialize': dict(workdir=str(tmp_path / before), parts=('backbone',))}
  assert runs['prepretrain'] == configs['prepretrain']
  with pytest.raises(ConfigError, match='config.finetune.*set by the program'):
    file.mae_prepretrain(workdir=tmp_path, **configs | dict(finetune=runs['finetune']))


def test_ssld_uses_no_label_of_the_source(tmp_path, monkeypatch):
  """The student's run is the same where all labels are wrong."""
  js = [text.replace("'temperature': 1.", "'temperature': 1., 'divergence': 'js'") for text in SOFT]
  tree = dict(program=dict(name='ssld', test=TEST), student=student(*js),
              teacher=tiny(*HARD, 'steps=200', 'checkpoint.every_steps=200', 'schedule.peak=1e-2'))
  assert program(tree, tmp_path / 'one', quiet=True) == DONE
  assert [row['examples'] for row in result(tmp_path / 'one')] == [1437, 1437]
  true = data.sources.digits.digits

  def wrong(*, split):
    source = true(split=split)
    return source.relabeled(np.zeros(len(source), np.int32), source.classes, source.origin)

  wrong.__name__, wrong.__module__ = 'digits', 'data.sources.digits'
  monkeypatch.setattr(data.sources.digits, 'digits', wrong)
  run = stages.relabeled(tree['student'], dict(name='digits', split='train'), tmp_path / 'one' / 'labels', soft=True)
  assert train.train(run, tmp_path / 'other', quiet=True) == DONE
  assert losses_of(tmp_path / 'other') == losses_of(tmp_path / 'one' / 'student')


@pytest.mark.slow
def test_further_pretraining_with_distillation_stays_nearer_to_the_start(tmp_path):
  tree = dict(program=dict(name='self_distillation_fpt', weight=10., test=TEST), pretrain=tiny(*MAE, 'steps=4'),
              further=tiny(*MAE, 'steps=40', "labels={'per_class': 10, 'seed': 0}"), finetune=tiny(*HARD, LABELS))
  assert program(tree, tmp_path, quiet=True) == DONE
  ends = {name: final(tmp_path / name, json.loads((tmp_path / name / 'config.json').read_text()))[0]
          for name in ('pretrain', 'teacher', 'student')}
  run = json.loads((tmp_path / 'finetune' / 'config.json').read_text())
  assert run['initialize'] == dict(workdir=str(tmp_path / 'student'), parts=['backbone'])
  assert_same(ends['student'].memory['frozen_teacher']['backbone'], ends['teacher'].params['backbone'])
  moved = {name: math.sqrt(sum(float(np.sum((a - b) ** 2)) for a, b in zip(
      jax.tree.leaves(end.params['backbone']), jax.tree.leaves(ends['pretrain'].params['backbone']), strict=True)))
      for name, end in ends.items()}
  assert 0 < moved['student'] < moved['teacher']


@pytest.mark.parametrize(('at', 'within'), [(5, 'cycle0'), (8, 'labels1'), (14, 'cycle1')])
def test_a_stopped_program_goes_on_inside_its_stage(at, within, whole, tmp_path, monkeypatch, capsys):
  """While a run's accuracy is measured, the source is labeled, the next run trains."""
  with monkeypatch.context() as patch:
    StopAfter(patch, at)
    assert program(curriculum(stepping=100.), tmp_path, quiet=True) == STOPPED
  assert 'stopped' in capsys.readouterr().out and not (tmp_path / 'result.json').exists()
  assert (tmp_path / within).exists() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  assert program(curriculum(stepping=100.), tmp_path, quiet=True) == DONE
  assert result(tmp_path) == result(whole)
  assert losses_of(tmp_path / 'cycle1') == losses_of(whole / 'cycle1')


@pytest.mark.parametrize(('change', 'words'), [
    (dict(program=None), 'config.program'), (dict(program=dict(name='curriculum')), "nearest: 'curriculum_labeling'"),
    (dict(program=dict(name='curriculum_labeling', step=1)), "nearest: 'stepping'"),
    (dict(program=dict(name='curriculum_labeling', stepping=0.)), r'in \(0, 100\]'),
    (dict(trai={}), "config.program.trai"), (dict(train=3), 'config.train'),
    (dict(train=tiny(*HARD, 'stepz=3')), "config.train.stepz.*nearest: 'steps'"),
    (dict(train=tiny(*HARD, 'objective.clases=3')), "config.train.objective.clases.*nearest: 'classes'"),
    (dict(train=tiny(*HARD, 'views.name=supervise')), "config.train.views.name.*nearest: 'supervised'"),
])
def test_what_a_program_refuses_before_its_first_stage(change, words, tmp_path):
  with pytest.raises(ConfigError, match=words):
    program(curriculum(stepping=100.) | change, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_what_a_program_sets_a_config_must_not(tmp_path):
  both = dict(program=dict(name='self_training', admission=dict(percentile=0.)), teacher=tiny(*HARD, LABELS))
  for change, words in [(dict(student=tiny(*HARD)), 'config.student.source.*set by the program'),
                        (dict(student=student(*HARD), program=dict(name='self_training', admission=dict(perc=1))),
                         "config.program.admission.perc.*nearest: 'per")]:
    with pytest.raises(ConfigError, match=words):
      program(both | change, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def black(monkeypatch, module) -> None:
  """Puts 20,000 black images of 10 classes behind a source that reads files; its signature stays."""
  name = module.__name__.rpartition('.')[2]

  @functools.wraps(getattr(module, name))
  def source(*, size, channels=3, **_):
    return images(np.broadcast_to(np.uint8(0), (20_000, size, size, channels)), np.arange(20_000) % 10, checksum=b'0')

  monkeypatch.setattr(module, name, source)


@pytest.mark.parametrize('name', PROGRAMS)
def test_every_program_of_the_configs_can_be_prepared_from_stage_to_stage(name, tmp_path, monkeypatch):
  """Nothing is trained: runs are prepared, stores are drawn; data sets that are not embedded are imitated."""
  for module in (folder, array_record):
    black(monkeypatch, module)
  tree, runs = config.load(f'{ROOT}/configs/{name}', []), []
  classes = max(run['objective'].get('classes', 10) for stage, run in tree.items() if stage != 'program')

  def trained(run, workdir, **_):
    made = config.call(prepare, json.loads(json.dumps(shallow(**run))), 'config')
    _, metrics = jax.eval_shape(made.training.step, made.training.abstract, made.abstract_batch)
    assert metrics['loss'].shape == ()
    workdir.mkdir(parents=True)
    features = {'features': 'pretrained backbone', 'knn': 0.4, 'linear': 0.5}
    (workdir / 'result.json').write_text(json.dumps({'evaluation': [features]}))
    runs.append(made)
    return DONE

  def labeled(_, out, *, source, generation, **__):
    source_ = config.build(data.sources, source, 'source')
    p = np.random.default_rng(generation).dirichlet(np.full(classes, 0.1), len(source_)).astype(np.float32)
    about = labeling.about_store('m', source_.unlabeled(), classes, source_.classes, generation)
    stores.write_part(out, 0, 1, stores.Labels(about, np.arange(len(p)), p.argmax(1).astype(np.int32), p.max(1), p))
    stores.finish(out, 1, about)
    return DONE

  monkeypatch.setattr(stages, 'train', trained)
  monkeypatch.setattr(stages.labeling, 'write_labels', labeled)
  model = SimpleNamespace(run=SimpleNamespace(mesh=None), state=str, identity='m')
  monkeypatch.setattr(stages.labeling, 'open_model', lambda _: model)
  monkeypatch.setattr(stages, 'features', lambda _, __, source: (
      np.random.default_rng(0).normal(size=(len(source), 4)), np.ones(len(source), bool)))
  monkeypatch.setattr(stages, 'accuracy', lambda *_: 0.5)
  monkeypatch.setattr('pretrain.programs.continual.probes',
                      lambda _, sets, size: dict.fromkeys([each.name for each in sets], 0.01 * size))
  assert program(tree, tmp_path / 'run', quiet=True) == DONE
  last = result(tmp_path / 'run')[-1]
  assert last.get('knn') == (0.4 if tree['program']['name'] in ('deepercluster', 'dinov2_distill') else None)
  assert len(runs) == dict(curriculum_labeling=6, continual=4, deepercluster=5, dinov2_distill=2, mae_prepretrain=2,
                           self_distillation_fpt=4, ssld=2).get(tree['program']['name'], 3)


CONFIG = """
from tests.test_programs import curriculum
def get_config():
  tree = curriculum(stepping={stepping})
  tree['train'] |= dict(steps={steps}, log_every_steps=1)
  return tree
"""


def killed_until_done(folder: Path, steps: int, stepping: float, kills: int, rng) -> tuple[int, list[dict]]:
  """(kills that hit, the rows of the result) of a program that SIGKILL meets at random moments."""
  (folder / 'c.py').write_text(CONFIG.format(steps=steps, stepping=stepping))
  command = [sys.executable, '-m', 'pretrain', 'program', f'--config={folder / "c.py"}', f'--workdir={folder / "run"}']
  environment = os.environ | {'XLA_FLAGS': '', 'PYTHONPATH': str(ROOT)}
  hit = 0
  for trial in range(kills + 1):
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if trial < kills:
      stages_ = ['cycle0/metrics.jsonl', 'labels1', 'cycle1/metrics.jsonl', 'cycle2/config.json']
      wanted = folder / 'run' / stages_[min(trial, 3)]
      deadline = time.time() + 300
      while not wanted.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
      time.sleep(rng.uniform(0, 0.3))
      process.kill()
      hit += process.wait() == -signal.SIGKILL
    assert process.wait(300) in (DONE, -signal.SIGKILL), process.stdout.read().decode()
  return hit, result(folder / 'run')


def test_a_killed_program_goes_on(tmp_path):
  hit, rows = killed_until_done(tmp_path, 4, 100., 1, np.random.default_rng(0))
  assert hit and [row['stage'] for row in rows] == ['cycle0', 'cycle1'] and rows[1]['examples'] == 1437


@pytest.mark.slow
@pytest.mark.parametrize('trial', range(3))
def test_a_program_killed_in_every_stage_gives_the_numbers_of_one_that_was_not(trial, tmp_path):
  for name in ('one', 'other'):
    (tmp_path / name).mkdir()
  _, wanted = killed_until_done(tmp_path / 'one', 60, 50., 0, np.random.default_rng(0))
  hit, rows = killed_until_done(tmp_path / 'other', 60, 50., 4, np.random.default_rng(trial))
  assert hit >= 3 and rows == wanted


def test_the_command_line(tmp_path, capsys):
  (tmp_path / 'c.py').write_text(CONFIG.format(steps=2, stepping=50.))
  argv = ['program', f'--config={tmp_path / "c.py"}', f'--workdir={tmp_path / "run"}']
  assert main([*argv, '--config.program.stepping=0']) == 1 and 'stepping' in capsys.readouterr().err
  assert main(['program', f'--workdir={tmp_path}']) == 1 and '--config' in capsys.readouterr().err


# The start from another run -------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A run with a teacher, an average of its parameters, and batch statistics."""
  workdir = tmp_path_factory.mktemp('source')
  assert train.train(tiny(*BYOL), workdir, quiet=True) == DONE
  return workdir


BYOL = ["objective={'name': 'byol', 'hidden': 32, 'dim': 16, 'predictor_hidden': 32, 'momentum': 0.5}", 'steps=3',
        'schedule.warmup_steps=0', "backbone={'name': 'resnet', 'depth': 18, 'blocks': (1, 1), 'width': 8, "
        "'stem': 'cifar', 'channels': 1}"]


def after(source: Path, *overrides: str, **options) -> dict:
  return tiny(*BYOL, 'seed=5', *overrides) | {'initialize': dict(workdir=str(source), **options)}


def start(tree: dict):
  run = config.call(prepare, tree, 'config')
  assert run.initialize is not None
  return jax.device_get(initialize.start(run.initialize, run.training)), jax.device_get(run.training.init())


@pytest.mark.parametrize('averaged', [False, True])
def test_a_run_starts_from_parts_of_another(source, averaged):
  there, _ = final(source, tiny(*BYOL))
  here, fresh = start(after(source, 'mesh=dict(data=2, fsdp=4)', parts=('backbone',), averaged=averaged))
  params, statistics = (there.memory['teacher'], there.memory['teacher_statistics']) if averaged else (
      there.params, there.memory['statistics'])
  assert_same(here.params['backbone'], params['backbone'])
  assert_same(here.params['projector'], fresh.params['projector'])
  assert_same(here.memory['teacher'], here.params)  # as at every start
  assert_same(here.memory['statistics']['backbone'], statistics['backbone'])
  assert_same(here.memory['teacher_statistics']['backbone'], statistics['backbone'])
  assert_same(here.opt_state, fresh.opt_state)
  assert int(here.step) == 0


@pytest.mark.parametrize('own', [False, True])
def test_an_average_comes_with_its_own_batch_statistics_or_with_those_of_training(own):
  abstract = SimpleNamespace(params={'backbone': {'kernel': 0}}, memory={'statistics': {'backbone': {'mean': 0}}})
  stored = dict.fromkeys(['params/backbone/kernel', 'memory/ema/backbone/kernel', 'memory/statistics/backbone/mean',
                          *(['memory/ema_statistics/backbone/mean'] if own else [])])
  found = initialize.sources(initialize.Initialize('there', ('backbone',), True), abstract, stored, 'workdir')
  assert {here: there for here, (there, _) in found.items()} == {
    ('params', 'backbone', 'kernel'): ('memory', 'ema', 'backbone', 'kernel'),
    ('memory', 'statistics', 'backbone', 'mean'): (
      'memory', 'ema_statistics' if own else 'statistics', 'backbone', 'mean')}


def test_it_is_read_at_step_0_alone(whole, tmp_path, monkeypatch):
  lent = tmp_path / 'lent'
  shutil.copytree(whole / 'cycle1', lent)
  tree = tiny(*HARD, LABELS, 'seed=5') | {'initialize': dict(workdir=str(lent), parts=('backbone', 'head'))}
  with monkeypatch.context() as patch:
    StopAfter(patch, 2)
    assert train.train(tree, tmp_path / 'run', quiet=True) == STOPPED
  shutil.rmtree(lent)
  assert train.train(tree, tmp_path / 'run', quiet=True) == DONE
  shutil.copytree(whole / 'cycle1', lent)
  assert train.train(tree, tmp_path / 'again', quiet=True) == DONE
  assert losses_of(tmp_path / 'run') == losses_of(tmp_path / 'again') and len(losses_of(tmp_path / 'run')) == 4
  assert train.fingerprint(tree) != train.fingerprint(tiny(*HARD, LABELS, 'seed=5'))


@pytest.mark.parametrize(('options', 'overrides', 'words'), [
    (dict(parts=('backbon',)), [], r"'backbon' is no part.*nearest: 'backbone'"),
    (dict(parts=('backbone',)), ['backbone.width=16'], r'backbone/.*checkpoint \[\[8\].*model \[\[16\]'),
    (dict(parts=('head',)), ["objective={'name': 'supervised', 'classes': 10}", HARD[0]],
     'params/head/linear/bias: checkpoint lacks it'),
    (dict(parts=('backbone',), workdir='nowhere'), [], 'nowhere is not the directory of a run'),
    (dict(part=1), [], "nearest: 'parts'"),
    (dict(parts=()), [], 'wanted a workdir and parts of it, or a teacher'),
    (dict(parts=('backbone',), teacher='nowhere'), [], 'has no frozen teacher'),
])
def test_what_cannot_be_started_from(options, overrides, words, source, tmp_path):
  tree = after(source, *overrides, **{k: v for k, v in options.items() if k != 'workdir'})
  tree['initialize'] |= {k: v for k, v in options.items() if k == 'workdir'}
  with pytest.raises(ConfigError, match=words):
    train.train(tree, tmp_path / 'run', quiet=True)
  assert not (tmp_path / 'run').exists()


def test_a_run_without_an_average_or_a_checkpoint(tmp_path):
  plain = tmp_path / 'plain'
  assert train.train(tiny('steps=1', 'schedule.warmup_steps=0'), plain, quiet=True) == DONE
  tree = tiny('seed=1') | {'initialize': dict(workdir=str(plain), parts=('backbone',), averaged=True)}
  with pytest.raises(ConfigError, match='keeps no moving average'):
    train.train(tree, tmp_path / 'run', quiet=True)
  (tmp_path / 'empty' / 'checkpoints').mkdir(parents=True)
  tree['initialize']['workdir'] = str(tmp_path / 'empty')
  with pytest.raises(ConfigError, match='holds no checkpoint yet'):
    train.train(tree, tmp_path / 'run', quiet=True)
  assert not (tmp_path / 'run').exists()


def test_the_teacher_of_a_distillation_is_the_average_in_another_run(tmp_path):
  heads = dict(prototypes=64, patch_prototypes=64, hidden=32, bottleneck=16, patch_bottleneck=16)
  options = heads | dict(koleo_weight=0.1, student_temperature=0.1, teacher_temperature=0.07, momentum=0.9,
                         teacher_temperature_start=0.04, teacher_warmup_steps=3, freeze_prototypes_steps=0)
  views = dict(name='dino', size=8, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))
  large = tiny('steps=1', 'schedule.warmup_steps=0', 'backbone.width=48', 'backbone.heads=3') | {
      'views': views, 'objective': dict(name='dinov2', mask_ratio=(0.3, 0.6), **options)}
  assert train.train(large, tmp_path / 'large', quiet=True) == train.DONE
  teacher = {'image': 8, 'channels': 1, 'patch': 4, 'width': 48, 'depth': 1, 'heads': 3, 'mlp': 64, 'name': 'vit'}
  small = tiny() | {'views': views, 'objective': dict(name='dinov2_distill', teacher=teacher, **options),
                    'initialize': dict(teacher=str(tmp_path / 'large'), averaged=True)}
  run = config.call(train.prepare, small, 'config')
  assert run.initialize is not None
  frozen = initialize.start(run.initialize, run.training).memory['frozen_teacher']
  there = final(tmp_path / 'large', large)[0].memory['teacher']
  assert frozen.keys() == {'backbone', 'head', 'patch_head'}
  assert_same(jax.device_get(frozen), {part: there[part] for part in frozen})
  with pytest.raises(ConfigError, match='config.initialize.teacher: the objective wants'):
    config.call(train.prepare, small | {'initialize': None}, 'config')
  other = small | {'objective': small['objective'] | {'teacher': teacher | {'mlp': 32}}}
  with pytest.raises(ConfigError, match='another architecture.*teacher/backbone'):
    train.train(other, tmp_path / 'small', quiet=True)


# Soft labels and weights ----------------------------------------------------------------------------------------------


def test_noised_views_are_strong_and_keep_the_rest():
  images = pixels(digits(split='train'))[:16]
  batch = {'image': images, 'index': np.arange(16, dtype=np.int32), 'epoch': np.zeros(16, np.int32),
           'weight': np.ones(16, np.float32)}
  plain = supervised_views(size=8, pad=0, flip=0.)(batch, jax.random.key(0))
  strong = supervised_views(size=8, pad=0, flip=0., operations=2, cutout_share=0.5)(batch, jax.random.key(0))
  np.testing.assert_allclose(plain['image'], images / 255, atol=1e-6)
  assert strong['image'].shape == plain['image'].shape and 'weight' in strong and 'epoch' not in strong
  changed = np.abs(strong['image'] - plain['image']).mean((1, 2, 3)) > 0.02
  assert changed.mean() > 0.8 and strong['image'].min() >= 0 and strong['image'].max() <= 1
