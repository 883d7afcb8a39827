"""What must not happen, made to happen: kills at any moment, damaged checkpoints, two runs in one place, NaN."""
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import pretrain.objectives
from pretrain import rundir, train
from pretrain.checkpoint import Damaged
from pretrain.config import ConfigError, call
from pretrain.metrics import read_rows
from pretrain.train import DONE, FAILED, STOPPED
from tests.test_train import FIXMATCH, ROOT, TINY, StopAfter, assert_same, events, final, losses, tiny

KILLS = {  # objective -> overrides of tests/tiny.py
    'simclr': ["evaluate=dict(train=dict(name='digits', split='train'), test=dict(name='digits', split='test'), "
               "every_steps=10)"],
    'fixmatch': FIXMATCH,
    'mae': ["views=dict(name='mae', size=8, scale=(0.4, 1.))", "backbone.patch=2",
            "objective=dict(name='mae', mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, "
            "standardize=True)"],
    'byol': ["views=dict(name='byol', size=8, scale=(0.4, 1.))",
             "objective=dict(name='byol', hidden=32, dim=16, predictor_hidden=32, momentum=0.9)"],
}
LONG = ['steps=60', 'checkpoint.every_steps=7', 'log_every_steps=5']


def process(workdir: Path, *overrides: str) -> subprocess.Popen:
  """On one device, with a compilation cache: most of the time is then not the compiler's."""
  return subprocess.Popen(
      [sys.executable, '-m', 'pretrain', 'train', f'--config={TINY}', f'--workdir={workdir}', '--quiet',
       *(f'--config.{text}' for text in overrides)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      text=True, env=os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'})


def disturbed(workdir: Path, name: str, seed: int, kills: int, number=signal.SIGKILL) -> int:
  """Runs until done; until `kills` are spent each attempt is killed at a random moment. Returns those that struck."""
  rng, struck, span = np.random.default_rng(seed), 0, 10.
  for _ in range(kills):
    began, one = time.time(), process(workdir, *LONG, *KILLS[name])
    try:
      one.wait(rng.uniform(0.3, span))
    except subprocess.TimeoutExpired:
      one.send_signal(number)
      struck += 1
    code = one.wait(300)
    assert code in (DONE, STOPPED, -number, 1 if number == signal.SIGINT else DONE), one.stdout.read()
    if code == DONE:
      break
    span = max(4., min(span, 1.5 * (time.time() - began)))
  one = process(workdir, *LONG, *KILLS[name])
  assert one.wait(300) == DONE, one.stdout.read()
  return struck


def assert_undisturbed(workdir: Path, other: Path, name: str) -> None:
  assert losses(workdir) == losses(other)
  tree = tiny(*LONG, *KILLS[name])
  assert_same(final(workdir, tree)[0], final(other, tree)[0])
  one, two = (json.loads((path / 'result.json').read_text()) for path in (workdir, other))
  assert one['evaluation'] == two['evaluation']


def undisturbed(tmp_path: Path, name: str) -> Path:
  one = process(tmp_path / 'undisturbed', *LONG, *KILLS[name])
  assert one.wait(300) == DONE, one.stdout.read()
  return tmp_path / 'undisturbed'


def test_a_kill(tmp_path):
  one = process(tmp_path / 'run', *LONG, *KILLS['simclr'])
  deadline = time.time() + 120
  while len(losses(tmp_path / 'run')) < 3 and one.poll() is None and time.time() < deadline:
    time.sleep(0.02)
  one.kill()
  assert one.wait() == -signal.SIGKILL, one.stdout.read()
  assert disturbed(tmp_path / 'run', 'simclr', 0, 0) == 0
  assert_undisturbed(tmp_path / 'run', undisturbed(tmp_path, 'simclr'), 'simclr')


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('name', KILLS)
def test_kills_at_random_moments_change_no_bit(tmp_path, name, seed, record_property):
  """Five to seven each: start-up, compiling, steps, saves, evaluation."""
  other = undisturbed(tmp_path, name)
  struck = 0
  while struck < 5:
    workdir = tmp_path / f'run{struck}'
    struck += disturbed(workdir, name, 100 * seed + struck, 7)
    assert_undisturbed(workdir, other, name)
  record_property('kills', struck)
  print(f'{name} seed {seed}: {struck} kills')


@pytest.mark.slow
@pytest.mark.parametrize('name', KILLS)
def test_sigterm_at_random_moments_changes_no_bit(tmp_path, name):
  disturbed(tmp_path / 'run', name, 7, 6, signal.SIGTERM)
  assert_undisturbed(tmp_path / 'run', undisturbed(tmp_path, name), name)


# checkpoints

def largest(workdir: Path, step: int) -> Path:
  """The file with most of a checkpoint's arrays."""
  return max((path for path in (workdir / 'checkpoints' / str(step) / 'state').rglob('*') if path.is_file()),
             key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


DAMAGES = {
    'flipped bit': lambda workdir, step: flip(largest(workdir, step)),
    'cut file': lambda workdir, step: os.truncate(largest(workdir, step), 100),
    'lost file': lambda workdir, step: largest(workdir, step).unlink(),
    'cut list': lambda workdir, step: [os.truncate(path, path.stat().st_size // 2) for path in
                                       (workdir / 'checkpoints' / str(step) / 'meta').rglob('*') if path.is_file()],
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  assert train.train(tiny(), workdir, quiet=True) == DONE
  return workdir


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(damage, tmp_path, whole, monkeypatch, capsys):
  StopAfter(monkeypatch, 10)
  assert train.train(tiny(), tmp_path, quiet=True) == STOPPED  # checkpoints 8 and 10
  monkeypatch.undo()
  DAMAGES[damage](tmp_path, 10)
  assert train.train(tiny(), tmp_path, quiet=True) == DONE
  said = capsys.readouterr().out
  assert 'checkpoint 10 in ' in said and 'is damaged: ' in said and 'kept as damaged-10' in said
  assert (tmp_path / 'checkpoints/damaged-10').is_dir()
  assert [row['step'] for row in read_rows(tmp_path / 'events.jsonl') if row['event'] == 'start'] == [0, 8]
  assert 'damaged' in events(tmp_path)
  assert losses(tmp_path) == losses(whole)
  assert_same(final(tmp_path, tiny())[0], final(whole, tiny())[0])


def test_the_only_checkpoint_damaged_is_an_error_and_nothing_is_lost(tmp_path, monkeypatch):
  StopAfter(monkeypatch, 3)
  assert train.train(tiny(), tmp_path, quiet=True) == STOPPED
  monkeypatch.undo()
  flip(largest(tmp_path, 3))
  for _ in range(2):
    with pytest.raises(Damaged, match='checkpoint 3 .* is damaged: .*there is no earlier one'):
      train.train(tiny(), tmp_path, quiet=True)
  assert (tmp_path / 'checkpoints/3').is_dir() and events(tmp_path)[-1] == 'error'


# two runs in one directory

def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
  first = process(tmp_path, 'steps=5000')
  try:
    deadline = time.time() + 120
    while not rundir.running(tmp_path) and time.time() < deadline:
      time.sleep(0.05)
    second = process(tmp_path, 'steps=5000')
    assert second.wait(120) == 1
    assert f'in use by process {first.pid} on ' in second.stdout.read()
  finally:
    first.kill()
    first.wait()
  assert not rundir.running(tmp_path)
  with rundir.alone(tmp_path):
    assert rundir.running(tmp_path)


# loss not finite

def poisoned(monkeypatch, *steps: int) -> None:
  """SimCLR whose loss is NaN at these steps."""
  def simclr(**options):
    objective = build(**options)

    def loss(params, memory, batch, key, step):
      value, aux = objective.loss(params, memory, batch, key, step)
      return jnp.where(jnp.isin(step, jnp.array(steps)), jnp.nan, 1.) * value, aux

    return objective._replace(loss=loss)

  from pretrain.objectives import simclr as module
  build = module.simclr
  simclr.__signature__, simclr.__module__ = inspect.signature(build), build.__module__
  monkeypatch.setattr(pretrain.objectives.simclr, 'simclr', simclr)


def test_steps_that_are_not_finite_are_left_out_counted_and_limited(tmp_path, monkeypatch, capsys):
  poisoned(monkeypatch, 4, 5)
  keep = ('checkpoint.every_steps=1', 'checkpoint.keep=20')
  tree = tiny('nonfinite.skip=2', *keep)
  assert train.train(tree, tmp_path / 'two', quiet=True) == DONE
  rows = {row['step']: row for row in read_rows(tmp_path / 'two/metrics.jsonl')}
  assert [rows[step]['skipped'] for step in (4, 5, 6, 12)] == [0, 1, 2, 2]
  run = call(train.prepare, tree, 'config')
  with contextlib.closing(train.Checkpoints(tmp_path / 'two/checkpoints', 20)) as checkpoints:
    four, six, seven = (checkpoints.restore(run.training.abstract, step)[0] for step in (4, 6, 7))
  assert_same((four.params, four.opt_state, four.memory), (six.params, six.opt_state, six.memory))
  assert int(six.step) == 6 and int(six.nonfinite) == -3
  with pytest.raises(AssertionError):
    assert_same(six.params, seven.params)
  capsys.readouterr()
  assert train.train(tiny('nonfinite.skip=1', *keep), tmp_path / 'one', quiet=True) == FAILED
  assert 'not finite at step 5' in capsys.readouterr().out


def test_a_run_that_may_skip_has_the_numbers_of_one_that_may_not(tmp_path, whole):
  assert train.train(tiny('nonfinite.skip=3'), tmp_path, quiet=True) == DONE
  np.testing.assert_allclose(list(losses(tmp_path).values()), list(losses(whole).values()), rtol=1e-6)


def test_back_to_the_last_checkpoint_with_a_smaller_rate(tmp_path, monkeypatch, capsys):
  roll_back = rundir.roll_back
  poisoned(monkeypatch, 6)

  def cured(*args):
    monkeypatch.undo()
    roll_back(*args)

  monkeypatch.setattr(rundir, 'roll_back', cured)
  assert train.train(tiny('nonfinite={"rollbacks": 1, "factor": 0.25}'), tmp_path, quiet=True) == DONE
  said = capsys.readouterr().out
  assert 'not finite at step 6' in said and 'going on from there with 0.25 times the learning rate' in said
  rows = {row['step']: row for row in read_rows(tmp_path / 'metrics.jsonl')}
  assert list(rows) == list(range(1, 13)) and rundir.rollbacks(tmp_path) == 1
  rate = lambda step: 1e-3 * 0.5 * (1 + np.cos(np.pi * (step - 2) / 10))  # of the schedule, at the steps from 0
  np.testing.assert_allclose([rows[4]['lr'], rows[5]['lr']], [rate(3), 0.25 * rate(4)], rtol=1e-5)
  assert [row['step'] for row in read_rows(tmp_path / 'events.jsonl') if row['event'] == 'start'] == [0, 4]


@pytest.mark.slow
def test_rollbacks_end(tmp_path, monkeypatch, capsys):
  poisoned(monkeypatch, 6)
  tree = tiny('nonfinite.rollbacks=2', 'steps=8')
  assert train.train(tree, tmp_path, quiet=True) == FAILED
  assert capsys.readouterr().out.count('going on from there') == 2 and rundir.rollbacks(tmp_path) == 2
  assert train.train(tree, tmp_path, quiet=True) == FAILED  # the directory remembers


@pytest.mark.parametrize('wrong', ['skip=-1', 'factor=0.', 'factor=2.', 'policy="stop"'])
def test_a_policy_that_makes_no_sense_is_refused(wrong):
  with pytest.raises(ConfigError, match='config.nonfinite'):
    call(train.prepare, tiny(f'nonfinite.{wrong}'), 'config')


# signals while evaluating

def test_a_signal_during_the_evaluation_at_the_end_costs_only_the_evaluation(tmp_path, monkeypatch, capsys):
  table, calls = train.table, []

  def interrupted(*args):
    calls.append(1)
    if len(calls) == 1:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(5)
      raise AssertionError('the signal was not heard')
    return table(*args)

  monkeypatch.setattr(train, 'table', interrupted)
  tree = tiny(*KILLS['simclr'])
  assert train.train(tree, tmp_path, quiet=True) == STOPPED
  assert 'stopped by SIGTERM while evaluating' in capsys.readouterr().out and not (tmp_path / 'result.json').exists()
  assert train.train(tree, tmp_path, quiet=True) == DONE
  assert len(losses(tmp_path)) == 12 and len(json.loads((tmp_path / 'result.json').read_text())['evaluation']) == 3
