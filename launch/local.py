"""Jobs on this machine: some processes that find each other, run again as `launch.job` says; or many small runs."""
import concurrent.futures
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from launch.job import AGAIN, FRUITLESS, LOST, Job, again, progress, simulated, verdict

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
    self._starting = threading.RLock()  # a signal comes before processes are started, or once all of them can be told

  def stop(self, number: int, frame=None) -> None:
    """Asks every process to save and leave; a signal handler."""
    del frame
    with self._starting:
      self._stopped.set()
      for process in list(self._running):
        process.send_signal(number)

  def run(self, job: Job) -> list[int]:
    """Exit codes of the commands, each of its last attempt: 0 done, 75 asked to stop, the command's own otherwise."""
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
    place = job.progress[number] if job.progress else None
    code, attempt, fruitless, before = AGAIN, 0, 0, progress(place) if place else 0
    while not self._stopped.is_set():
      code = self._once(job, number, share)
      if not again(code) or self._stopped.is_set():
        break
      after = progress(place) if place else before + (code == AGAIN)
      fruitless, before = 0 if after > before else fruitless + 1, after
      if fruitless == FRUITLESS or attempt == job.restarts:
        why = f'{fruitless} attempts in a row without a new checkpoint' if fruitless == FRUITLESS else \
            f'it was run again {attempt} times'
        self._say(f'{job.name}: gave up: {why}')
        break
      attempt += 1
      self._say(f'{job.name}: ended with {code}, runs again ({attempt} of {job.restarts})')
    if self._stopped.is_set():
      return AGAIN if again(code) else code
    if code:
      self._say(f'error: {job.name}: {shlex.join(job.commands[number])} ended with {code}; log: '
                f'{shlex.quote(str(log(job, number, 0)))}')
    return code

  def _once(self, job: Job, number: int, share: set[int] | None) -> int:
    if share:
      os.sched_setaffinity(0, share)  # of this thread, which what it starts inherits
    job.logs.mkdir(parents=True, exist_ok=True)
    mine = []
    with self._starting:
      if self._stopped.is_set():
        return AGAIN
      for process, env in enumerate(environments(job)):
        seen = process == 0 and len(job.commands) == 1  # its output belongs on the terminal
        with log(job, number, process).open('ab') as file:
          mine.append(subprocess.Popen(job.commands[number], env=os.environ | env, stdout=None if seen else file,
                                       stderr=None if seen else file, start_new_session=not seen))
      self._running.update(mine)
    try:
      return wait(mine)
    finally:
      self._running.difference_update(mine)


def environments(job: Job) -> list[dict[str, str]]:
  """What is set for each process of a command, beside what is set here."""
  count = job.nodes * job.processes
  every = simulated(os.environ | dict(job.env), job.devices)
  env = {key: value for key, value in every.items() if key in job.env or os.environ.get(key) != value}
  if count == 1:
    return [env]
  env |= {'JAX_COORDINATOR_ADDRESS': f'localhost:{free_port()}', 'JAX_NUM_PROCESSES': str(count)}
  return [env | {'JAX_PROCESS_ID': str(process)} for process in range(count)]


def render(job: Job) -> str:
  """The job as commands of a shell, of one attempt: processes of a run side by side, runs one after the other."""
  lines = []
  shares = cores(job.parallel) if len(job.commands) > 1 else [None]
  for number, command in enumerate(job.commands):
    share = shares[number % len(shares)]
    bound = ('taskset', '--cpu-list', ','.join(map(str, sorted(share)))) if share else ()
    every = [' '.join([*(f'{key}={shlex.quote(value)}' for key, value in env.items()), shlex.join(bound + command)])
             for env in environments(job)]
    lines += every if len(every) == 1 else [*(f'{line} &' for line in every), 'wait']
  return '\n'.join(lines) + '\n'


def wait(processes: list[subprocess.Popen]) -> int:
  """Why a command of several processes ended: the exit code of the first that did not end well, as the others fail for
  want of it; 75 if some were asked to stop.

  Those that hang once one is gone are killed, and do not count.
  """
  deadline, ended = None, []
  while any(process.returncode is None for process in processes):
    now = time.monotonic()
    gone = [process for process in processes if process.returncode is None and process.poll() is not None]
    ended += [(now, process.returncode) for process in gone if deadline is None or now < deadline]
    if deadline is None and any(process.returncode for process in gone):
      deadline = now + GRACE
    if deadline is not None and now > deadline:
      for process in processes:
        process.kill()
    time.sleep(0.02)
  if len(ended) < len(processes):
    ended.append((time.monotonic(), LOST))
  codes = [code for _, code in ended]
  found = verdict(ended)
  return max(codes) if found is None else found


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
