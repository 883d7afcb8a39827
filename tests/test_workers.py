"""Processes that read: nothing of a run is left once it is gone, whatever ended it, and /dev/shm is looked at first."""
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.loader import loader
from data.source import Arrays, Source, images
from data.workers import check_shared_memory

SHM = Path('/dev/shm')
SIZE = 100_000 + os.getpid() % 100_000  # bytes of a batch: a segment of this size is one of these tests
RUN = f"""
import time
import numpy as np
from data.loader import loader
from data.source import Arrays, Source, images

if __name__ == '__main__':
  for _ in loader(images(np.zeros((8, 1, {SIZE}), np.uint8)), batch=1, seed=0, workers=2):
    print('read', flush=True)
    time.sleep(0.01)
"""
pytestmark = pytest.mark.skipif(not SHM.exists(), reason='shared memory is no folder here')


class Broken(Arrays):
  """Raises where a later example is read."""

  def read(self, index):
    if 7 in index:
      raise OSError('the disk of example 7 is gone')
    return super().read(index)


@pytest.fixture
def start(tmp_path):
  """A function that starts runs with two workers at once: [(run, all its processes but itself)], ten batches read."""
  started = []

  def begin(count):
    (tmp_path / 'run.py').write_text(RUN)
    with open(tmp_path / 'errors', 'a') as errors:
      runs = [subprocess.Popen([sys.executable, tmp_path / 'run.py'], stdout=subprocess.PIPE, stderr=errors,
                               env=os.environ | {'PYTHONPATH': str(Path(__file__).parents[1])}, start_new_session=True)
              for _ in range(count)]
    started.extend((run, []) for run in runs)
    for run, processes in started:
      reads_on(run)
      processes.extend(children(run.pid))
    return started

  yield begin
  for run, processes in started:
    for each in (run.pid, *workers(processes)):  # not the resource tracker, which frees what is left
      if alive(each):
        os.kill(each, signal.SIGKILL)
    run.communicate()


def reads_on(run):
  for _ in range(10):
    assert run.stdout.readline() == b'read\n'


def status(pid):
  """(state, parent) of a process, None if there is none."""
  try:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[:2]
  except (FileNotFoundError, ProcessLookupError):
    return None


def alive(pid):
  return (status(pid) or 'Z')[0] != 'Z'


def children(pid):
  return [int(x.name) for x in Path('/proc').glob('[0-9]*') if (status(x.name) or [0, 0])[1] == str(pid)]


def workers(processes):
  return [x for x in processes if alive(x) and b'spawn_main' in Path(f'/proc/{x}/cmdline').read_bytes()]


def segments():
  return [x for x in SHM.glob('psm_*') if x.exists() and x.stat().st_size == SIZE]


def nothing_left(processes):
  """Whether within ten seconds none of the processes and no segment is left."""
  end = time.monotonic() + 10
  while (any(map(alive, processes)) or segments()) and time.monotonic() < end:
    time.sleep(0.1)
  return [x for x in processes if alive(x)] + segments() == []


def test_killed_run_leaves_nothing(start):
  runs = start(2)
  everything = [pid for run, processes in runs for pid in (run.pid, *processes)]
  assert len(workers(everything)) == 4 and segments()
  for (run, _), number in zip(runs, (signal.SIGKILL, signal.SIGTERM), strict=True):
    run.send_signal(number)
  assert nothing_left(everything)


def test_workers_leave_signals_to_the_run_and_a_killed_one_ends_it(start, tmp_path):
  [(run, processes)] = start(1)
  for each in workers(processes):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # as a scheduler and a terminal do
      os.kill(each, number)
  for _ in range(3):  # more than was read ahead
    reads_on(run)
  os.kill(workers(processes)[0], signal.SIGKILL)
  run.communicate(timeout=20)
  assert run.returncode == 1 and 'terminated unexpectedly with exit code -9' in (tmp_path / 'errors').read_text()
  assert nothing_left(processes)


def test_batches_are_those_without_workers_and_closing_leaves_nothing():
  source = images(np.random.default_rng(0).integers(256, size=(8, 1, SIZE), dtype=np.uint8), np.arange(8))
  before = children(os.getpid())
  with loader(source, batch=1, seed=0, workers=2) as ours, loader(source, batch=1, seed=0, threads=0) as wanted:
    for _ in range(10):
      batch, other = next(ours), next(wanted)
      assert batch.keys() == other.keys() and all(np.array_equal(batch[key], other[key]) for key in other)
    processes = workers(set(children(os.getpid())) - set(before))
    assert len(processes) == 2
  del batch
  assert nothing_left(processes)


def test_error_of_a_worker_is_raised_and_leaves_nothing():
  source = Source(Broken({'image': np.zeros((8, 1, SIZE, 1), np.uint8)}), 'broken')
  before = children(os.getpid())
  with loader(source, batch=1, seed=0, workers=1) as batches, pytest.raises(OSError, match='the disk of example 7'):
    for _ in range(9):
      next(batches)
  gc.collect()  # the last batch is a variable in the error's traceback
  assert nothing_left(workers(set(children(os.getpid())) - set(before)))


def test_small_shared_memory_is_refused_before_the_first_batch(monkeypatch):
  free = SimpleNamespace(f_blocks=2**14, f_bavail=2**14, f_frsize=2**12)  # 64 MiB
  monkeypatch.setattr(os, 'statvfs', lambda _: free)
  check_shared_memory(5_000_000, workers=2)
  with pytest.raises(ValueError, match=r'they need 72 MB and 67 MB are free.*--shm-size=69m.*config\.reading\.threads'):
    check_shared_memory(6_000_000, workers=2)
  with pytest.raises(ValueError, match='they need 100 MB'):
    check_shared_memory(5_000_000, workers=2, buffer=3)
  with pytest.raises(ValueError, match='--shm-size'):
    loader(images(np.zeros((2, 1024, 1024), np.uint8)), batch=8, seed=0, workers=2)
  free.f_blocks = free.f_bavail = 0  # a tmpfs without a limit
  check_shared_memory(10**12, workers=2)
