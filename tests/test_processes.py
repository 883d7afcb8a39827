"""Real processes over jax.distributed: the numbers of one, stopped together, continued by another count of them."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from data import labels as stores
from launch.job import simulated
from launch.local import free_port
from pretrain import train
from pretrain.files import read_rows
from pretrain.machine import sharding
from pretrain.programs import label
from pretrain.train import DONE
from tests.test_labels import N
from tests.test_programs import HARD
from tests.test_train import tiny

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
STEPS = 60
TRAIN = ('train', '--config=tests/tiny.py', f'--config.steps={STEPS}', '--config.checkpoint.every_steps=20')


class Processes:
  """A command with --distributed in some processes of so many devices each; outputs in files beside the run."""

  def __init__(self, workdir: Path, processes: int, devices: int, *flags: str, own_flags=None, command=TRAIN,
               environments=None):
    port = free_port()
    self.outputs = [workdir.parent / f'{workdir.name}-{processes}-{p}.txt' for p in range(processes)]
    self.running = []
    for p, output in enumerate(self.outputs):
      env = simulated(os.environ | {
          'XLA_FLAGS': '--xla_backend_optimization_level=0 --xla_cpu_collective_call_terminate_timeout_seconds=600',
          'JAX_COORDINATOR_ADDRESS': f'localhost:{port}', 'JAX_NUM_PROCESSES': str(processes),
          'JAX_PROCESS_ID': str(p)} | (environments or {}).get(p, {}), devices)
      own = (own_flags or {}).get(p, ())
      where = () if any(flag.startswith('--workdir=') for flag in own) else (f'--workdir={workdir}',)
      argv = [sys.executable, '-m', 'pretrain', *command, *where, *flags, *own]
      if processes > 1:
        argv.append('--distributed')
      with output.open('w') as file:
        self.running.append(subprocess.Popen(argv, cwd=ROOT, env=env, stdout=file, stderr=file))

  def wait(self) -> list[int]:
    try:
      return [process.wait(400) for process in self.running]
    finally:
      for process in self.running:
        process.kill()

  def text(self) -> str:
    return '\n'.join(output.read_text() for output in self.outputs)


def losses(workdir: Path) -> dict[int, float]:
  return {row['step']: row['loss'] for row in read_rows(workdir / 'metrics.jsonl') if 'loss' in row}


def events(workdir: Path) -> list[dict]:
  path = workdir / 'events.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(workdir: Path, event: str, processes: Processes) -> None:
  deadline = time.time() + 400
  while not any(row['event'] == event for row in events(workdir)):
    assert time.time() < deadline and all(p.poll() is None for p in processes.running), processes.text()
    time.sleep(0.02)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory) -> dict[int, float]:
  workdir = tmp_path_factory.mktemp('one') / 'run'
  one = Processes(workdir, 1, 8)
  assert one.wait() == [0], one.text()
  return losses(workdir)


def assert_the_same(got: dict[int, float], want: dict[int, float]):
  """To 2e-3: AdamW makes steps of the size of the rate out of rounding; another batch would change the loss by 1e-1."""
  assert got.keys() == want.keys()
  np.testing.assert_allclose(got[1], want[1], rtol=1e-5)
  np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=2e-3)


def test_two_processes_stop_together_and_one_goes_on_with_another_mesh(tmp_path, undisturbed):
  workdir = tmp_path / 'run'
  two = Processes(workdir, 2, 4, '--config.mesh={"data": 2, "fsdp": 4}')
  wait_for(workdir, 'first_step', two)
  two.running[1].send_signal(signal.SIGTERM)  # one of them is told
  assert two.wait() == [75, 75], two.text()
  start, stop = events(workdir)[0], events(workdir)[-1]
  assert start['processes'] == 2 and start['devices'] == 8
  assert stop['event'] == 'stop' and stop['reason'] == 'SIGTERM' and 0 < stop['step'] < STEPS
  one = Processes(workdir, 1, 8, '--config.mesh={"fsdp": 4, "tensor": 2}')
  assert one.wait() == [0], one.text()
  assert events(workdir)[-1]['reason'] == 'done' and any(row.get('step') == stop['step'] for row in events(workdir)
                                                         if row['event'] == 'start')
  assert_the_same(losses(workdir), undisturbed)


@pytest.mark.slow
def test_four_processes_go_on_where_two_were(tmp_path, undisturbed):
  workdir = tmp_path / 'run'
  evaluate = "--config.evaluate=dict(train=dict(name='digits', split='train'), test=dict(name='digits', split='test'))"
  two = Processes(workdir, 2, 4, evaluate)
  wait_for(workdir, 'save', two)
  two.running[0].send_signal(signal.SIGUSR1)
  assert two.wait() == [75, 75], two.text()
  four = Processes(workdir, 4, 2, '--config.mesh={"replica": 2, "data": 2, "fsdp": 2}', evaluate)
  assert four.wait() == [0] * 4, four.text()
  assert_the_same(losses(workdir), undisturbed)
  result = json.loads((workdir / 'result.json').read_text())
  assert len(result['evaluation']) == 3 and (workdir / 'report.html').exists()
  assert four.text().count('done:') == 1


def test_processes_that_disagree_are_refused_by_the_name_of_what_differs(tmp_path):
  two = Processes(tmp_path / 'run', 2, 1, own_flags={1: ['--config.objective.temperature=0.3']})
  assert two.wait() == [1, 1]
  assert 'process 1 does not agree with process 0: config.objective.temperature: 0.2 -> 0.3' in two.text()
  assert not (tmp_path / 'run').exists()


def test_who_the_others_are_must_be_said(tmp_path):
  env = {k: v for k, v in os.environ.items() if not k.startswith(('SLURM', 'JAX_COORDINATOR'))}
  command = [sys.executable, '-m', 'pretrain', 'train', '--config=tests/tiny.py', f'--workdir={tmp_path}/run']
  done = subprocess.run([*command, '--distributed'], cwd=ROOT, env=env | {'JAX_NUM_PROCESSES': '2'},
                        capture_output=True, text=True)
  assert done.returncode == 1
  assert 'error: --distributed: ' in done.stderr and 'only JAX_NUM_PROCESSES is set' in done.stderr


# Labels ---------------------------------------------------------------------------------------------------------------

PART = 6  # digits: so many parts that the notice to stop comes before the last
PARTS = -(-N // PART)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A run with classes, and the store that one process makes with it."""
  workdir = tmp_path_factory.mktemp('teacher') / 'run'
  assert train.train(tiny(*HARD), workdir, quiet=True) == DONE
  store = workdir.parent / 'store'
  assert label.write_labels(workdir, store, examples_per_part=PART, quiet=True) == DONE
  return workdir, stores.read(store)


def labeling(workdir: Path, store: Path, processes: int, devices: int) -> Processes:
  return Processes(workdir, processes, devices, f'--out={store}', f'--config.examples_per_part={PART}',
                   command=('label',))


def whole_parts(store: Path) -> list[str]:
  """The parts under their final names, each of which is a whole file."""
  found = sorted((store / 'parts').glob('*'))
  assert all(len(pq.read_table(path)) in (PART, N - PART * (PARTS - 1)) for path in found)
  return [path.name for path in found]


def wait_for_a_part(store: Path, there: int, processes: Processes) -> None:
  deadline = time.time() + 400
  while len(list((store / 'parts').glob('*.parquet'))) <= there:
    assert time.time() < deadline and all(p.poll() is None for p in processes.running), processes.text()
    time.sleep(0.002)


def assert_the_same_labels(store: Path, wanted: stores.Labels):
  found = stores.read(store)
  assert found.about == wanted.about and {path.name for path in store.iterdir()} == {'parts', 'labels.json'}
  np.testing.assert_array_equal(found.index, wanted.index)
  np.testing.assert_array_equal(found.label, wanted.label)
  np.testing.assert_allclose(found.probabilities, wanted.probabilities, rtol=1e-5, atol=1e-6)


def test_labels_by_two_processes_stopped_together_and_continued_by_one(teacher, tmp_path):
  workdir, wanted = teacher
  two = labeling(workdir, tmp_path / 'store', 2, 4)
  wait_for_a_part(tmp_path / 'store', 0, two)
  two.running[1].send_signal(signal.SIGTERM)  # one of them is told
  assert two.wait() == [75, 75], two.text()
  before = whole_parts(tmp_path / 'store')
  assert 0 < len(before) < PARTS and not (tmp_path / 'store' / 'labels.json').exists()
  assert two.text().count('stopped by') == 1
  assert label.write_labels(workdir, tmp_path / 'store', examples_per_part=PART, quiet=True) == DONE
  assert_the_same_labels(tmp_path / 'store', wanted)


@pytest.mark.slow
def test_labels_by_two_processes_killed_at_any_moment(teacher, tmp_path):
  workdir, wanted = teacher
  store, rng, there = tmp_path / 'store', np.random.default_rng(0), 0
  for processes, devices in [(2, 4), (4, 2), (2, 4)]:
    some = labeling(workdir, store, processes, devices)
    wait_for_a_part(store, there, some)
    time.sleep(rng.uniform(0, 0.1))
    for process in some.running:
      process.kill()
    some.wait()
    there = len(whole_parts(store))
    assert not (store / 'labels.json').exists()
  last = labeling(workdir, store, 2, 4)
  assert last.wait() == [0, 0], last.text()
  assert last.text().count('done:') == 1
  assert_the_same_labels(store, wanted)


def test_rows_that_a_process_holds_are_those_of_its_devices():
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  assert sharding.local_rows(mesh, 12).tolist() == list(range(12))  # a process that has all devices
  batch = {'x': np.arange(24).reshape(12, 2)}
  placed = sharding.place(batch, mesh)['x']
  np.testing.assert_array_equal(jax.device_get(placed), batch['x'])
  assert placed.sharding == sharding.batch_sharding(mesh)
