"""The processes of a run: how they meet, what they must agree on, how they stop, and what becomes of lost ones."""
import contextlib
import ctypes
import errno
import hashlib
import itertools
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from pretrain import config as configs
from pretrain.config import ConfigError, Positive

LOST = 76  # exit code: a machine failed; the same command goes on
TWICE = 1.  # seconds within which a second signal is an echo of the first


def _seconds(name: str, default: float) -> float:
  """A time limit that a variable of the environment may set."""
  try:
    value = float(os.environ.get(name, default))
  except ValueError:
    value = 0.
  if not configs.fits(value, Positive):
    raise ConfigError(f'{name}: wanted seconds, {configs.wanted(Positive)}, got {os.environ[name]!r}')
  return value


WAIT = _seconds('PRETRAIN_WAIT_SECONDS', 1800.)  # how long processes wait for each other
SHARED = _seconds('PRETRAIN_SHARED_SECONDS', 120.)  # until the others must see what one host has written
LINGER = 5.  # seconds that process 0, which carries the messages, stays for the others to read the last one
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO)
# what JAX says of others that are gone, and of devices that fail
PEERS = re.compile(r'gloo|nccl|connection (closed|reset|refused|broken)|socket closed|broken pipe|heartbeat|'
                   r'unavailable|deadline.exceeded|coordination.?service|aborted', re.I)
DEVICE = re.compile(r'uncorrectable|\bECC\b|\bXid\b|hardware.stack.error|device (is )?lost|\bICI\b|nvlink|halted|'
                    r'unhealthy|preempted|no space left|disk quota|input/output error|stale file handle', re.I)

gathered = 0.  # when `on_host` last had an array of all, by time.monotonic: no process hangs then
_turns = itertools.count()  # of `exchange`, which all processes call in one order
_jax_sigterm = ctypes.create_string_buffer(512)  # a struct sigaction: how JAX answers SIGTERM


class Lost(OSError):
  """A machine failed, its disk, or the way to the others; the run goes on from its newest checkpoint."""


class Left(RuntimeError):
  """Another process of the run has ended; `code` is its exit code, which is everybody's."""

  def __init__(self, process: int, code: int, text: str):
    super().__init__(f'{named(process)} ended with {code}: {text}')
    self.code = code


def start() -> None:
  """Joins the other processes of the run; call it before anything asks for a device.

  SLURM, TPU pods, Kubernetes and Open MPI are recognised by JAX. Elsewhere three variables say it:
  JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

  Raises:
    ConfigError: nothing says who the others are, or the numbers do not fit.
    Lost: they do not come.
  """
  names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
  given = {name: os.environ[name] for name in names if name in os.environ}
  limit, libc = int(min(WAIT, 300)), ctypes.CDLL(None)
  libc.signal(signal.SIGABRT, _aborted)
  try:
    if len(given) == len(names):
      jax.distributed.initialize(given[names[0]], int(given[names[1]]), int(given[names[2]]),
                                 initialization_timeout=limit)
    elif given:
      raise ValueError(f'of {", ".join(names)} only {", ".join(given)} is set')
    else:
      jax.distributed.initialize(initialization_timeout=limit)
  except ValueError as error:
    raise ConfigError(f'--distributed: {error}; wanted a cluster that JAX recognises (SLURM, a TPU pod, Kubernetes, '
                      f'Open MPI), or {", ".join(names)}') from error
  except RuntimeError as error:
    raise Lost(f'--distributed: the processes did not meet within {limit} s: {first_line(error)}') from error
  for each in (signal.SIGINT, signal.SIGUSR1):  # one process does not leave alone
    signal.signal(each, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
  libc.sigaction(signal.SIGTERM, None, _jax_sigterm)  # JAX's own answer, for `notices`
  signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # Python's again
  client().key_value_set(f'pretrain/host/{me()}', socket.gethostname())


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _aborted(_: int) -> None:
  """JAX's service ends a process from C++ when it does not meet the others, or hears that one of them is lost."""
  print('error: another process is lost, or never came; the same command goes on from the newest checkpoint',
        file=sys.stderr, flush=True)
  os._exit(LOST)


def client() -> Any:
  """The store of keys of JAX's service, None in a single process; it needs no device."""
  return distributed.global_state.client


def me() -> int:
  return distributed.global_state.process_id or 0


def count() -> int:
  return distributed.global_state.num_processes or 1


def named(process: int) -> str:
  """'process 3 on host-b'."""
  with contextlib.suppress(Exception):  # the service may be gone, or the process never have come
    return f'process {process} on {client().key_value_try_get(f"pretrain/host/{process}")}'
  return f'process {process}'


def agree(**facts: Any) -> None:
  """Raises ConfigError on every process unless these JSON values are the same on all; names what differs.

  Raises:
    Lost: some process did not get here within `WAIT` seconds; names it.
    Left: one ended.
  """
  mine = json.dumps(facts, sort_keys=True)
  if len(set(exchange(list(facts), hashlib.sha256(mine.encode()).hexdigest()))) > 1:
    every = [json.loads(text) for text in exchange(list(facts), mine)]
    for process, theirs in enumerate(every):
      if differing := configs.differences(every[0], theirs):
        raise ConfigError(f'process {process} does not agree with process 0: {"; ".join(differing)}')


def exchange(what: list[str], value: str) -> list[str]:
  """The value of every process, in their order.

  Args:
    what: words for the error.
  """
  if count() == 1:
    return [value]
  place, deadline, pause = f'pretrain/exchange/{next(_turns)}/', time.monotonic() + WAIT, .005
  client().key_value_set(f'{place}{me()}', value)
  while len(found := dict(client().key_value_dir_get(place))) < count():
    refuse_left()
    if time.monotonic() > deadline:
      lacking = [each for each in range(count()) if f'{place}{each}' not in found]
      raise Lost(f'waited {WAIT:.0f} s for {", ".join(map(named, lacking[:8]))}'
                 f'{f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""} to say: {", ".join(what)}')
    time.sleep(pause := min(2 * pause, .5))
  return [found[f'{place}{each}'] for each in range(count())]


def check_shared(path: Path) -> None:
  """Raises ConfigError on every process unless all see what process 0 has written: a file whose text is another at
  each start."""
  if count() == 1:
    return
  token, deadline = exchange(['the directory'], path.read_text() if me() == 0 else '')[0], time.monotonic() + SHARED
  seen = lambda: path.is_file() and path.read_text() == token
  while not seen() and time.monotonic() < deadline:
    refuse_left()
    time.sleep(.2)
  blind = [each for each, sees in enumerate(exchange(['the directory'], str(seen()))) if sees != 'True']
  if blind:
    raise ConfigError(f'{", ".join(map(named, blind[:8]))} did not see within {SHARED:.0f} s what process 0 wrote '
                      f'into {path.parent}; wanted a directory that all hosts share, such as NFS, Lustre or a mounted '
                      'bucket')


def refuse_left() -> None:
  """Raises `Left` if another process has said that it ends."""
  for key, text in client().key_value_dir_get('pretrain/left/') if client() else ():
    if (process := int(key.rpartition('/')[2])) != me():
      raise Left(process, *json.loads(text))


def verdict(error: BaseException) -> tuple[int, str]:
  """(exit code of a command that an error ends, words): what ended another process is why this one lost it."""
  if lost(error):
    try:
      refuse_left()
    except Left as other:
      error = other
    except Exception:  # nobody tells: process 0 itself is lost
      pass
  code = error.code if isinstance(error, Left) else LOST if lost(error) else 1
  return code, str(error) + '; the same command goes on from the newest checkpoint' * (code == LOST)


def leave(code: int, text: str) -> None:
  """Ends this process of several at once, after it has said so to the others, who end with the same code."""
  with contextlib.suppress(Exception):  # without the service there is nobody to tell
    client().key_value_set(f'pretrain/left/{me()}', json.dumps([code, text]), allow_overwrite=True)
    deadline = time.monotonic() + LINGER
    while me() == 0 and time.monotonic() < deadline and len(client().key_value_dir_get('pretrain/left/')) < count():
      time.sleep(.05)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def lost(error: BaseException) -> bool:
  """Whether an error is a failure of a machine, its disk or the way to the others, and no mistake."""
  if isinstance(error, Lost) or (isinstance(error, OSError) and error.errno in DISK):
    return True
  if isinstance(error, jax.errors.JaxRuntimeError) or re.match('[A-Z_]+: ', str(error)):  # a status of XLA
    return bool(DEVICE.search(str(error)) or (count() > 1 and PEERS.search(str(error))))
  return error.__cause__ is not None and lost(error.__cause__)


def check_devices() -> None:
  """Raises ConfigError where JAX finds none of the devices that JAX_PLATFORMS asks for."""
  try:
    jax.devices()
  except (AssertionError, RuntimeError) as error:  # JAX asserts that some platform has come up
    if lost(error):
      raise
    why = f' ({first_line(error)})' if str(error) else ''
    raise ConfigError(f'JAX_PLATFORMS={os.environ.get("JAX_PLATFORMS", "")}: JAX finds no such device on this machine'
                      f'{why}; wanted what is here, such as cpu, or no JAX_PLATFORMS') from error


def unused() -> list[str]:
  """Words about an accelerator of this machine that JAX does not use."""
  here = 'an NVIDIA GPU' if Path('/dev/nvidia0').exists() else 'a TPU' if any(
      Path('/dev').glob('accel[0-9]*')) and 'TPU_SKIP_MDS_QUERY' not in os.environ else ''
  if not here or jax.default_backend() != 'cpu':
    return []
  chosen = os.environ.get('JAX_PLATFORMS')
  return [f'this machine has {here}, and JAX computes on CPUs: ' +
          (f'JAX_PLATFORMS={chosen} asks for that' if chosen else
           f'pip install "jax[{"cuda13" if "GPU" in here else "tpu"}]"; python -c "import jax; jax.devices()" says '
           'what is wrong with it')]


def first_line(error: BaseException) -> str:
  return str(error).strip().split('\n')[0][:300]


def own_file(name: str) -> str:
  """The name of a file that every process writes its own of: process 0 'a.jsonl', process 1 'a-1.jsonl'."""
  stem, dot, suffix = name.rpartition('.')
  return name if jax.process_index() == 0 else f'{stem}-{jax.process_index()}{dot}{suffix}'


def on_host(x: jax.Array) -> np.ndarray:
  """The whole of a global array as NumPy, on every process."""
  global gathered
  found = np.asarray(x) if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True)
  gathered = time.monotonic()
  return found


def stopping(step: int) -> bool:
  """Whether all processes were asked to stop before this step; each must ask at every step.

  JAX's preemption service, started by `start`, carries a SIGTERM of any process to the others and finds a step that
  none has passed.
  """
  return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


@contextlib.contextmanager
def notices() -> Iterator[None]:
  """Within, SIGTERM is JAX's, which carries it to the others (`stopping`); outside it ends a process of several."""
  if count() == 1:
    yield
    return
  ctypes.CDLL(None).sigaction(signal.SIGTERM, _jax_sigterm, None)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


class Stopping(Exception):
  """A signal asked to stop at once."""


class Stop:
  """`signal` is the name of the signal that asked to stop, None while none did."""
  signal: str | None = None
  since = 0.
  at_once = False

  def raises(self) -> bool:
    """From here on a signal, also one that has come already, raises `Stopping`; True if none has come."""
    if self.signal:
      raise Stopping(self.signal)
    self.at_once = True
    return True


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
  """Turns the first SIGTERM, SIGINT or SIGUSR1 into a wish; a later second one acts as if nothing were installed.

  One that comes within a second is the same wish: schedulers send a signal to a process and to its group.

  With several processes SIGTERM is the preemption service's (`stopping`), and the others are turned into it.
  """
  stop = Stop()
  asking = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]

  def ask(number, frame):
    del frame
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
      return
    if stop.signal:
      if time.monotonic() - stop.since > TWICE:
        for each, handler in before.items():
          signal.signal(each, handler)
        os.kill(os.getpid(), number)
      return
    stop.signal, stop.since = signal.Signals(number).name, time.monotonic()
    if stop.at_once:
      raise Stopping(stop.signal)

  before = {each: signal.signal(each, ask) for each in asking[jax.process_count() > 1:]}
  try:
    yield stop
  finally:
    for each, handler in before.items():
      signal.signal(each, handler)


IMPORTED = True  # the last line: a signal may find a module of which the first half has run
