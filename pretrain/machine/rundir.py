"""What a run directory knows about who runs in it, and with which code."""
import contextlib
import errno
import fcntl
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from pretrain.config import ConfigError, Count, Natural
from pretrain.files import Broken, read_json, write_json
from pretrain.machine import processes
from pretrain.machine.checkpoint import FORMAT, Checkpoints, Damaged
from pretrain.machine.metrics import event, read_events

PATIENCE = 3.  # seconds; `running` holds the lock for a moment, and a process that was just killed may still


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
  """Holds the directory's lock, which the system drops when the process ends in whatever way.

  Raises:
    ConfigError: another process holds it; names it. Or the file system has no locks.
  """
  with (Path(workdir) / 'lock').open('a+') as file:
    deadline = time.monotonic() + PATIENCE
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except OSError as error:
        if not isinstance(error, BlockingIOError):
          raise ConfigError(
              f'the file system of {workdir} has no locks (flock: {error.strerror}), without which two runs could '
              'write into one directory; wanted one that has: a local disk, NFS, or Lustre mounted with -o flock'
          ) from error
        if time.monotonic() > deadline:
          file.seek(0)
          raise ConfigError(f'{workdir} is in use by {file.read().strip() or "another process"}; wanted one run in a '
                            'directory: stop it, or choose another --workdir') from None
        time.sleep(0.1)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()} since {time.time():.3f}\n')
    file.flush()
    yield


def check_renames(workdir: str | os.PathLike) -> None:
  """Raises ConfigError unless the file system renames a directory that holds a file, as every checkpoint is one."""
  before, after = (Path(workdir) / f'.{name}.{os.getpid()}' for name in ('before', 'after'))
  try:
    before.mkdir()
    (before / 'file').write_bytes(b'1')
    before.rename(after)
    if (after / 'file').read_bytes() != b'1':
      raise OSError(errno.EIO, 'the file is not in it afterwards')
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
      raise
    raise ConfigError(
        f'the file system of {workdir} cannot rename a directory ({error.strerror}), which makes a checkpoint whole at '
        'once; wanted one that can: a local disk, NFS, Lustre, or a bucket with a hierarchical namespace') from error
  finally:
    for each in (before, after):
      shutil.rmtree(each, ignore_errors=True)


def running(workdir: str | os.PathLike) -> bool:
  """Whether a process, on whatever machine the file system tells of, holds the directory's lock."""
  path = Path(workdir) / 'lock'
  if not path.exists():
    return False
  with path.open() as file:
    try:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
      return True
  return False


@contextlib.contextmanager
def noted(note: Callable) -> Iterator[None]:
  """An error that ends the run becomes an event of it, so that whoever looks at the directory knows.

  Of several processes one that has lost another ends here: to close a save that is under way needs all of them.
  """
  try:
    yield
  except Exception as error:
    with contextlib.suppress(OSError):  # a full disk, which would hide the error behind one about the events
      note('lost' if processes.lost(error) else 'error', reason=f'{type(error).__name__}: {error}'[:500])
    if processes.count() > 1 and processes.lost(error):
      code, text = processes.verdict(error)
      print(f'error: {text}', file=sys.stderr)
      processes.leave(code, text)
    raise


class Trace:
  """A trace of what host and devices do in some steps; a context manager, so that a run that ends early closes it.

  Args:
    directory: of the trace.
    steps: the first, and the one after the last; None: no trace.
  """

  def __init__(self, directory: Path, steps: tuple[int, int] | None):
    self._directory, self._steps, self._on = directory, steps, False

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._on:
      jax.profiler.stop_trace()

  def at(self, step: int, settle: Callable[[], None]) -> None:
    """Begins or ends the trace before this step, if it is time; `settle` waits for the steps in flight."""
    if self._steps and (self._steps[0] <= step < self._steps[1]) != self._on:
      settle()
      self._on = not self._on
      jax.profiler.start_trace(str(self._directory)) if self._on else jax.profiler.stop_trace()


def made() -> dict[str, str]:
  """Commit, versions and device that numbers are made with; the commit ends in '+' where files differ from it."""
  git = lambda *args: subprocess.run(['git', '-C', str(Path(__file__).parent), *args], capture_output=True, text=True)
  commit = ''
  with contextlib.suppress(OSError):
    commit = git('rev-parse', '--short=12', 'HEAD').stdout.strip()
    commit += '+' if commit and git('status', '--porcelain', '--untracked-files=no').stdout.strip() else ''
  return {'commit': commit or 'unknown', 'jax': jax.__version__, 'python': platform.python_version(),
          'device': f'{jax.device_count()} {jax.devices()[0].device_kind}'}


def begun(workdir: str | os.PathLike) -> tuple[dict | None, str]:
  """(the config that a directory was begun with, what was wrong with config.json).

  Where config.json is damaged or lost, it is that of the newest whole checkpoint; None where there is none.

  Raises:
    ConfigError: a later version of this code wrote the directory.
  """
  check_format(workdir)
  path = Path(workdir) / 'config.json'
  try:
    return read_json(path), ''
  except Broken as error:
    about = str(error) if path.exists() else f'{workdir} has lost its config.json'
  if saved := saved_config(workdir):
    return saved, f'{about}; that of the newest checkpoint stands for it'
  return None, about if path.exists() else ''


def saved_config(workdir: str | os.PathLike) -> dict | None:
  """The config in the newest whole checkpoint of a directory."""
  directory = Path(workdir) / 'checkpoints'
  steps = [int(path.name) for path in directory.glob('*') if path.name.isdecimal()]
  if steps:
    with contextlib.closing(Checkpoints(directory, reading=True)) as checkpoints:
      for step in sorted(steps, reverse=True):
        with contextlib.suppress(Damaged):
          return checkpoints.meta(step)['config']
  return None


def config_of(workdir: str | os.PathLike, flag: str = '') -> dict:
  """The config of a run that is only read.

  Args:
    flag: where the directory was given, such as '--workdir: '.
  Raises:
    ConfigError: it is not the directory of a run, or nothing tells its config any more.
  """
  config, about = begun(workdir)
  if config is None:
    raise ConfigError(flag + (f'{about}; nothing else tells the config of the run' if about else
                              f'{workdir} is not the directory of a run: it has no config.json'))
  return config


def finished(workdir: str | os.PathLike) -> tuple[dict | None, str]:
  """(result.json of a run that is over, else None; what was wrong with it)."""
  path = Path(workdir) / 'result.json'
  try:
    return (read_json(path, config=str), '') if path.exists() else (None, '')
  except Broken as error:
    return None, str(error)


def begin(workdir: str | os.PathLike, config: dict) -> None:
  """Writes config.json and format.json."""
  write_json(Path(workdir) / 'format.json', {'format': FORMAT})
  write_json(Path(workdir) / 'config.json', config)


def check_format(workdir: str | os.PathLike) -> None:
  """Raises ConfigError where a later version of this code wrote a directory. One without a number is older than it."""
  path = Path(workdir) / 'format.json'
  with contextlib.suppress(Broken):  # the checkpoints have the number, too
    found = read_json(path, format=Count)['format'] if path.exists() else FORMAT
    if found > FORMAT:
      raise ConfigError(f'{workdir} is of format {found}, and this version reads up to {FORMAT}: a later one wrote it; '
                        'use that')


def check_progress(workdir: str | os.PathLike) -> None:
  """Raises ConfigError where a scheduler begins a run again whose last two attempts have saved nothing.

  PRETRAIN_RESTARTS says how often it did; without it a person has begun it, who may.
  """
  attempts = [row['event'] for row in read_events(workdir) if row['event'] in ('start', 'save')]
  if os.environ.get('PRETRAIN_RESTARTS', '0') > '1' and attempts[-2:] == ['start', 'start']:
    raise ConfigError(f'{workdir}: given up, as two attempts one after the other have ended without a new checkpoint; '
                      'its events.jsonl and log say where. The same command by hand goes on from the newest one; a '
                      'smaller config.checkpoint.every_steps saves earlier')


def rollbacks(workdir: str | os.PathLike) -> int:
  """How often the run has gone back to a checkpoint with a smaller rate."""
  path = Path(workdir) / 'rollbacks.json'
  if not path.exists():
    return 0
  try:
    return read_json(path, rollbacks=Natural)['rollbacks']
  except Broken:  # the events say it, too
    return sum(row['event'] == 'rollback' for row in read_events(workdir))


def roll_back(workdir: str | os.PathLike, count: int) -> None:
  """Says so for every start from now on."""
  write_json(Path(workdir) / 'rollbacks.json', {'rollbacks': count})
  event(workdir, 'rollback', rollbacks=count)
