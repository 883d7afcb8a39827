"""What `launch` is given: configs checked before anything is submitted; names, quotes, variables and flags of jobs."""
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from launch.__main__ import main
from launch.job import Job
from launch.k8s import written
from launch.slurm import render
from launch.spec import read
from launch.table import main as run_table
from tests.test_table import SPEC, finish

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
TINY = f'--config={ROOT}/tests/tiny.py'
SLURM, K8S = ('--engine=slurm',), ('--engine=k8s', '--image=r/i:1')
HOSTILE = ['a b', "it's", 'a"b', '$(touch pwned)', '`touch pwned`', 'a;touch pwned', '*', 'ü 漢字 🦊', '50%d %x %',
           '#1', '~', '$HOME', '${x}', '!!', '&& x', '{a,b}', "$'x'", 'a=b', '[!a]', '<x>', '-n']


def refusal(capsys, *argv: str, run=main) -> str:
  capsys.readouterr()
  assert run(list(argv)) == 1
  said = capsys.readouterr()
  assert said.err.startswith('error: ') and 'Traceback' not in said.err and not said.out.startswith('#!'), said
  return said.err


def rendered(capsys, *argv: str) -> str:
  capsys.readouterr()
  assert main(['--dry-run', *argv]) == 0, capsys.readouterr().err
  return capsys.readouterr().out


# configs

FOLDER = '--config.source=dict(name="folder", path="/not/here", size=8, channels=1)'


@pytest.mark.parametrize(('overrides', 'words'), [
    (['objective.temperatur=1'], "nearest: 'temperature'"),
    (['objective.temperature=-1'], 'config.objective.temperature'),
    (['objective.name=simclrr'], "nearest: 'simclr'"),
    (['objective={"name": "weighted", "parts": [["a", {"name": "simclr", "dims": 3}, 1.0]]}'], 'objective.parts.a'),
    (['views.jiter=1'], 'config.views.jiter'),
    (['views.size=7'], 'config'),  # of patches of 4: seen in the first step alone
    (['views={"name": "supervised", "size": 8, "pad": 1}'], 'views'),
    (['backbone.depht=1'], 'config.backbone.depht'),
    (['backbone.heads=3'], 'config'),
    (['optimizer.weight_decai=1'], 'config.optimizer'),
    (['schedule.warmup_steps=100'], 'of 12 steps'),
    (['checkpoint.every=1'], 'config.checkpoint.every'),
    (['steps=x'], 'config.steps'),
    (['batch="a"'], 'config.batch'),
    (['batch=0'], 'config.batch'),
    (['epochs=1'], 'wanted one of steps and epochs'),
    (['bach=3'], "nearest: 'batch'"),
    (['mesh.dta=1'], 'config.mesh.dta'),
    (['mesh=3'], 'config.mesh'),
    (['reading.thread=1'], 'config.reading.thread'),
    (['nonfinite.skp=1'], 'config.nonfinite.skp'),
    (['labels.per_clas=1'], 'config.labels.per_clas'),
    (['subset.fraction=0.5'], 'config.subset'),
    (['evaluate={"train": {"name": "digits"}}'], 'config.evaluate'),
    (['evaluate=dict(train=dict(name="digits", split="trian"), test=dict(name="digits", split="test"))'], 'trian'),
    (['initialize.workdr="x"'], 'config.initialize.workdr'),
    (['initialize.workdir="x"'], 'parts of it'),
    (['continues="x"', 'initialize={"workdir": "x", "parts": ["backbone"]}'], 'config.continues'),
    (['phases=[[99, {"size": 8}]]'], 'config.phases'),
    (['phases=[[3, {"size": 7}]]'], 'config'),
    (['accumulate=2'], 'config.accumulate'),
    (['unlabeled={"batch": 32, "surce": 1}'], 'config.unlabeled.surce'),
    (['source.name=digit'], "nearest: 'digits'"),
    (['source={"name": "folder", "path": "/not/here", "sze": 8}'], 'config.source.sze'),
    (['source={"name": "long_tailed", "source": {"name": "folder", "pth": "/not/here"}}'], 'config.source'),
    (['objective={"name": "supervised", "classes": 5}', 'views={"name": "supervised", "size": 8, "pad": 1}'],
     'config.objective.classes'),
])
def test_a_config_is_checked_before_it_is_submitted(capsys, tmp_path, overrides, words):
  flags = [f'--config.{text}' for text in overrides]
  assert words in refusal(capsys, *SLURM, TINY, f'--workdir={tmp_path}/run', *flags)  # and not that there is no SLURM
  assert not (tmp_path / 'run').exists()


def test_data_may_be_elsewhere_and_what_does_not_depend_on_them_is_still_checked(capsys, tmp_path):
  run = [TINY, f'--workdir={tmp_path}/run', FOLDER]
  test = 'dict(name="folder", path="/not/here", size=8)'
  for engine in (SLURM, K8S):
    assert '/run' in rendered(capsys, *engine, *run, f'--config.evaluate=dict(train={test}, test={test})')
    assert 'views' in refusal(capsys, *engine, *run, '--config.views=dict(name="supervised", size=8, pad=1)')
    unknown = '--config.source=dict(name="arrays", path="/not/here.npz", split="train")'  # of images of what size?
    assert "nearest: 'temperature'" in refusal(capsys, *engine, *run, unknown, '--config.objective.temperatur=1')
  store = '--config.source=dict(name="pseudo_labeled", source=dict(name="digits", split="train"), store="/not/yet")'
  assert 'pseudo_labeled' in rendered(capsys, *SLURM, TINY, f'--workdir={tmp_path}/run', store)


def test_a_programs_config_and_that_of_a_command_are_checked_too(capsys, tmp_path):
  command = ['--', 'python', '-m', 'pretrain', 'program', f'--config={ROOT}/configs/dinov2_distill.py:fashion_mnist',
             f'--workdir={tmp_path}/run']
  assert 'config.teacher.backbone.depht' in refusal(capsys, *SLURM, *command, '--config.teacher.backbone.depht=1')
  assert 'config.program.name' in refusal(capsys, *SLURM, *command, '--config.program.name=nobody')
  assert 'is set by the program' in refusal(capsys, *SLURM, *command, '--config.student.initialize={"workdir": "x"}')
  said = refusal(capsys, *SLURM, *command, "--config.teacher.views=dict(name='supervised', size=28, scale=(0.5, 1.))")
  assert "config.teacher: the objective wants batch['global']" in said  # which shows in the trace of its step alone
  train = ['--', 'python', '-m', 'pretrain', 'train', TINY, f'--workdir={tmp_path}/run']
  assert "nearest: 'temperature'" in refusal(capsys, *SLURM, *train, '--config.objective.temperatur=1')
  label = ['--', 'python', '-m', 'pretrain', 'label', f'--workdir={tmp_path}/run', '--out', f'{tmp_path}/store']
  assert 'examples_per_part' in refusal(capsys, *SLURM, *label, '--config.examples_per_prt=1')
  assert "nearest: 'label'" in refusal(capsys, *SLURM, '--', 'python', '-m', 'pretrain', 'labl')
  assert not (tmp_path / 'run').exists()


def test_a_tables_cells_are_checked_before_any_runs(capsys, tmp_path):
  spec = tmp_path / 'rates.py'
  spec.write_text(SPEC.replace("{'objective.temperature': 0.5}", "{'objective.temperature': 0.5, 'views.size': 7}"))
  for engine in ([], ['--engine=slurm']):
    error = refusal(capsys, str(spec), 'run', f'--runs={tmp_path}/runs', *engine, run=run_table)
    assert "row 'SimCLR', column '0.5'" in error
  assert not (tmp_path / 'runs').exists()


# names

CONTROL = ['a\nb', 'a\rb', 'a\tb', 'a\x00b', 'a\x1b[2Jb', 'a\x7fb', 'a\x85b', 'a\u2028b', 'x\n#SBATCH --uid=0']


@pytest.mark.parametrize('text', CONTROL)
def test_control_characters_are_refused_by_the_name_of_the_flag(capsys, text):
  run = [TINY, '--workdir=runs/x']
  for flag, engine in (('partition', SLURM), ('account', SLURM), ('after', SLURM), ('name', SLURM), ('image', K8S[:1]),
                       ('queue', K8S), ('volume', K8S), ('env', SLURM), ('name', ())):
    error = refusal(capsys, *engine, *run, f'--{flag}={"A=" * (flag == "env")}{text}')
    assert f'--{flag}: ' in error and error.count('\n') == 1
  assert '--workdir: ' in refusal(capsys, *SLURM, TINY, f'--workdir={text}')
  assert '--config: ' in refusal(capsys, *SLURM, f'--config={text}', '--workdir=x')
  assert '--config.' in refusal(capsys, *SLURM, *run, f'--config.accept_data={text}')
  assert '--workdir: ' in refusal(capsys, *SLURM, '--', 'python', '-m', 'pretrain', 'train', TINY, f'--workdir={text}')


def test_a_leading_dash_and_nothing_are_refused(capsys):
  for flag, engine in (('partition', SLURM), ('name', SLURM), ('image', K8S[:1]), ('account', SLURM)):
    for text in ('-x', '--uid=0', ''):
      assert f'--{flag}: ' in refusal(capsys, *engine, TINY, '--workdir=x', f'--{flag}={text}')
  assert '--workdir: ' in refusal(capsys, *SLURM, TINY, '--workdir=-x')
  for identity in ('1:2', 'x', '1?afterany:2', '1 2'):
    assert '--after: ' in refusal(capsys, *SLURM, TINY, '--workdir=x', f'--after={identity}')


def test_two_runs_of_one_name_share_nothing(capsys, tmp_path):
  scripts = [rendered(capsys, *SLURM, TINY, f'--workdir={tmp_path}/{name}/seed0') for name in 'ab']
  names = [re.search('--job-name=(.*)', text)[1] for text in scripts]
  assert len(set(names)) == 2 and all(re.fullmatch('seed0-[0-9a-f]{8}', name) for name in names)
  sets = [yaml.safe_load(rendered(capsys, *K8S, TINY, f'--workdir={tmp_path}/{name}/seed0')) for name in 'ab']
  assert len({each['metadata']['name'] for each in sets}) == 2
  same = rendered(capsys, *SLURM, TINY, f'--workdir={tmp_path}/b/../a/seed0', '--config.seed=1')
  assert re.search('--job-name=(.*)', same)[1] == names[0]


@pytest.mark.parametrize('text', ['x' * 300, '2024', '...', 'a/b', 'ü', 'A B', '%j', "'", '$(x)'])
def test_names_are_short_and_of_safe_characters(capsys, tmp_path, text):
  evaluate = ['--', 'python', '-m', 'pretrain', 'evaluate', f'--workdir={tmp_path}/x']
  for flags in ([TINY, f'--workdir={tmp_path}/{text.replace("/", "-")}'], [f'--name={text}', *evaluate]):
    script = rendered(capsys, *SLURM, *flags)
    assert re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,50}', re.search('--job-name=(.*)', script)[1])
    manifest = yaml.safe_load(rendered(capsys, *K8S, *flags))
    assert re.fullmatch('[a-z]([a-z0-9-]{0,38}[a-z0-9])?', manifest['metadata']['name'])


def test_a_cell_is_the_same_jobset_however_many_others_are_done(capsys, tmp_path):
  spec = tmp_path / 'rates.py'
  spec.write_text(SPEC)
  flags = [str(spec), 'run', *K8S, f'--runs={tmp_path}/runs', '--dry-run']
  names = lambda: [each['metadata']['name'] for each in yaml.safe_load_all(capsys.readouterr().out.partition('\n')[2])]
  assert run_table(flags) == 0
  before = names()
  assert len(set(before)) == 8
  finish(read(str(spec), tmp_path / 'runs')[1][0], 0.5)
  assert run_table(flags) == 0
  assert names() == before[1:]


# quotes

SHOW = 'import json, os, sys; os.write(1, json.dumps([sys.argv[1:], dict(os.environ)]).encode() + b"\\n")'
STUBS = {'srun': 'while [[ $1 == --* ]]; do shift; done; exec "$@"', 'scontrol': 'echo scontrol "$@"', 'scancel': ':',
         'sleep': '[ $1 = 60 ] || exec /bin/sleep "$@"'}


def attempt(script: str, tmp_path: Path, stubs: Mapping[str, str] = STUBS,
            **variables: str) -> subprocess.CompletedProcess[str]:
  """One run of an sbatch script by bash, with stand-ins for SLURM's programs."""
  tools, path = tmp_path / 'stubs', tmp_path / 'script.sh'
  tools.mkdir(exist_ok=True)
  for name, text in (STUBS | stubs).items():
    (tools / name).write_text(f'#!/bin/bash\n{text}\n')
    (tools / name).chmod(0o755)
  path.write_text(script)
  env = {'PATH': f'{tools}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7', **variables}
  return subprocess.run(['bash', str(path)], env=env, cwd=tmp_path, capture_output=True, text=True)


def ran(script: str, tmp_path: Path, **variables: str) -> tuple[list[str], dict, str]:
  """What the command of an sbatch script is given: argv and environment; and what is said."""
  assert subprocess.run(['bash', '-n', '-c', script]).returncode == 0
  done = attempt(script, tmp_path, **variables)
  line = next((line for line in done.stdout.splitlines() if line.startswith('[[')), '[[], {}]')
  return *json.loads(line), done.stdout + done.stderr


@pytest.mark.parametrize('text', HOSTILE)
def test_a_script_runs_exactly_the_command_whatever_its_words_are(tmp_path, text):
  workdir = tmp_path / f'x{text}'
  workdir.mkdir()
  job = Job('name', ((sys.executable, '-c', SHOW, text, f'--config={text}'),), workdir, env={'VALUE': text, 'code': '9',
            'PATH': '/nowhere', 'command': 'x', 'id': '5', 'step': '1'}, progress=(workdir,))
  argv, env, said = ran(render(job), tmp_path)
  assert argv == [text, f'--config={text}'] and env['VALUE'] == text, said
  assert env['code'] == '9' and env['PATH'] == '/nowhere' and env['command'] == 'x' and env['id'] == '5'
  assert 'ended with 0' in said and not list(tmp_path.rglob('pwned'))
  several = job._replace(commands=(('false',), *job.commands), progress=(workdir, workdir))
  argv, env, said = ran(render(several), tmp_path, SLURM_ARRAY_JOB_ID='7', SLURM_ARRAY_TASK_ID='1')
  assert argv == [text, f'--config={text}'] and env['VALUE'] == text, said


@pytest.mark.parametrize('text', [*HOSTILE, 'yes', 'no', 'n', 'null', '1e3', '1_000', '0x1f', '0o7', '1', '1.5', '.5',
                                  '12:30:00', '2001-01-01', 'NaN', '.inf', '~', '', ' x', 'x: y', 'x #y', '- x', '? x',
                                  '@x', '%x', '!!int 3', '&a', 'on', 'True', '=', '<<', 'a\nb', 'a\tb'])
def test_values_of_a_manifest_stay_the_strings_that_they_are(capsys, text):
  by_core = yaml.load(written([{'key': text, 'list': [text]}]), Loader=yaml.BaseLoader)
  assert by_core == {'key': text, 'list': [text]} == yaml.safe_load(written([{'key': text, 'list': [text]}]))
  line = written([{'key': text}])
  assert line.startswith('key: "') or re.fullmatch('key: [A-Za-z/][A-Za-z0-9/._-]*\n', line)
  if text.strip() and text.isprintable() and not text.startswith('-'):
    manifest = yaml.safe_load(rendered(capsys, *K8S, f'--env=KEY={text}', '--', 'true', text))
    container, = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']['containers']
    assert container['command'] == ['true', text] and container['env'][0] == {'name': 'KEY', 'value': text}


def test_kubernetes_puts_nothing_in_the_place_of_a_variables_name(capsys):
  manifest = yaml.safe_load(rendered(capsys, *K8S, '--', 'true', '$(HOME)', '$$', '$HOME'))
  container, = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']['containers']
  assert container['command'] == ['true', '$$(HOME)', '$$$$', '$HOME']


# variables

@pytest.mark.parametrize(('engine', 'flags', 'words'), [
    (SLURM, ['--env=1A=x'], 'letters, digits and _'), (SLURM, ['--env=A-B=x'], 'letters, digits and _'),
    (SLURM, ['--env=ü=x'], 'letters, digits and _'), (SLURM, ['--env==x'], '--env'),
    (SLURM, ['--env=A B=x'], 'letters, digits and _'), (K8S, ['--env=A.B=x'], 'letters, digits and _'),
    (SLURM, ['--env=JAX_PROCESS_ID=0'], 'set by the engine'), ((), ['--env=JAX_COORDINATOR_ADDRESS=x'], 'set by the'),
    (SLURM, ['--env=SLURM_JOB_ID=0'], 'set by the engine'), (K8S, ['--env=PRETRAIN_RESTARTS=0'], 'set by the engine'),
    (SLURM, ['--env=A=1', '--env=A=1'], 'given twice'), (K8S, ['--env=A=1', '--secret=A=s:k'], 'given twice'),
    (SLURM, ['--env=HF_TOKEN=hunter2'], '--env=HF_TOKEN, which'),
    (K8S, ['--env=HF_TOKEN=hunter2'], '--secret=HF_TOKEN='),
    (SLURM, ['--env=WANDB_API_KEY=hunter2'], 'looks like a secret'), (K8S, ['--env=db_password=hunter2'], 'a secret'),
    (SLURM, ['--env=AWS_SECRET_ACCESS_KEY=hunter2'], 'a secret'), (SLURM, ['--env=X_CREDENTIALS=hunter2'], 'a secret'),
    (K8S, ['--env=HF_TOKEN'], '--secret=HF_TOKEN='), (SLURM, ['--env=NOT_SET_HERE'], 'set here, and none is'),
    (K8S, ['--secret=A'], 'SECRET_NAME:KEY'), (K8S, ['--secret=A=B'], 'SECRET_NAME:KEY'),
    (SLURM, ['--secret=A=b:c'], 'not used by --engine=slurm'),
])
def test_variables_are_checked_and_secrets_never_written_down(capsys, engine, flags, words):
  error = refusal(capsys, *engine, TINY, '--workdir=x', '--dry-run', *flags)
  assert words in error and 'hunter2' not in error


def test_secrets_go_by_reference(capsys, monkeypatch, tmp_path):
  monkeypatch.setenv('HF_TOKEN', 'hunter2')
  script = rendered(capsys, *SLURM, TINY, '--workdir=x', '--env=HF_TOKEN')
  assert 'hunter2' not in script and '#SBATCH --export=ALL' in script
  manifest = yaml.safe_load(rendered(capsys, *K8S, TINY, '--workdir=x', '--secret=HF_TOKEN=hub:token'))
  container, = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']['containers']
  assert {'name': 'HF_TOKEN', 'valueFrom': {'secretKeyRef': {'name': 'hub', 'key': 'token'}}} in container['env']
  assert 'hunter2' not in rendered(capsys, TINY, '--workdir=x', '--env=HF_TOKEN')
  code = f'import os; open({str(tmp_path / "seen")!r}, "w").write(os.environ["HF_TOKEN"])'
  assert main(['--env=HF_TOKEN', '--', sys.executable, '-c', code]) == 0
  assert (tmp_path / 'seen').read_text() == 'hunter2'


# printed commands

def test_what_is_printed_can_be_pasted(capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  text = rendered(capsys, '--env=VALUE=a $b', '--devices=2', '--', sys.executable, '-c', SHOW, "it's", '*')
  done = subprocess.run(['bash', '-c', text], capture_output=True, text=True)
  argv, env = json.loads(done.stdout)
  assert argv == ["it's", '*'] and env['VALUE'] == 'a $b' and 'device_count=2' in env['XLA_FLAGS']
  text = rendered(capsys, '--processes=2', '--', sys.executable, '-c', SHOW, '--distributed')
  done = subprocess.run(['bash', '-c', text], capture_output=True, text=True)
  found = [json.loads(line)[1] for line in done.stdout.splitlines()]
  assert sorted(env['JAX_PROCESS_ID'] for env in found) == ['0', '1']
  assert len({env['JAX_COORDINATOR_ADDRESS'] for env in found}) == 1


def test_how_a_table_was_made_is_a_whole_command(tmp_path):
  spec = tmp_path / 'my rates.py'
  spec.write_text(SPEC)
  flags = [f'--runs={tmp_path}/my runs', '--only=SimCLR', '--config.accept_data=a b']
  for cell in read(str(spec), tmp_path / 'my runs', overrides=('accept_data=a b',), only=('SimCLR',))[1]:
    finish(cell, 0.8)
  assert run_table([str(spec), 'collect', *flags]) == 0
  command, = re.findall('^python -m launch.table .*$', (tmp_path / 'my runs/my rates.md').read_text(), re.MULTILINE)
  assert shlex.split(command) == ['python', '-m', 'launch.table', str(spec), 'run', *flags]


# commands after --

def test_a_command_of_pretrain_in_several_processes_is_one_job(capsys):
  for command in (['python', '-m', 'pretrain', 'label'], ['python', '-u', '-mpretrain', 'evaluate'],
                  ['nice', 'python', '-m', 'pretrain', '--quiet', 'label']):
    for engine in (('--processes=2',), (*SLURM, '--nodes=2'), (*SLURM, '--topology=h100:1x2'), (*K8S, '--nodes=2')):
      for own in ([], ['--distributed']):
        text = rendered(capsys, *engine, '--', *command, '--workdir=a', '--out=b', *own)
        assert text.count('--distributed') == (2 if engine == ('--processes=2',) else 1)
    assert '--distributed' not in rendered(capsys, *SLURM, '--', *command, '--workdir=a', '--out=b')
  assert 'one process' in refusal(capsys, '--processes=2', '--', 'python', '-m', 'pretrain', 'report', '--workdir=a')


def test_copies_of_another_command_that_know_nothing_of_each_other_are_refused(capsys):
  for engine in (('--processes=2',), (*SLURM, '--nodes=2'), (*K8S, '--nodes=2')):
    assert 'has --distributed' in refusal(capsys, *engine, '--', 'python', 'mine.py')
    assert 'mine.py' in rendered(capsys, *engine, '--', 'python', 'mine.py', '--distributed')


# flags

@pytest.mark.parametrize(('engine', 'flag', 'user'), [
    (SLURM, '--image=i', 'k8s'), (SLURM, '--queue=q', 'k8s'), (SLURM, '--volume=a:/b', 'k8s'),
    ((), '--partition=p', 'slurm'), ((), '--account=p', 'slurm'), ((), '--hours=24', 'slurm'),
    (K8S, '--hours=24', 'slurm'), ((), '--after=1', 'slurm'),
    (K8S, '--after=1', 'slurm'), (K8S, '--partition=p', 'slurm'), ((), '--image=i', 'k8s'),
    ((), '--nodes=1', 'slurm and k8s'), (K8S, '--processes=1', 'local and slurm'), ((), '--slices=1', 'k8s'),
    ((), '--topology=h100:1x8', 'slurm and k8s'), (SLURM, '--slices=1', 'k8s'),
    (('--engine=local',), '--queue=q', 'k8s'),
])
def test_a_flag_that_the_engine_does_not_use_is_refused(capsys, tmp_path, engine, flag, user):
  error = refusal(capsys, *engine, TINY, '--workdir=x', flag, '--dry-run')
  name = flag.partition('=')[0]
  assert f'{name}: not used by --engine=' in error and f'but by {user}' in error
  spec = tmp_path / 'rates.py'
  spec.write_text(SPEC)
  if name != '--after':
    assert f'{name}: ' in refusal(capsys, str(spec), 'run', *engine, flag, '--dry-run', run=run_table)


def test_flags_that_exclude_each_other_are_refused(capsys):
  for flags, words in ((('--topology=h100:2x8', '--slices=2'), 'GPUs, which have none'),
                       (('--slices=2',), '--topology'),
                       (('--topology=v5e:4x4', '--devices=1'), 'wanted it alone, got --devices'),
                       (('--topology=v5e:4x4', '--nodes=1'), 'wanted it alone, got --nodes')):
    assert words in refusal(capsys, *K8S, TINY, '--workdir=x', *flags)
  for flags in (['--hours=nan'], ['--hours=inf'], ['--hours=1e300'], ['--restarts=-1']):
    assert 'wanted --hours' in refusal(capsys, *SLURM, TINY, '--workdir=x', *flags)


@pytest.mark.parametrize(('command', 'flag', 'user'), [
    ('run', '--watch', 'status'), ('run', '--out=x', 'collect'), ('run', '--examples=1', 'plan'),
    ('status', '--topology=v5e:1x1', 'plan and run'), ('status', '--out=x', 'collect'),
    ('collect', '--watch', 'status'),
    ('collect', '--workers=1', 'run'), ('plan', '--workers=1', 'run'), ('plan', '--engine=slurm', 'run'),
    ('status', '--dry-run', 'run'), ('collect', '--env=A=1', 'run'), ('plan', '--nodes=1', 'run'),
    ('status', '--engine=local', 'run')])
def test_a_flag_that_a_tables_command_does_not_use_is_refused(capsys, tmp_path, command, flag, user):
  spec = tmp_path / 'rates.py'
  spec.write_text(SPEC)
  error = refusal(capsys, str(spec), command, flag, run=run_table)
  assert f'{flag.partition("=")[0]}: not used by `{command}`, but by {user}' in error


def test_workers_are_of_engines_that_have_some(capsys, tmp_path):
  spec = tmp_path / 'rates.py'
  spec.write_text(SPEC)
  assert 'but by local and slurm' in refusal(capsys, str(spec), 'run', *K8S, '--workers=2', run=run_table)
