"""What a run directory knows about who runs in it, and with which code."""
import contextlib
import fcntl
import json
import os
import platform
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from pretrain.config import ConfigError
from pretrain.metrics import event, write_json

PATIENCE = 3.  # seconds; `running` holds the lock for a moment, and a process that was just killed may still


@contextlib.contextmanager
def alone(workdir: str | os.PathLike) -> Iterator[None]:
  """Holds the directory's lock, which the system drops when the process ends in whatever way.

  Raises:
    ConfigError: another process holds it; names it.
  """
  with (Path(workdir) / 'lock').open('a+') as file:
    deadline = time.monotonic() + PATIENCE
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if time.monotonic() > deadline:
          file.seek(0)
          raise ConfigError(f'{workdir} is in use by {file.read().strip() or "another process"}; wanted one run in a '
                            'directory: stop it, or choose another --workdir') from None
        time.sleep(0.1)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    file.flush()
    yield


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
  """An error that ends the run becomes an event of it, so that whoever looks at the directory knows."""
  try:
    yield
  except Exception as error:
    with contextlib.suppress(OSError):  # a full disk, which would hide the error behind one about the events
      note('error', reason=f'{type(error).__name__}: {error}'[:500])
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


def rollbacks(workdir: str | os.PathLike) -> int:
  """How often the run has gone back to a checkpoint with a smaller rate."""
  path = Path(workdir) / 'rollbacks.json'
  return json.loads(path.read_text())['rollbacks'] if path.exists() else 0


def roll_back(workdir: str | os.PathLike, count: int) -> None:
  """Says so for every start from now on."""
  write_json(Path(workdir) / 'rollbacks.json', {'rollbacks': count})
  event(workdir, 'rollback', rollbacks=count)
