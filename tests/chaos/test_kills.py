"""Kills at random moments of runs, labelling passes and programs: the same command goes on, and no bit differs.

The short version kills a run once. The long one (`slow`) aims at each moment in turn, as random as the seed has it:
start-up, compiling, steps, saves, evaluations, labelling, the hand-over from one stage of a program to the next.
"""
import collections
import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from data import labels as stores
from pretrain.files import read_rows
from pretrain.train import DONE, STOPPED
from tests.test_train import FIXMATCH, ROOT, TINY, assert_same, final, losses, tiny

pytestmark = pytest.mark.suite('system')

SETS = "evaluate=dict(train=dict(name='digits', split='train'), test=dict(name='digits', split='test'), every_steps=10)"
OBJECTIVES = {  # name -> overrides of tests/tiny.py
    'simclr': [SETS],
    'fixmatch': FIXMATCH,
    'mae': ["views=dict(name='mae', size=8, scale=(0.4, 1.))", "backbone.patch=2",
            "objective=dict(name='mae', mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, "
            "standardize=True)"],
    'byol': ["views=dict(name='byol', size=8, scale=(0.4, 1.))",
             "objective=dict(name='byol', hidden=32, dim=16, predictor_hidden=32, momentum=0.9)"],
}
LONG = ['steps=60', 'checkpoint.every_steps=7', 'log_every_steps=5']
SUPERVISED = ["views=dict(name='supervised', size=8, pad=1, flip=0.)", "objective=dict(name='supervised', classes=10)",
              "labels=dict(per_class=8, seed=0)"]
PROGRAM = """
from pretrain.config import load
def get_config():
  return dict(program=dict(name='curriculum_labeling', stepping=50., test=dict(name='digits', split='test')),
              train=load({tiny!r}, {overrides!r}))
"""
STRIKES = 10  # of each test


class Victim(NamedTuple):
  """What is killed.

  command: of a folder that it works in.
  moments: names of those to aim at -> (folder -> a number that grows when one is reached).
  equal:   raises unless two folders hold the same results.
  """
  command: Callable[[Path], list[str]]
  moments: dict[str, Callable[[Path], int]]
  equal: Callable[[Path, Path], None]


def run(folder: Path, *overrides: str) -> list[str]:
  return ['train', f'--config={TINY}', f'--workdir={folder / "run"}', '--quiet',
          *(f'--config.{text}' for text in overrides)]


def begun(folder: Path, *names: str) -> int:
  """Events of these names, of all runs."""
  return sum(row['event'] in names for path in folder.rglob('events.jsonl') for row in read_rows(path))


def rows(folder: Path) -> int:
  return sum(len(read_rows(path)) for path in folder.rglob('metrics.jsonl'))


TRAINING = {
    'start-up': lambda _: 0,
    'compiling': lambda folder: begun(folder, 'start'),
    'steps': rows,
    'saving': lambda folder: len(list(folder.glob('**/checkpoints/*tmp*'))),
}
EVALUATING = {
    'evaluating': lambda folder: sum(row['step'] % 10 == 0 for row in read_rows(folder / 'run/metrics.jsonl')),
    'last evaluation': lambda folder: begun(folder, 'stop'),
}
LABELING = {'start-up': lambda _: 0, 'labelling': lambda folder: len(list(folder.glob('store/parts/*.parquet')))}
HANDING_OVER = {
    'labelling': lambda folder: len(list(folder.glob('*/labels*'))),
    'to labels': lambda folder: len(list(folder.glob('*/cycle*/result.json'))),
    'to training': lambda folder: len(list(folder.glob('*/labels*/labels.json'))),
    'to the next run': lambda folder: len(list(folder.glob('*/cycle*/config.json'))),
}


def same_run(one: Path, other: Path, overrides: list[str]) -> None:
  assert losses(one) == losses(other) and losses(one)
  assert_same(final(one, tiny(*overrides))[0], final(other, tiny(*overrides))[0])
  results = [json.loads((path / 'result.json').read_text()) for path in (one, other)]
  assert results[0]['evaluation'] == results[1]['evaluation']


def same_files(one: Path, other: Path, pattern: str) -> None:
  """Byte for byte."""
  names = sorted(str(path.relative_to(one)) for path in one.glob(pattern))
  assert names and names == sorted(str(path.relative_to(other)) for path in other.glob(pattern))
  assert filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def same_labels(one: Path, other: Path) -> None:
  """But for the models' configs, which name the stores that they learned from."""
  found = [stores.read(path) for path in (one, other)]
  assert found[0].about.model.split('-')[1] == found[1].about.model.split('-')[1]
  assert_same(*({key: value for key, value in each._asdict().items() if key != 'about'} for each in found))


def trained(name: str) -> Victim:
  overrides = [*LONG, *OBJECTIVES[name]]
  return Victim(lambda folder: run(folder, *overrides), TRAINING | (EVALUATING if name == 'simclr' else {}),
                lambda one, other: same_run(one / 'run', other / 'run', overrides))


def labeled(folder: Path) -> Victim:
  """Labels by a model in `folder`, in 48 parts."""
  spawn(run(folder, *SUPERVISED), done=True)
  return Victim(lambda out: ['label', f'--workdir={folder / "run"}', f'--out={out / "store"}',
                             '--config.examples_per_part=30'], LABELING,
                lambda one, other: same_files(one / 'store', other / 'store', '**/*.*'))


def staged(folder: Path) -> Victim:
  """Three trainings and the labels between them."""
  overrides = [*SUPERVISED, 'steps=30', 'checkpoint.every_steps=7', 'log_every_steps=5']
  (folder / 'c.py').write_text(PROGRAM.format(tiny=TINY, overrides=overrides))

  def equal(one, other):
    results = [json.loads((path / 'run/result.json').read_text())['stages'] for path in (one, other)]
    assert results[0] == results[1] and len(results[0]) == 3
    for name in ('labels1', 'labels2'):
      same_labels(one / 'run' / name, other / 'run' / name)
    for stage in (row['stage'] for row in results[0]):
      assert losses(one / 'run' / stage) == losses(other / 'run' / stage)
      config = json.loads((one / 'run' / stage / 'config.json').read_text())
      for path in (one, other):  # each names its own label stores
        config['source'] = json.loads((path / 'run' / stage / 'config.json').read_text())['source']
      assert_same(*(final(path / 'run' / stage, config)[0] for path in (one, other)))

  return Victim(lambda out: ['program', f'--config={folder / "c.py"}', f'--workdir={out / "run"}', '--quiet'],
                TRAINING | HANDING_OVER, equal)


VICTIMS = [*OBJECTIVES, 'labelling', 'program']


def spawn(command: list[str], done: bool = False, **env: str) -> subprocess.Popen:
  """On one device, with a compilation cache: most of the time is then not the compiler's."""
  one = subprocess.Popen([sys.executable, '-m', 'pretrain', *command], cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True,
                         env=os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'} | env)
  if done:
    said, _ = one.communicate(timeout=600)
    assert one.returncode == DONE, said
  return one


class Kills:
  """Strikes at random moments of one kind of command, at each of its moments in turn.

  struck:  kills by the moment aimed at.
  resumed: seconds from a kill to the next run's first new step.
  """

  def __init__(self, victim: Victim, seed: int, number: int):
    self.victim, self.rng, self.number = victim, np.random.default_rng(seed), number
    self.struck, self.resumed, self.aims = collections.Counter(), [], []

  def until_done(self, folder: Path, most: int) -> None:
    """Runs the command again and again, struck at most so many times."""
    killed = None
    while True:
      strikes = self.struck.total() < most
      known, one = begun(folder, 'first_step'), spawn(self.victim.command(folder))
      stopped = self.strike(one, folder) if strikes else None
      said, _ = one.communicate(timeout=900)
      if killed and begun(folder, 'first_step') > known:
        self.resumed.append(last_first_step(folder, known) - killed)
      killed = stopped or killed if begun(folder, 'first_step') == known else stopped
      if one.returncode == DONE:
        return
      assert stopped and one.returncode in (STOPPED, -self.number), said

  def strike(self, one: subprocess.Popen, folder: Path) -> float | None:
    """Kills at the next moment, or within half a second of it; the time at which it did."""
    if not self.aims:
      self.aims = self.rng.permutation(list(self.victim.moments)).tolist()
    aim = self.aims.pop()
    reached, deadline = self.victim.moments[aim], time.monotonic() + 600
    before = reached(folder)
    while aim != 'start-up' and reached(folder) <= before and one.poll() is None and time.monotonic() < deadline:
      time.sleep(0.005)
    time.sleep(self.rng.uniform(*(0.2, 4.) if aim == 'start-up' else (0., 0.5)))
    if one.poll() is not None:
      return None
    one.send_signal(self.number)
    self.struck[aim] += 1
    return time.time()


def last_first_step(folder: Path, known: int) -> float:
  """When the first step after so many earlier first ones was through."""
  return sorted(row['time'] for path in folder.rglob('events.jsonl') for row in read_rows(path)
                if row['event'] == 'first_step')[known]


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Of each victim: itself, and the folder of a command that nobody disturbed."""
  known = {}

  def get(name):
    if name not in known:
      folder = tmp_path_factory.mktemp('undisturbed')
      victim = {'labelling': labeled, 'program': staged}.get(name, lambda _: trained(name))(folder)
      out = tmp_path_factory.mktemp('whole')
      spawn(victim.command(out), done=True)
      known[name] = victim, out
    return known[name]

  return get


def test_a_kill(tmp_path, undisturbed):
  victim, whole = undisturbed('mae')
  Kills(victim._replace(moments={'steps': rows}), 0, signal.SIGKILL).until_done(tmp_path, 1)
  victim.equal(tmp_path, whole)


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='what a process catches is read from /proc')
def test_a_signal_before_anything_is_at_stake_is_75_at_once(tmp_path):
  one, deadline = spawn(run(tmp_path)), time.monotonic() + 60
  caught = lambda: int(Path(f'/proc/{one.pid}/status').read_text().split('SigCgt:')[1].split()[0], 16)
  while not caught() >> signal.SIGTERM - 1 & 1 and time.monotonic() < deadline:
    time.sleep(0.01)  # Python is not there yet
  one.send_signal(signal.SIGTERM)
  said, _ = one.communicate(timeout=60)
  assert one.returncode == STOPPED and 'stopped by SIGTERM' in said, said


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'seed'), [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGTERM, 2)],
                         ids=['SIGKILL-0', 'SIGKILL-1', 'SIGTERM-2'])
@pytest.mark.parametrize('name', VICTIMS)
def test_kills_at_random_moments_change_no_bit(tmp_path, name, number, seed, undisturbed, record_property):
  victim, whole = undisturbed(name)
  kills = Kills(victim, seed, number)
  while kills.struck.total() < STRIKES:
    folder = tmp_path / f'{kills.struck.total()}'
    folder.mkdir()
    kills.until_done(folder, STRIKES)
    victim.equal(folder, whole)
  record_property('kills', dict(kills.struck))
  record_property('resumed', kills.resumed)
  print(f'{name}, {signal.Signals(number).name}, seed {seed}: {dict(kills.struck)}; seconds to the first new step: '
        f'{[round(each, 1) for each in kills.resumed]}')
