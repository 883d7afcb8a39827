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
import pytest

from launch.local import free_port
from pretrain import sharding
from pretrain.metrics import read_rows

ROOT = Path(__file__).parents[1]
STEPS = 60


class Processes:
  """`pretrain train --distributed` in some processes of so many devices each; outputs in files beside the run."""

  def __init__(self, workdir: Path, processes: int, devices: int, *flags: str, own_flags=None):
    port = free_port()
    self.outputs = [workdir.parent / f'{workdir.name}-{processes}-{p}.txt' for p in range(processes)]
    self.running = []
    for p, output in enumerate(self.outputs):
      env = os.environ | {
          'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0 '
                       '--xla_cpu_collective_call_terminate_timeout_seconds=600',
          'JAX_COORDINATOR_ADDRESS': f'localhost:{port}', 'JAX_NUM_PROCESSES': str(processes), 'JAX_PROCESS_ID': str(p)}
      command = [sys.executable, '-m', 'pretrain', 'train', '--config=tests/tiny.py', f'--workdir={workdir}',
                 f'--config.steps={STEPS}', '--config.checkpoint.every_steps=20', *flags, *(own_flags or {}).get(p, ())]
      if processes > 1:
        command.append('--distributed')
      with output.open('w') as file:
        self.running.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file))

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


def test_rows_that_a_process_holds_are_those_of_its_devices():
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  assert sharding.local_rows(mesh, 12).tolist() == list(range(12))  # a process that has all devices
  batch = {'x': np.arange(24).reshape(12, 2)}
  placed = sharding.place(batch, mesh)['x']
  np.testing.assert_array_equal(jax.device_get(placed), batch['x'])
  assert placed.sharding == sharding.batch_sharding(mesh)
