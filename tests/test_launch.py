"""Jobs: what is refused, what the engines render, and real runs on this machine and on a real SLURM."""
import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from launch.__main__ import main
from launch.job import Job, named
from launch.local import Local
from launch.slurm import submit
from launch.spec import read as read_table
from launch.table import main as run_table
from pretrain.files import read_rows
from tests.slurm_cluster import Cluster, installed
from tests.test_launch_input import HOSTILE

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
TINY = f'--config={ROOT}/tests/tiny.py'
VIT_L = '--config=configs/mae.py:vit_l16_imagenet'


def rendered(capsys, *flags: str) -> str:
  assert main([*flags, '--dry-run']) == 0, capsys.readouterr().err
  return capsys.readouterr().out


# what is refused

@pytest.mark.parametrize(('flags', 'words'), [
    (['--engine=slrum'], "no 'slrum'; nearest: 'slurm'"),
    (['--partitions=x'], "no flag '--partitions=x'; nearest: '--partition'"),
    (['--engine=slurm', '--topology=h100:25x8'], 'config.batch: 32 does not divide over the 200 parts'),
    (['--engine=slurm', '--topology=h101:2x8'], "nearest: 'h100:2x8'"),
    (['--engine=slurm', '--topology=v5e:4x4'], 'v5e:4x4 are TPUs; wanted GPUs'),
    (['--engine=slurm', '--nodes=3'], 'config.batch: 32 does not divide over the 3 parts'),
    (['--engine=slurm', '--nodes=2', '--config.mesh={"data": 4}'], 'does not fit 2 devices'),
    (['--engine=slurm', '--nodes=0'], '--nodes: wanted at least 1, got 0'),
    (['--engine=slurm', '--hours=0'], 'wanted --hours above 0'),
    (['--engine=slurm', '--env=A'], "--env: wanted KEY=VALUE, got 'A'"),
    (['--nodes=2'], 'this machine alone'),
    (['--topology=h100:1x8'], 'wanted it alone'),
    (['--engine=slurm', '--topology=h100:1x8', '--nodes=2'], 'wanted it alone'),
    (['--engine=k8s', '--topology=v5e:4x4'], 'needs --image'),
    (['--engine=k8s', '--topology=v3:4x4', '--image=i'], 'GKE has no v3'),
    (['--engine=k8s', '--topology=v5e:4x4', '--image=i', '--volume=x'], "--volume: wanted CLAIM:/path, got 'x'"),
    (['--engine=k8s', '--image=i', '--after=1'], '--after'),
    (['--engine=k8s', '--image=i', '--processes=2'], 'wanted 1 on Kubernetes'),
    (['--config.batch=x', '--', 'true'], 'wanted no --config'),
    (['--workdir=gs://bucket/run'], 'is an object store'),
])
def test_refused_in_words(capsys, flags, words):
  assert main([TINY, '--workdir=runs/x', '--dry-run', *flags]) == 1
  error = capsys.readouterr().err
  assert words in error and error.startswith('error: ') and 'Traceback' not in error


def test_without_a_cluster_it_says_so(capsys, monkeypatch, tmp_path):
  monkeypatch.setenv('PATH', str(tmp_path))
  assert main(['--engine=slurm', TINY, f'--workdir={tmp_path}/x']) == 1
  assert 'no sbatch on this machine' in capsys.readouterr().err
  assert main(['--engine=k8s', '--image=i', TINY, f'--workdir={tmp_path}/x']) == 1
  assert 'no kubectl on this machine' in capsys.readouterr().err
  assert not (tmp_path / 'x').exists()


# Kubernetes

@pytest.fixture(scope='module')
def jobset_schema() -> jsonschema.Draft202012Validator:
  """JobSet's own schema; unknown fields refused, as by a server with fieldValidation=Strict."""
  def strict(node):
    if not isinstance(node, dict):
      return node
    if node.get('x-kubernetes-int-or-string'):
      return {'anyOf': [{'type': 'integer'}, {'type': 'string'}]}
    clean = {key: {name: strict(part) for name, part in value.items()} if key == 'properties' else strict(value)
             for key, value in node.items() if not key.startswith('x-kubernetes') and key not in ('format', 'default')}
    if 'properties' in clean and not node.get('x-kubernetes-preserve-unknown-fields'):
      clean.setdefault('additionalProperties', False)
    return clean

  crd = json.loads(gzip.decompress((ROOT / 'tests/jobset/crd.json.gz').read_bytes()))
  stored = next(version for version in crd['spec']['versions'] if version['storage'])
  schema = strict(stored['schema']['openAPIV3Schema'])
  schema['properties']['metadata'] = {'type': 'object'}
  return jsonschema.Draft202012Validator(schema)


MESH = '--config.mesh={"replica": 2, "data": 16, "fsdp": 16}'


@pytest.mark.parametrize('flags', [
    ['--topology=v5e:16x16', '--slices=2', '--queue=team', '--volume=runs:/runs', MESH], ['--topology=v5p:4x4x8'],
    ['--topology=v5e:1x1'], ['--topology=h100:4x8', '--env=NCCL_DEBUG=INFO'], ['--nodes=2'], []])
def test_manifests_are_jobsets(capsys, jobset_schema, flags):
  own = [TINY, '--config.batch=4096', '--workdir=/runs/My_Run.1']
  text = rendered(capsys, '--engine=k8s', '--image=r/i:1', *own, *flags)
  manifest, = yaml.safe_load_all(text)
  assert not list(jobset_schema.iter_errors(manifest))
  assert '&id' not in text and re.fullmatch('my-run-1-[0-9a-f]{8}', manifest['metadata']['name'])


def test_the_schema_can_fail(capsys, jobset_schema):
  manifest = yaml.safe_load(rendered(capsys, '--engine=k8s', '--image=i', TINY, '--workdir=x'))
  for wrong in ({'maxRestarts': '5'}, {'restartPolici': 1}):
    broken = manifest | {'spec': manifest['spec'] | {'failurePolicy': wrong}}
    assert list(jobset_schema.iter_errors(broken))


def test_a_pod_of_two_slices(capsys):
  manifest = yaml.safe_load(rendered(capsys, '--engine=k8s', '--image=i', VIT_L, '--workdir=/runs/x', MESH,
                                     '--topology=v5e:16x16', '--slices=2'))
  job = manifest['spec']['replicatedJobs'][0]
  spec = job['template']['spec']
  assert job['replicas'] == 2 and spec['parallelism'] == spec['completions'] == 64  # 256 chips, 4 a host
  pod = spec['template']['spec']
  assert pod['terminationGracePeriodSeconds'] == 300  # between SIGTERM and SIGKILL
  assert pod['nodeSelector'] == {'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
                                 'cloud.google.com/gke-tpu-topology': '16x16'}
  container, = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  assert [entry['name'] for entry in container['env']] == ['PRETRAIN_RESTARTS']  # JAX finds the others by itself
  assert container['command'][-1] == '--distributed'


def test_the_manifests_command_runs_stops_and_goes_on(capsys, tmp_path):
  """What of Kubernetes can be tried without it: the entry point, with the variables that the pods would have."""
  flags = ['--engine=k8s', '--image=i', TINY, f'--workdir={tmp_path}/run', '--config.steps=60', '--nodes=2']
  manifest = yaml.safe_load(rendered(capsys, *flags))
  name = manifest['metadata']['name']
  container, = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']['containers']
  env = {entry['name']: entry.get('value') for entry in container['env']}
  assert env['JAX_COORDINATOR_ADDRESS'] == f'{name}-slice-0-0.{name}:8476' and env['JAX_NUM_PROCESSES'] == '2'
  command = [sys.executable if part == 'python' else part for part in container['command']]
  job = Job('pods', (tuple(command),), tmp_path / 'logs', processes=2,
            env={'XLA_FLAGS': '--xla_backend_optimization_level=0'})  # not the eight devices of the tests
  local = Local()
  first_step = lambda: any(row['event'] == 'first_step' for row in read_rows(tmp_path / 'run/events.jsonl'))
  with signal_when(first_step):
    assert local.run(job) == [75]
  assert read_rows(tmp_path / 'run/events.jsonl')[-1]['reason'] == 'SIGTERM'
  short = job._replace(commands=((*command, '--config.log_every_steps=50'),))
  assert Local().run(short) == [0] and (tmp_path / 'run/result.json').exists()


# this machine

@contextlib.contextmanager
def signal_when(true):
  """Sends this process SIGTERM once something is true."""
  def watch():
    deadline = time.time() + 200
    while not true() and time.time() < deadline:
      time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

  watcher = threading.Thread(target=watch)
  watcher.start()
  yield
  watcher.join()


def script(path: Path, text: str) -> tuple[str, ...]:
  path.write_text(text)
  return sys.executable, str(path)


def test_many_runs_share_the_cores_and_each_has_its_code(tmp_path):
  text = "import os, sys, time\nprint(sorted(os.sched_getaffinity(0)))\ntime.sleep(0.3)\nsys.exit(int(sys.argv[1]))\n"
  base = script(tmp_path / 'cell.py', text)
  job = Job('cells', tuple((*base, code) for code in '0200'), tmp_path / 'logs', parallel=2)
  assert Local(lambda _: None).run(job) == [0, 2, 0, 0]
  shares = {(tmp_path / f'logs/cells-{n}-0.log').read_text().strip() for n in range(4)}
  mine = sorted(os.sched_getaffinity(0))
  assert shares == ({str(mine)} if len(mine) == 1 else
                    {str(mine[:len(mine) // 2]), str(mine[len(mine) // 2:len(mine) // 2 * 2])})


def test_launch_trains_here(tmp_path):
  command = [sys.executable, '-m', 'launch', TINY, f'--workdir={tmp_path}/run', '--devices=4', '--config.steps=3']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert read_rows(tmp_path / 'run/events.jsonl')[0]['devices'] == 4 and (tmp_path / 'run/result.json').exists()


# SLURM

@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
  if not installed():
    assert 'CI' not in os.environ, 'CI must install slurmctld slurmd slurm-client munge'
    pytest.skip('SLURM is not installed')
  with Cluster(tmp_path_factory.mktemp('slurm')) as cluster:
    patch = pytest.MonkeyPatch()
    for key, value in (cluster.env | {'XLA_FLAGS': '--xla_backend_optimization_level=0'}).items():
      patch.setenv(key, value)
    yield cluster
    patch.undo()


def submitted(capsys, *flags: str) -> str:
  assert main(['--engine=slurm', *flags]) == 0, capsys.readouterr().err
  text = capsys.readouterr().out
  assert 'scancel' in text
  return text.split()[1]


def until(true, slurm, identity, seconds=200):
  deadline = time.time() + seconds
  while not true():
    assert time.time() < deadline and slurm.job(identity)['JobState'] in ('PENDING', 'RUNNING'), slurm.job(identity)
    time.sleep(0.2)


def events(workdir: Path, name: str) -> list[dict]:
  return [row for row in read_rows(workdir / 'events.jsonl') if row['event'] == name]


def test_two_nodes_train_one_run_which_requeues_when_the_limit_is_near(slurm, capsys, tmp_path):
  flags = [TINY, '--config.steps=60', f'--workdir={tmp_path}/run', '--nodes=2', '--hours=1']
  job = submitted(capsys, *flags)
  until(lambda: events(tmp_path / 'run', 'first_step'), slurm, job)
  slurm('scancel', '--batch', '--signal=USR1', job)  # what SLURM sends before the time limit
  ended = slurm.wait(job)
  log = next((tmp_path / 'run').glob('*.log')).read_text()
  assert ended['JobState'] == 'COMPLETED' and ended['Restarts'] == '1', log
  first, second = events(tmp_path / 'run', 'start')
  assert first['processes'] == 2 and first['devices'] == 2 and 0 < second['step'] < 60
  assert events(tmp_path / 'run', 'stop')[0]['step'] == second['step']
  assert json.loads((tmp_path / 'run/result.json').read_text())['steps'] == 60


def test_a_mistake_is_not_retried_and_what_depends_on_it_never_starts(slurm, capsys, tmp_path):
  nowhere = '--config.initialize=dict(workdir="nowhere", parts=("backbone",))'  # perhaps there once the job begins
  job = submitted(capsys, TINY, f'--workdir={tmp_path}/run', nowhere)
  after = submitted(capsys, TINY, f'--workdir={tmp_path}/next', f'--after={job}')
  ended = slurm.wait(job)
  assert ended['JobState'] == 'FAILED' and ended['ExitCode'] == '1:0' and ended['Restarts'] == '0'
  assert 'nowhere is not the directory of a run' in next((tmp_path / 'run').glob('*.log')).read_text()
  assert slurm.wait(after)['JobState'] == 'CANCELLED' and not (tmp_path / 'next/config.json').exists()


def test_gpus_are_asked_for_and_impossible_ones_refused(slurm, capsys, tmp_path):
  seen = 'echo "$SLURM_PROCID $SLURM_LOCALID $CUDA_VISIBLE_DEVICES" >> $0'
  probe = ['bash', '-c', seen, f'{tmp_path}/seen', '--distributed']
  job = submitted(capsys, '--topology=h100:2x2', '--name=gpus', '--', *probe)
  assert slurm.wait(job)['JobState'] == 'COMPLETED'
  assert sorted((tmp_path / 'seen').read_text().splitlines()) == [f'{p} {p % 2} 0,1' for p in range(4)]
  assert main(['--engine=slurm', '--topology=h100:2x16', '--', 'true', '--distributed']) == 1
  assert 'sbatch refused' in capsys.readouterr().err


def test_directories_commands_and_variables_of_any_characters_reach_the_tasks(slurm, tmp_path, monkeypatch):
  monkeypatch.setenv('BY_NAME', 'a "secret"')
  jobs = {}
  for number, text in enumerate([*HOSTILE, 'my_hetjob', 'PACKJOB']):
    logs = tmp_path / f'{number} x{text}'
    command = ('bash', '-c', 'printf "%s|" "$0" "$VALUE" "$BY_NAME" >&2', text)
    job = Job(named(text, logs), (command,), logs, env={'VALUE': text}, inherited=('BY_NAME',))
    jobs[submit(job)] = logs, text
  for identity, (logs, text) in jobs.items():
    ended = slurm.wait(identity)
    assert ended['JobState'] == 'COMPLETED', (text, ended)
    log, = logs.glob('*.log')
    assert log.name.endswith(f'-{identity}.log') and f'{text}|{text}|a "secret"|' in log.read_text(), text
    assert not list(logs.glob('pwned')) and not Path('pwned').exists()


def trainers(identity: str) -> dict[int, int]:
  """{process of the run: its pid} of the training processes of a SLURM job."""
  found = {}
  for path in Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError):
      env = dict(pair.partition('=')[::2] for pair in (path / 'environ').read_text(errors='replace').split('\0'))
      argv = (path / 'cmdline').read_text().split('\0')
      if env.get('SLURM_JOB_ID') == identity and 'SLURM_PROCID' in env and argv[1:3] == ['-m', 'pretrain']:
        found[int(env['SLURM_PROCID'])] = int(path.name)
  return found


def test_a_job_that_loses_one_of_two_processes_goes_on_by_itself_to_the_same_losses(slurm, capsys, tmp_path):
  flags = lambda name: (TINY, '--config.steps=200', '--config.checkpoint.every_steps=20', '--nodes=2',
                        f'--workdir={tmp_path}/{name}')
  job = submitted(capsys, *flags('run'))
  until(lambda: events(tmp_path / 'run', 'save'), slurm, job)
  os.kill(trainers(job)[1], signal.SIGKILL)
  ended = slurm.wait(job)
  log = next((tmp_path / 'run').glob('*.log')).read_text()
  assert ended['JobState'] == 'COMPLETED' and ended['Restarts'] == '1', log
  assert 'ended with 137 after 0 restarts' in log and 'ended with 0 after 1 restarts' in log
  assert events(tmp_path / 'run', 'start')[1]['step'] >= 20
  assert slurm.wait(submitted(capsys, *flags('undisturbed')))['JobState'] == 'COMPLETED'
  losses = lambda name: {row['step']: row['loss'] for row in read_rows(tmp_path / name / 'metrics.jsonl')
                         if 'loss' in row}
  assert len(losses('run')) == 200 and losses('run') == losses('undisturbed')


def test_a_job_whose_machines_always_fail_gives_up(slurm, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  job = submitted(capsys, '--nodes=2', '--', 'bash', '-c', 'sleep $SLURM_PROCID; exit 76', '--distributed')
  ended = slurm.wait(job)
  log, = Path('runs/launch').glob(f'bash-*-{job}.log')
  assert ended['ExitCode'] == '76:0' and ended['Restarts'] == '1', log.read_text()
  assert log.read_text().splitlines()[-1].startswith('gave up: 2 attempts in a row')


@pytest.mark.slow
def test_a_job_of_a_higher_partition_takes_the_nodes_and_gives_them_back(slurm, capsys, tmp_path):
  job = submitted(capsys, TINY, '--config.steps=200', f'--workdir={tmp_path}/run', '--nodes=2')
  until(lambda: events(tmp_path / 'run', 'first_step'), slurm, job)
  high = slurm('sbatch', '--parsable', '--partition=high', '--nodes=2', '--exclusive', '--output=/dev/null',
               '--wrap=sleep 1')
  assert slurm.wait(high)['JobState'] == 'COMPLETED'
  ended = slurm.wait(job)
  assert ended['JobState'] == 'COMPLETED' and ended['Restarts'] == '1'
  assert events(tmp_path / 'run', 'start')[1]['step'] == events(tmp_path / 'run', 'stop')[0]['step'] > 0


@pytest.mark.slow
def test_a_dead_node_costs_only_the_steps_since_the_last_save(slurm, capsys, tmp_path):
  job = submitted(capsys, TINY, '--config.steps=600', '--config.checkpoint.every_steps=20', f'--workdir={tmp_path}/run')
  until(lambda: events(tmp_path / 'run', 'save'), slurm, job)
  node = slurm.job(job)['NodeList']
  slurm.kill_node(node)
  slurm('scontrol', 'update', f'NodeName={node}', 'State=DOWN', 'Reason=gone')
  slurm.start_node(node)
  with contextlib.suppress(RuntimeError):  # it registers, and may be back by itself already
    slurm('scontrol', 'update', f'NodeName={node}', 'State=RESUME')
  ended = slurm.wait(job)
  assert ended['JobState'] == 'COMPLETED' and ended['Restarts'] == '1'
  assert events(tmp_path / 'run', 'start')[1]['step'] >= 20


@pytest.mark.slow
def test_three_stages_wait_for_each_other_over_a_requeue(slurm, capsys, tmp_path):
  flags = lambda name, *more: (TINY, f'--workdir={tmp_path}/{name}', '--config.steps=2000',
                               '--config.log_every_steps=50', '--config.checkpoint.every_steps=500', *more)
  one = submitted(capsys, *flags('one'))
  two = submitted(capsys, *flags('two', f'--after={one}'))
  three = submitted(capsys, *flags('three', f'--after={two}'))
  until(lambda: events(tmp_path / 'one', 'first_step'), slurm, one)
  slurm('scancel', '--batch', '--signal=USR1', one)
  assert slurm.wait(one)['Restarts'] == '1' and slurm.wait(three)['JobState'] == 'COMPLETED'
  times = [events(tmp_path / name, kind)[0 if kind == 'start' else -1]['time']
           for name in ('one', 'two', 'three') for kind in ('start', 'stop')]
  assert times == sorted(times)


@pytest.mark.slow
def test_a_table_is_one_array_whose_cells_requeue_and_is_collected(slurm, capsys, tmp_path):
  spec = tmp_path / 'rates.py'
  spec.write_text(f"""
def get_table():
  return dict(title='Rates', differs='8 x 8 digits.', seeds=(0, 1),
              shared={{'steps': 2000, 'log_every_steps': 50, 'checkpoint.every_steps': 500}},
              rows={{'SimCLR': dict(config='{ROOT}/tests/tiny.py')}},
              columns={{rate: {{'schedule.peak': float(rate)}} for rate in ('0.001', '0.01')}},
              metrics={{'loss': 'metrics/loss'}})
""")
  command = [str(spec), 'run', '--engine=slurm', '--workers=2', f'--runs={tmp_path}/runs']
  assert run_table(command) == 0
  job = capsys.readouterr().out.split()[-1]
  first = read_table(str(spec), tmp_path / 'runs')[1][0].workdir
  until(lambda: events(first, 'first_step'), slurm, f'{job}_0')
  script = f'job{int(slurm.job(f"{job}_0")["JobId"]):05}/slurm_script'  # signalled as before the time limit; scancel
  subprocess.run(['pkill', '-USR1', '-f', script], check=True)  # 22.05 refuses to, while others of the array wait
  ended = [slurm.wait(f'{job}_{cell}') for cell in range(4)]
  assert [each['JobState'] for each in ended] == ['COMPLETED'] * 4 and ended[0]['Restarts'] == '1'
  assert [row['step'] > 0 for row in events(first, 'start')] == [False, True]
  capsys.readouterr()
  assert run_table(command) == 0 and '4 cells: 4 done; to run: 0' in capsys.readouterr().out
  assert run_table([str(spec), 'collect', f'--runs={tmp_path}/runs']) == 0
  assert 'n=2 seeds' in (tmp_path / 'runs/rates.md').read_text()
