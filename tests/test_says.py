"""What a run says where no terminal is, and of devices that are not there, not used, or too small."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from pretrain import train
from pretrain.config import ConfigError
from pretrain.machine import processes, pulse, rundir
from pretrain.machine.metrics import event
from pretrain.machine.pulse import Pulse
from pretrain.plan import memory
from pretrain.train import DONE
from tests.test_train import FIXMATCH, tiny

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]


def pretrain(*flags: str, limit: int | None = None, **env: str) -> subprocess.CompletedProcess:
  """The command on one device, with at most so many KiB of addresses."""
  argv = ['bash', '-c', f'ulimit -v {limit or "unlimited"}; exec "$@"', '-', sys.executable, '-m', 'pretrain', *flags]
  return subprocess.run(argv, cwd=ROOT, env=os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'} | env,
                        capture_output=True, text=True, timeout=400)


def test_a_start_is_told_in_facts_and_the_first_step(tmp_path, capsys):
  assert train.train(tiny(*FIXMATCH, 'log_every_steps=100'), tmp_path) == DONE
  said = capsys.readouterr().out
  for words in ('train of digits: 1,437 examples of 8 x 8 x 1', '40 examples', '10 classes', 'unlabeled: ',
                'parameters; 12 steps of 96 examples on 8 x cpu (data=8)', 'compiling for 8 x cpu',
                'step 1/12  ', ' s after the start', 'done: '):
    assert words in said, said


def test_a_line_at_least_every_so_often(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(pulse, 'QUIET', 1.)
  place, slept = train.sharding.place, []

  def slow(*args):
    if not slept:
      slept.append(time.sleep(3.5))
    return place(*args)

  monkeypatch.setattr(train.sharding, 'place', slow)
  assert train.train(tiny('log_every_steps=100'), tmp_path) == DONE
  lines = re.findall(r'step 0/12  training for (\d) s', capsys.readouterr().out)
  assert len(lines) >= 2 and lines == sorted(lines)


def test_a_pulse_that_is_quiet_prints_nothing(capsys, monkeypatch):
  monkeypatch.setattr(pulse, 'QUIET', .1)
  with Pulse(False) as quiet:
    quiet.now('compiling')
    time.sleep(1.2)
  assert not any(capsys.readouterr())


@pytest.mark.parametrize('platform', ['cuda', 'gpux', 'tpu'])
def test_platforms_that_are_not_here_are_told(platform, tmp_path):
  done = pretrain('train', '--config=tests/tiny.py', f'--workdir={tmp_path}/run', JAX_PLATFORMS=platform,
                  TPU_SKIP_MDS_QUERY='1')
  assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
  assert f'JAX_PLATFORMS={platform}: JAX finds no such device on this machine' in done.stderr
  assert not (tmp_path / 'run').exists()


def test_an_accelerator_that_is_not_used_is_told(monkeypatch):
  assert processes.unused() == []
  exists = Path.exists
  monkeypatch.setattr(Path, 'exists', lambda path: str(path) == '/dev/nvidia0' or exists(path))
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert processes.unused() == ['this machine has an NVIDIA GPU, and JAX computes on CPUs: JAX_PLATFORMS=cpu asks for '
                                'that']
  monkeypatch.delenv('JAX_PLATFORMS')
  assert 'pip install "jax[cuda13]"' in processes.unused()[0]


def test_too_little_memory_is_told_by_part_with_what_to_change(tmp_path):
  done = pretrain('train', '--config=tests/tiny.py', '--config.batch=1024', '--config.backbone.patch=1',
                  '--config.backbone.width=1024', '--config.backbone.depth=2', f'--workdir={tmp_path}/run',
                  limit=5 << 20, JAX_PLATFORMS='cpu')
  assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
  said = done.stderr.strip().split('\n')[-1]
  assert re.match(r'error: out of memory: a step takes [\d.]+ GB a device \(activations and gradients [\d.]+ GB, the '
                  r"optimizer's moments [\d.]+ MB, parameters ", said), said
  for lever in ('--config.batch=', '--config.grad_cache=2: the same batch in 2 parts', '--config.backbone.remat='):
    assert lever in said
  assert 'no checkpoint' not in said and (tmp_path / 'run/events.jsonl').read_text().count('OutOfMemory') == 1


@pytest.mark.parametrize(('objective', 'lever'), [((), '--config.grad_cache=2'), (FIXMATCH, '--config.accumulate=2')])
def test_the_parts_of_a_step_and_the_lever_of_its_objective(objective, lever):
  tree = tiny(*objective, 'batch=64', "mesh={'fsdp': 2}")
  run = train.configs.call(train.prepare, tree, 'config')
  compiled = run.training.step.lower(run.training.abstract, run.abstract_batch).compile()
  taken = memory.parts(run.training, run.abstract_batch, run.mesh, compiled)
  stats = compiled.memory_analysis()
  assert sum(taken.values()) == pytest.approx(stats.argument_size_in_bytes + stats.temp_size_in_bytes, rel=0.02)
  said = memory.sentence(RuntimeError('RESOURCE_EXHAUSTED: x'), run, tree, compiled)
  assert lever in said or '--config.batch=' in said
  without = memory.sentence(RuntimeError('RESOURCE_EXHAUSTED: x'), run, tree)
  assert 'gradients' in without and '--config.accumulate' in without


@pytest.mark.parametrize('text', ['RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes', 'std::bad_alloc'])
def test_what_counts_as_short_of_memory(text):
  assert memory.short(jax.errors.JaxRuntimeError(text)) and memory.short(MemoryError())
  assert not memory.short(RuntimeError('INTERNAL: x'))


# given up

def test_a_run_that_a_scheduler_begins_again_without_progress_is_given_up(tmp_path, monkeypatch):
  for attempt in range(2):
    rundir.check_progress(tmp_path)
    event(tmp_path, 'start', step=0)
    monkeypatch.setenv('PRETRAIN_RESTARTS', str(attempt + 1))
  with pytest.raises(ConfigError, match='given up, as two attempts one after the other have ended without a new check'):
    rundir.check_progress(tmp_path)
  event(tmp_path, 'save', step=4)
  rundir.check_progress(tmp_path)
  event(tmp_path, 'start', step=4)
  rundir.check_progress(tmp_path)
  event(tmp_path, 'start', step=4)
  monkeypatch.delenv('PRETRAIN_RESTARTS')
  rundir.check_progress(tmp_path)  # a person may


# lost

@pytest.mark.parametrize(('error', 'several', 'lost'), [
    (OSError(28, 'No space left on device'), False, True), (OSError(122, 'quota'), False, True),
    (OSError(5, 'Input/output error'), False, True), (FileNotFoundError(2, 'no'), False, False),
    (ValueError('UNKNOWN: Gloo AllGather failed: Connection closed by peer'), True, True),
    (ValueError('UNKNOWN: Gloo AllGather failed: Connection closed by peer'), False, False),
    (jax.errors.JaxRuntimeError('INTERNAL: NCCL operation ncclAllReduce failed: unhandled system error'), True, True),
    (jax.errors.JaxRuntimeError('UNAVAILABLE: failed to connect to all addresses'), True, True),
    (jax.errors.JaxRuntimeError('INTERNAL: an uncorrectable ECC error was encountered'), False, True),
    (jax.errors.JaxRuntimeError('INTERNAL: TPU initialization failed: ICI link down'), False, True),
    (jax.errors.JaxRuntimeError('INVALID_ARGUMENT: shapes'), True, False),
    (ConfigError('config.gloo: no such key'), True, False), (KeyError('x'), True, False)])
def test_what_is_a_machines_failure(error, several, lost, monkeypatch):
  monkeypatch.setattr(processes, 'count', lambda: 2 if several else 1)
  assert processes.lost(error) == lost
  wrapped = RuntimeError('a checkpoint could not be saved')
  wrapped.__cause__ = error
  assert processes.lost(wrapped) == lost


def test_a_signal_while_the_machine_is_being_imported_ends_with_75():
  """Of its module the first half has run, as where JAX is being imported."""
  code = '''import os, signal, sys, types
from pretrain import __main__ as command
sys.modules['pretrain.machine.processes'] = types.ModuleType('pretrain.machine.processes')
with command.leaving(False):
  os.kill(os.getpid(), signal.SIGTERM)
'''
  run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=60)
  assert run.returncode == 75 and 'stopped by SIGTERM' in run.stderr and 'Traceback' not in run.stderr


# file systems

def test_a_file_system_without_locks_is_told_before_anything_is_compiled(tmp_path, monkeypatch, compilations):
  def none(*_):
    raise OSError(38, 'Function not implemented')
  monkeypatch.setattr(rundir.fcntl, 'flock', none)
  before = compilations()
  with pytest.raises(ConfigError, match=r'has no locks \(flock: Function not implemented\)'):
    train.train(tiny(), tmp_path, quiet=True)
  assert compilations() == before


def test_a_file_system_that_cannot_rename_a_directory_is_told_before_anything_is_compiled(tmp_path, monkeypatch,
                                                                                          compilations):
  def none(*_):
    raise OSError(18, 'Invalid cross-device link')
  before = compilations()
  with monkeypatch.context() as patch:
    patch.setattr(Path, 'rename', none)
    with pytest.raises(ConfigError, match=r'cannot rename a directory \(Invalid cross-device link\)'):
      train.train(tiny(), tmp_path, quiet=True)
  assert compilations() == before and not list(tmp_path.glob('.before*'))
