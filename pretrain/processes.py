"""The processes of a run: how several meet, what they must agree on, and how they are asked to stop."""
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pretrain import config as configs
from pretrain.config import ConfigError

TWICE = 1.  # seconds within which a second signal is an echo of the first


def start() -> None:
  """Joins the other processes of the run; call it before anything asks for a device.

  SLURM, TPU pods, Kubernetes and Open MPI are recognised by JAX. Elsewhere three variables say it:
  JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

  Raises:
    ConfigError: nothing says who the others are, or the numbers do not fit.
  """
  names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
  given = {name: os.environ[name] for name in names if name in os.environ}
  try:
    if len(given) == len(names):
      jax.distributed.initialize(given[names[0]], int(given[names[1]]), int(given[names[2]]))
    elif given:
      raise ValueError(f'of {", ".join(names)} only {", ".join(given)} is set')
    else:
      jax.distributed.initialize()
  except ValueError as error:
    raise ConfigError(f'--distributed: {error}; wanted a cluster that JAX recognises (SLURM, a TPU pod, Kubernetes, '
                      f'Open MPI), or {", ".join(names)}') from error
  for each in (signal.SIGINT, signal.SIGUSR1):  # one process does not leave alone
    signal.signal(each, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def agree(**facts: Any) -> None:
  """Raises ConfigError on every process unless these JSON values are the same on all; names what differs."""
  if jax.process_count() == 1:
    return
  mine = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(mine)))
  texts = multihost_utils.process_allgather(np.pad(mine, (0, max(sizes) - len(mine))))
  every = [json.loads(text[:size].tobytes()) for text, size in zip(texts, sizes, strict=True)]
  for process, theirs in enumerate(every):
    if differing := configs.differences(every[0], theirs):
      raise ConfigError(f'process {process} does not agree with process 0: {"; ".join(differing)}')


def own_file(name: str) -> str:
  """The name of a file that every process writes its own of: process 0 'a.jsonl', process 1 'a-1.jsonl'."""
  stem, dot, suffix = name.rpartition('.')
  return name if jax.process_index() == 0 else f'{stem}-{jax.process_index()}{dot}{suffix}'


def on_host(x: jax.Array) -> np.ndarray:
  """The whole of a global array as NumPy, on every process."""
  return np.asarray(x) if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True)


def stopping(step: int) -> bool:
  """Whether all processes were asked to stop before this step; each must ask at every step.

  JAX's preemption service, started by `start`, carries a SIGTERM of any process to the others and finds a step that
  none has passed.
  """
  return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


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
