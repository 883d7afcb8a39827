"""A run whose surroundings misbehave: one of two processes killed, clocks that jump, slow and full disks, flipped bits.

What cannot be done to a process from outside, `faults.c` does inside of it, between it and the C library.
"""
import contextlib
import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import labels as stores
from data.__main__ import main as data_main
from data.bad import BadRecords
from data.loader import in_order
from data.sources.array_record import array_record
from data.sources.folder import folder
from launch.job import Job
from launch.local import Local
from pretrain import config, train
from pretrain.files import read_rows
from pretrain.interop import initialize
from pretrain.machine import processes
from pretrain.machine.metrics import goodput
from pretrain.programs.label import write_labels
from pretrain.train import DONE
from tests.chaos.test_kills import SUPERVISED, run, spawn
from tests.test_train import TINY, assert_same, final, losses, tiny

pytestmark = pytest.mark.suite('system')

LONG = ['steps=30', 'checkpoint.every_steps=4']


def assert_same_run(one: Path, other: Path, *overrides: str) -> None:
  assert losses(one) == losses(other) and losses(one)
  assert_same(final(one, tiny(*overrides))[0], final(other, tiny(*overrides))[0])


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  path = tmp_path_factory.mktemp('whole')
  spawn(run(path, *LONG), done=True)
  return path / 'run'


# one of two processes

def killed_when(path: Path, process: int, step: int) -> threading.Thread:
  """Kills that process of the run in `path` once so many rows are there."""
  def watch():
    deadline = time.monotonic() + 300
    while len(read_rows(path / 'metrics.jsonl')) < step and time.monotonic() < deadline:
      time.sleep(0.01)
    for each in Path('/proc').glob('[0-9]*'):
      with contextlib.suppress(OSError):
        mine = str(path).encode() in (each / 'cmdline').read_bytes()
        if mine and f'JAX_PROCESS_ID={process}'.encode() in (each / 'environ').read_bytes().split(b'\0'):
          os.kill(int(each.name), signal.SIGKILL)

  thread = threading.Thread(target=watch)
  thread.start()
  return thread


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/environ').exists(), reason='processes are found in /proc')
def test_one_of_two_processes_killed_goes_on_by_the_launcher(tmp_path):
  def launched(name, *victims):
    path, says = tmp_path / name, []
    command = (sys.executable, '-m', 'pretrain', 'train', f'--config={TINY}', f'--workdir={path}', '--distributed',
               '--quiet', *(f'--config.{text}' for text in LONG))
    job = Job(name, (command,), tmp_path / 'logs', processes=2,
              env={'XLA_FLAGS': '--xla_backend_optimization_level=0'})
    for count, victim in enumerate(victims):
      thread = killed_when(path, victim, 10 * (count + 1))
      codes = Local(says.append).run(job._replace(restarts=0))
      thread.join()
      assert codes == [-signal.SIGKILL], says  # which the launcher runs again, and an error of the other it would not
    assert Local(says.append).run(job) == [DONE], says
    return path

  whole, disturbed = launched('whole'), launched('disturbed', 1, 0)
  assert [row['processes'] for row in read_rows(disturbed / 'events.jsonl') if row['event'] == 'start'] == [2, 2, 2]
  assert_same_run(disturbed, whole, *LONG)


# clocks and disks

@pytest.fixture(scope='module')
def faults(tmp_path_factory) -> str:
  if not (compiler := shutil.which('cc')) or sys.platform != 'linux':
    pytest.skip('needs a C compiler and Linux')
  path = tmp_path_factory.mktemp('faults') / 'faults.so'
  subprocess.run([compiler, '-O1', '-shared', '-fPIC', '-o', path, Path(__file__).with_name('faults.c'), '-ldl'],
                 check=True)
  return str(path)


@pytest.mark.slow
@pytest.mark.parametrize('fault', [dict(FAULT_CLOCK='86400'), dict(FAULT_CLOCK='-86400'), dict(FAULT_SLOW='50')])
def test_jumping_clocks_and_a_slow_file_system_change_no_bit(fault, tmp_path, faults, whole):
  """Also over a kill, in the middle of a save if the seconds fit."""
  fault |= {'LD_PRELOAD': faults}
  first = spawn(run(tmp_path, *LONG), **fault)
  deadline = time.monotonic() + 300
  while len(losses(tmp_path / 'run')) < 14 and first.poll() is None and time.monotonic() < deadline:
    time.sleep(0.01)
  first.kill()
  first.communicate()
  spawn(run(tmp_path, *LONG), done=True, **fault)
  assert_same_run(tmp_path / 'run', whole, *LONG)
  rows = read_rows(tmp_path / 'run/events.jsonl')
  assert 0 <= goodput(rows) <= 1 and [row['event'] for row in rows].count('start') == 2
  days = np.ptp([row['time'] for row in rows]) / 86400
  assert days > 0.9 if 'FAULT_CLOCK' in fault else days < 0.1


@pytest.mark.slow
@pytest.mark.skipif(os.name != 'posix' or os.geteuid() != 0, reason='only root may mount a small file system')
def test_a_full_disk_says_so_and_with_room_the_run_goes_on(tmp_path, tmp_path_factory):
  overrides = [*LONG, 'backbone.width=128', 'checkpoint.keep=9']
  other = tmp_path_factory.mktemp('other')
  spawn(run(other, *overrides), done=True)
  mount = lambda size, *more: subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', ','.join([f'size={size}', *more]), 'tmpfs', tmp_path], capture_output=True)
  if mount('4m').returncode:
    pytest.skip('mounting is not allowed here')
  try:
    first = spawn(run(tmp_path, *overrides))
    said, _ = first.communicate(timeout=300)
    error, = (line for line in said.splitlines() if line.startswith('error: '))
    assert first.returncode == processes.LOST and 'no space left' in error.lower() and 'Traceback' not in said, said
    saved = [row['step'] for row in read_rows(tmp_path / 'run/events.jsonl') if row['event'] == 'save']
    state, _ = final(tmp_path / 'run', tiny(*overrides))
    assert saved and int(state.step) == saved[-1]
    mount('100m', 'remount')
    spawn(run(tmp_path, *overrides), done=True)
    assert_same_run(tmp_path / 'run', other / 'run', *overrides)
  finally:
    subprocess.run(['umount', tmp_path], check=True)


# images

@pytest.fixture
def photos(tmp_path):
  rng = np.random.default_rng(0)
  for y, k in np.ndindex(2, 8):
    path = tmp_path / 'photos' / 'train' / 'ab'[y] / f'{k}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)).save(path)
  return tmp_path / 'photos'


def flipped(whole: bytes, bit: int) -> bytes:
  data = bytearray(whole)
  data[bit // 8] ^= 1 << bit % 8
  return bytes(data)


def read(source, listed: Path) -> tuple[dict, list[dict]]:
  """{index: image} of those that decode, and the rows about the others."""
  watched = dataclasses.replace(source, bad=BadRecords(str(listed)))
  found = {int(index): image for batch, good in in_order(watched, batch=5)
           for index, image in zip(batch['index'][good], batch['image'][good], strict=True)}
  return found, read_rows(listed)


def test_a_flipped_bit_in_an_array_record_costs_its_image_and_no_other(photos, tmp_path):
  """Its checksums find every flip; one in the list of records costs the set."""
  out = tmp_path / 'set'
  assert data_main(['prepare', f'--folder={photos}', f'--out={out}', '--shards=1']) == 0
  shard, = out.glob('*.array_record')
  whole, rng = shard.read_bytes(), np.random.default_rng(0)
  wanted, _ = read(array_record(path=str(out), split='train'), tmp_path / 'none')
  assert len(wanted) == 16
  used = np.flatnonzero(np.frombuffer(whole, np.uint8))  # the rest is padding
  quarantined = 0
  for trial, at in enumerate(rng.choice(used, 40)):
    shard.write_bytes(flipped(whole, 8 * int(at) + int(rng.integers(8))))
    listed = tmp_path / f'bad{trial}.jsonl'
    try:
      found, bad = read(array_record(path=str(out), split='train'), listed)
    except ValueError as error:
      assert f'{out}: a shard cannot be opened' in str(error)
      continue
    assert len(bad) <= 1 and all(row['file'] == f'{out}#{row["index"]}' for row in bad)
    assert found.keys() == wanted.keys() - {row['index'] for row in bad}
    assert all(np.array_equal(image, wanted[index]) for index, image in found.items())
    quarantined += len(bad)
  assert quarantined > 10


def test_a_flipped_bit_in_a_jpeg_is_quarantined_if_the_decoder_sees_it(photos, tmp_path):
  """JPEG has no checksum: a flip among its coefficients is another picture. Prepared sets have one."""
  victim, rng = photos / 'train/a/3.jpg', np.random.default_rng(0)
  whole, quarantined = victim.read_bytes(), 0
  for trial in range(40):
    victim.write_bytes(flipped(whole, int(rng.integers(8 * 200))))  # most of it header
    found, bad = read(folder(path=str(photos), split='train', size=16), tmp_path / f'bad{trial}.jsonl')
    assert [row['file'] for row in bad] in ([], [str(victim)]) and len(found) + len(bad) == 16
    quarantined += len(bad)
  assert quarantined > 3


# pickles

def test_reading_weights_and_labels_unpickles_nothing(tmp_path):
  """Nothing that a stranger wrote into a checkpoint can name what is called: the interpreter itself reports."""
  named, listening = [], True
  sys.addaudithook(lambda event, args: named.append(args) if listening and event == 'pickle.find_class' else None)
  tree = tiny(*SUPERVISED, 'steps=1', 'schedule.warmup_steps=0')
  assert train.train(tree, tmp_path / 'run', quiet=True) == DONE
  named.clear()
  run = config.call(train.prepare, tree, 'config')
  start = initialize.Initialize(str(tmp_path / 'run'), parts=('backbone', 'head'))
  assert_same(initialize.start(start, run.training).params, final(tmp_path / 'run', tree)[0].params)
  assert write_labels(tmp_path / 'run', tmp_path / 'store', quiet=True) == DONE
  assert len(stores.read(tmp_path / 'store').label) == 1437
  assert not named
  pickle.loads(pickle.dumps(tmp_path))
  assert named
  listening = False
