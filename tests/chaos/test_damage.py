"""What must not happen, made to happen: damaged checkpoints, two runs in one place, NaN, signals while evaluating."""
import contextlib
import inspect
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pretrain.objectives
from pretrain import train
from pretrain.config import ConfigError, call
from pretrain.files import read_rows
from pretrain.machine import rundir
from pretrain.machine.checkpoint import Damaged
from pretrain.programs.label import open_model
from pretrain.programs.stages import program
from pretrain.train import DONE, FAILED, STOPPED
from tests.chaos.test_kills import SETS, run, spawn
from tests.test_programs import curriculum
from tests.test_train import StopAfter, assert_same, events, final, losses, tiny

pytestmark = pytest.mark.suite('system')

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


def test_damage_at_the_same_step_again(tmp_path, whole):
  shutil.copytree(whole / 'checkpoints', tmp_path / 'checkpoints')
  flip(largest(tmp_path, 12))
  shutil.copytree(tmp_path / 'checkpoints/12', tmp_path / 'checkpoints/damaged-12')
  with contextlib.closing(train.Checkpoints(tmp_path / 'checkpoints')) as checkpoints:
    step, _, _, found = checkpoints.restore_newest(call(train.prepare, tiny(), 'config').training.abstract)
  assert step == 8 and 'kept as damaged-12-2' in found[0] and (tmp_path / 'checkpoints/damaged-12-2').is_dir()


@pytest.mark.slow
@pytest.mark.parametrize('damage', ['flip', 'cut', 'lose'])
def test_damage_to_any_file_of_a_checkpoint_is_harmless_or_named(damage, tmp_path, whole):
  """What is read is what was saved, or it is said that it is not."""
  run = call(train.prepare, tiny(), 'config')
  names = sorted(path.relative_to(whole / 'checkpoints/12') for path in (whole / 'checkpoints/12').rglob('*')
                 if path.is_file())
  harm = dict(flip=flip, cut=lambda path: os.truncate(path, path.stat().st_size // 2), lose=Path.unlink)[damage]
  named = 0
  for number, name in enumerate(names):
    folder = tmp_path / str(number)
    shutil.copytree(whole / 'checkpoints', folder)
    if damage == 'lose' or (folder / '12' / name).stat().st_size:
      harm(folder / '12' / name)
    with contextlib.closing(train.Checkpoints(folder)) as checkpoints:
      step, state, meta, found = checkpoints.restore_newest(run.training.abstract)
    assert step == (8 if found or not (folder / '12').exists() else 12)
    named += len(found)
    assert meta['data'] == {'next_index': step} and int(state.step) == step
    if step == 12:
      assert_same(jax.device_get(state), final(whole, tiny())[0])
  assert named >= 2, f'{named} of {len(names)}'


def test_the_only_checkpoint_damaged_is_an_error_and_nothing_is_lost(tmp_path, monkeypatch):
  StopAfter(monkeypatch, 3)
  assert train.train(tiny(), tmp_path, quiet=True) == STOPPED
  monkeypatch.undo()
  flip(largest(tmp_path, 3))
  for _ in range(2):
    with pytest.raises(Damaged, match='checkpoint 3 .* is damaged: .*there is no earlier one'):
      train.train(tiny(), tmp_path, quiet=True)
  assert (tmp_path / 'checkpoints/3').is_dir() and events(tmp_path)[-1] == 'error'


@pytest.mark.parametrize('damage', DAMAGES)
def test_what_only_reads_a_damaged_checkpoint_says_who_mends_it(damage, tmp_path, whole):
  """And takes no other for the newest: its numbers would stand for those of the last step."""
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  DAMAGES[damage](tmp_path, 12)
  words = 'checkpoint 12 .* is damaged: .*; the command that trained it goes back to the checkpoint before it'
  with pytest.raises(Damaged, match=words):
    train.evaluate(tiny(SETS), tmp_path)
  try:
    assert_same(jax.device_get(open_model(tmp_path).state().params), final(whole, tiny())[0].params)
  except Damaged as error:
    assert re.search(words, str(error))
  assert (tmp_path / 'checkpoints/12').is_dir()


def test_an_evaluation_leaves_the_save_of_a_run_alone(tmp_path, whole):
  """A save under way is a temporary directory, which the run itself removes when it starts again."""
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  under_way = tmp_path / 'checkpoints/14.orbax-checkpoint-tmp'
  shutil.copytree(tmp_path / 'checkpoints/12', under_way)
  before = sorted(path for path in (tmp_path / 'checkpoints').rglob('*'))
  assert train.evaluate(tiny(SETS), tmp_path)
  assert sorted(path for path in (tmp_path / 'checkpoints').rglob('*')) == before


# two runs in one directory

def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
  workdir, first = tmp_path / 'run', spawn(run(tmp_path, 'steps=5000'))
  try:
    deadline = time.time() + 120
    while not rundir.running(workdir) and time.time() < deadline:
      time.sleep(0.05)
    second = spawn(run(tmp_path, 'steps=5000'))
    assert second.wait(120) == 1
    assert f'in use by process {first.pid} on ' in second.stdout.read()
  finally:
    first.kill()
    first.wait()
  assert not rundir.running(workdir)
  with rundir.locked(workdir):
    assert rundir.running(workdir)


def test_a_second_program_in_the_same_directory_is_refused(tmp_path):
  with rundir.locked(tmp_path), pytest.raises(ConfigError, match='is in use by process '):
    program(curriculum(stepping=50.), tmp_path, quiet=True)
  assert {path.name for path in tmp_path.iterdir()} == {'lock'}


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


def test_a_checkpoint_behind_which_the_run_goes_wrong_at_once_is_not_used_twice(tmp_path, monkeypatch, capsys):
  poisoned(monkeypatch, 5)
  tree = tiny('nonfinite.rollbacks=2', 'steps=8', 'checkpoint.every_steps=2')
  assert train.train(tree, tmp_path, quiet=True) == FAILED
  assert [row['step'] for row in read_rows(tmp_path / 'events.jsonl') if row['event'] == 'start'] == [0, 4, 2]
  assert (tmp_path / 'checkpoints/unused-4').is_dir() and (tmp_path / 'checkpoints/4').is_dir()
  assert 'that of step 4 is kept as unused-4, and not used' in capsys.readouterr().out


def test_parameters_that_are_not_finite_are_not_saved_as_a_result(tmp_path, capsys):
  """The loss of the last step is finite, and its update is not."""
  tree = tiny('steps=1', 'schedule.warmup_steps=0', 'schedule.peak=1e39')
  assert train.train(tree, tmp_path, quiet=True) == FAILED
  said = capsys.readouterr().out
  assert 'arrays of parameters are not finite, such as backbone/' in said and 'behind step 1' in said
  assert not (tmp_path / 'result.json').exists() and not (tmp_path / 'checkpoints/1').exists()


def test_a_run_that_may_skip_keeps_no_parameters_that_are_not_finite(tmp_path):
  tree = tiny('nonfinite.skip=50', 'schedule.warmup_steps=0', 'schedule.peak=1e39', 'checkpoint.every_steps=2')
  assert train.train(tree, tmp_path, quiet=True) == FAILED
  assert not any(path.name.isdecimal() for path in (tmp_path / 'checkpoints').iterdir())


@pytest.mark.parametrize('wrong', ['skip=-1', 'factor=0.', 'factor=2.', 'policy="stop"'])
def test_a_policy_that_makes_no_sense_is_refused(wrong):
  with pytest.raises(ConfigError, match='config.nonfinite'):
    call(train.prepare, tiny(f'nonfinite.{wrong}'), 'config')


# signals while evaluating

def heard():
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(5)


class Key:
  """Part of the key of a cache, during whose comparison a signal comes."""
  def __hash__(self):
    return 0

  def __eq__(self, other):
    heard()
    return NotImplemented


def in_a_comparison():  # JAX makes another error of what is raised there
  double = jax.jit(lambda x, _: 2 * x, static_argnums=1)
  double(1., Key()), double(1., Key())


@pytest.mark.parametrize(('where', 'comes'), [('table', in_a_comparison), ('report', heard)])
def test_a_signal_in_the_evaluation_at_the_end_costs_only_the_evaluation(tmp_path, monkeypatch, capsys, where, comes):
  whole, calls = getattr(train, where), []

  def interrupted(*args):
    calls.append(1)
    if len(calls) == 1:
      comes()
      raise AssertionError('the signal was not heard')
    return whole(*args)

  monkeypatch.setattr(train, where, interrupted)
  tree = tiny(SETS)
  assert train.train(tree, tmp_path, quiet=True) == STOPPED
  assert 'stopped by SIGTERM while evaluating' in capsys.readouterr().out and not (tmp_path / 'result.json').exists()
  assert train.train(tree, tmp_path, quiet=True) == DONE
  assert len(losses(tmp_path)) == 12 and len(json.loads((tmp_path / 'result.json').read_text())['evaluation']) == 3
