"""What a run is doing: a line where nothing else is said for long, what each host does, and an end to waiting for ever.

A thread, since the main one may be inside a collective that never ends.
"""
import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from typing import NamedTuple, Self

from pretrain.machine import processes

QUIET = 30.  # seconds without a line after which there is one
PUBLISH = 5.  # seconds between what processes tell each other


class Host(NamedTuple):
  """What a process says of itself.

  step, what:   which step it has done, and what it does since.
  read:         share of the time that it waited for batches, up to the last row.
  busy:         seconds a step in which it did not wait for its devices, up to the last row.
  asked:        how often it was asked for its stacks, by SIGQUIT.
  """
  step: int
  what: str
  read: float
  busy: float
  asked: int


class Pulse:
  """A context manager. Of several processes each prints its stacks when one is asked for its own by SIGQUIT, or when a
  step, or what stands beside the steps, takes longer than `processes.WAIT`: then it ends with `processes.LOST`.

  Args:
    shows: whether to print lines; False where a progress bar is.
    steps: of the run, for the lines; None: there are none.
  """

  def __init__(self, shows: bool, steps: int | None = None):
    self.steps, self.host = steps, Host(0, 'starting', 0., 0., 0)
    self._shows, self._since, self._said = shows, time.monotonic(), time.monotonic()
    self._ended, self._thread = threading.Event(), threading.Thread(target=self._watch, name='pulse', daemon=True)
    self._signals = contextlib.ExitStack()

  def __enter__(self) -> Self:
    if processes.count() > 1 and threading.current_thread() is threading.main_thread():
      self._signals.enter_context(self._asking())
    self._thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._ended.set()
    self._thread.join()
    self._signals.close()

  def now(self, what: str, step: int | None = None) -> None:
    """Says what begins; also that the same begins once more."""
    self._since = time.monotonic()
    self.host = self.host._replace(what=what, step=self.host.step if step is None else step)

  def say(self, text: str) -> None:
    """Prints a line."""
    self._said = time.monotonic()
    print(text, flush=True)

  def row(self, read: float, busy: float) -> dict:
    """Tells the others of this process's row.

    Returns:
      For the row of process 0 of several: hosts/read and hosts/busy, a number each, of the rows that they last told of,
      and hosts/slowest, the name of the busiest.
    """
    self.host = self.host._replace(read=read, busy=busy)
    if processes.count() == 1 or processes.me():
      return {}
    hosts = {**self._others(), 0: self.host}
    each = [hosts.get(process) for process in range(processes.count())]
    return {'hosts/read': [host and round(host.read, 4) for host in each],
            'hosts/busy': [host and round(host.busy, 6) for host in each],
            'hosts/slowest': processes.named(max(hosts, key=lambda process: hosts[process].busy))}

  @contextlib.contextmanager
  def _asking(self):
    """A signal, such as SIGQUIT, at which faulthandler prints the stacks, writes to a pipe that the thread reads."""
    self._pipe, writer = os.pipe()
    for end in (self._pipe, writer):
      os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
      yield
    finally:
      signal.set_wakeup_fd(before)
      os.close(self._pipe)
      os.close(writer)

  def _asked(self) -> int:
    try:
      return os.read(self._pipe, 64).count(signal.SIGQUIT)
    except (AttributeError, BlockingIOError):
      return 0

  def _others(self) -> dict[int, Host]:
    found = {int(key.rpartition('/')[2]): Host(*json.loads(text))
             for key, text in processes.client().key_value_dir_get('pretrain/pulse/')}
    return {process: host for process, host in found.items() if process != processes.me()}

  def _watch(self) -> None:
    told, others, answered = 0., {}, 0
    while not self._ended.wait(.5):
      now = time.monotonic()
      if self._shows and now - self._said >= QUIET:
        of = f'step {self.host.step}/{self.steps}  ' if self.steps else ''
        self.say(f'{of}{self.host.what} for {now - self._since:.0f} s')
      if processes.count() == 1:
        continue
      if asked := self._asked():
        self.host = self.host._replace(asked=self.host.asked + asked)
      if now - told >= PUBLISH:
        told = now
        try:
          processes.client().key_value_set(f'pretrain/pulse/{processes.me()}', json.dumps(self.host),
                                           allow_overwrite=True)
          others = self._others()
          processes.refuse_left()
        except processes.Left as error:
          self._end(str(error), error.code)
        except Exception:  # the service is gone, and JAX ends the process
          continue
        if (asked := sum(host.asked for host in others.values())) > answered:
          answered = asked
          faulthandler.dump_traceback(2)
      if now - max(self._since, processes.gathered) > processes.WAIT:
        faulthandler.dump_traceback(2)
        hosts = {**others, processes.me(): self.host}
        least = min(host.step for host in hosts.values())
        behind = [f'{processes.named(process)}, {host.what}' for process, host in sorted(hosts.items())
                  if host.step == least]
        self._end(f'{self.host.what} for {now - self._since:.0f} s; the limit is {processes.WAIT:.0f} s '
                  f'(PRETRAIN_WAIT_SECONDS). Behind all others, after step {least}: {"; ".join(behind[:4])}',
                  processes.LOST)

  def _end(self, text: str, code: int) -> None:
    print(f'error: {text}', file=sys.stderr, flush=True)
    processes.leave(code, text)
