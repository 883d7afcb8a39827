"""Jobs on this machine: some processes that find each other, run again on 75; or many small runs side by side."""
import concurrent.futures
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from launch.job import AGAIN, Job, simulated

GRACE = 60.  # seconds that the others have once one process of a run is gone


class Local:
  """Runs jobs until they are done; SIGTERM, SIGINT and SIGUSR1 are passed on, and end with 75 once all have saved.

  Args:
    say: prints a line.
  """

  def __init__(self, say: Callable[[str], None] = print):
    self._say = say
    self._running: set[subprocess.Popen] = set()
    self._stopped = threading.Event()

  def stop(self, number: int, frame=None) -> None:
    """Asks every process to save and leave; a signal handler."""
    del frame
    self._stopped.set()
    for process in list(self._running):
      process.send_signal(number)

  def run(self, job: Job) -> list[int]:
    """Exit codes of the job's commands: 0 done, 75 asked to stop, the command's own otherwise.

    A command that a signal has killed is run again like one that wanted to go on: kills lose nothing.
    """
    before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    shares = cores(job.parallel) if len(job.commands) > 1 else [None]
    free = list(range(len(shares)))
    lock = threading.Lock()

    def element(number):
      with lock:
        share = free.pop()
      try:
        return self._until_done(job, number, shares[share])
      finally:
        with lock:
          free.append(share)

    try:
      with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
        futures = [pool.submit(element, number) for number in range(len(job.commands))]
        while not all(future.done() for future in futures):  # the main thread stays free for signals
          time.sleep(0.1)
        return [future.result() for future in futures]
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)

  def _until_done(self, job: Job, number: int, share: set[int] | None) -> int:
    code = AGAIN
    for attempt in range(job.restarts + 1):
      if self._stopped.is_set():
        return AGAIN
      code = self._once(job, number, share)
      if code != AGAIN and code >= 0:
        break
      if attempt < job.restarts and not self._stopped.is_set():
        self._say(f'{job.name}: ended with {code}, runs again ({attempt + 1} of {job.restarts})')
    if code and not self._stopped.is_set():
      self._say(f'error: {job.name}: {" ".join(job.commands[number])} ended with {code}; log: {log(job, number, 0)}')
    return code

  def _once(self, job: Job, number: int, share: set[int] | None) -> int:
    count = job.nodes * job.processes
    env = simulated(os.environ | dict(job.env), job.devices)
    if count > 1:
      env |= {'JAX_COORDINATOR_ADDRESS': f'localhost:{free_port()}', 'JAX_NUM_PROCESSES': str(count)}
    job.logs.mkdir(parents=True, exist_ok=True)
    mine = []
    for process in range(count):
      seen = process == 0 and len(job.commands) == 1  # its output belongs on the terminal
      with log(job, number, process).open('ab') as file:
        mine.append(subprocess.Popen(
            job.commands[number], env=env | ({'JAX_PROCESS_ID': str(process)} if count > 1 else {}),
            stdout=None if seen else file, stderr=None if seen else file,
            preexec_fn=(lambda: os.sched_setaffinity(0, share)) if share else None, start_new_session=not seen))
    self._running.update(mine)
    try:
      return wait(mine)
    finally:
      self._running.difference_update(mine)


def wait(processes: list[subprocess.Popen]) -> int:
  """Exit code of all: the first in time that is neither 0 nor 75, as the others fail for want of it; 75 if any is.

  Those that hang once one is gone are killed.
  """
  deadline, ended = None, {}
  while len(ended) < len(processes):
    for process in sorted((each for each in processes if each.poll() is not None), key=lambda each: each.returncode):
      ended.setdefault(process, process.returncode)  # of those that end together, a kill is the cause
    if deadline is None and any(process.poll() not in (None, 0) for process in processes):
      deadline = time.monotonic() + GRACE
    if deadline is not None and time.monotonic() > deadline:
      for process in processes:
        process.kill()
    time.sleep(0.02)
  codes = list(ended.values())
  return next((code for code in codes if code not in (0, AGAIN)), max(codes))


def cores(parallel: int) -> list[set[int] | None]:
  """The cores of this machine in so many equal shares; no shares where there are too few."""
  mine = sorted(os.sched_getaffinity(0))
  size = len(mine) // parallel
  return [set(mine[n * size:(n + 1) * size]) if size else None for n in range(parallel)]


def log(job: Job, number: int, process: int) -> Path:
  return job.logs / f'{job.name}-{number}-{process}.log'


def free_port() -> int:
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]
