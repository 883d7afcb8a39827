"""Processes that read: they end with the run that started them, and what they need of /dev/shm is there."""
import multiprocessing
import os
import signal
import threading
import time


def watch_parent(index: int, count: int) -> None:
  """Ends this worker soon after the run that started it is gone; a `worker_init_fn` of grain's `mp_prefetch`.

  Signals to stop are left to the run: a scheduler or a terminal sends them to the workers too, and a run whose workers
  are gone could not get the batch that it waits for, nor save.

  Args:
    index, count: of the workers; not used.
  """
  del index, count
  for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, signal.SIG_IGN)
  run = multiprocessing.parent_process()
  assert run is not None  # in a worker
  threading.Thread(target=_end_with, args=(run.pid,), name='watch-parent', daemon=True).start()


def _end_with(run: int) -> None:
  # 2026-11-30: a worker of grain 0.2.18 waits for ever to hand its batch to a run that was killed, and Python frees the
  # shared memory of the run only when its last process is gone. The parent's pid is asked for, as PR_SET_PDEATHSIG acts
  # when the *thread* ends that started the worker, which is one of a pool.
  while os.getppid() == run:
    time.sleep(0.5)
  time.sleep(1)  # now the buffer is full: no segment is being made that the resource tracker has not been told of
  os._exit(1)


def check_shared_memory(batch_bytes: int, workers: int, buffer: int = 1) -> None:
  """Raises ValueError if /dev/shm cannot hold the batches under way; nothing where there is no /dev/shm, or no limit.

  A worker that finds it full would be killed by SIGBUS at some later batch.

  Args:
    batch_bytes: size of a batch, the rows that this process reads.
    workers: processes that read.
    buffer: grain's `per_worker_buffer_size`, in batches.
  """
  if not os.path.isdir('/dev/shm'):
    return
  # Of each worker `buffer` batches wait in its queue and as many in the run's, and each side has one more in its hand.
  # Four are with the run: that of the next step, two of steps in flight, one that is being freed.
  need = batch_bytes * (workers * 2 * (buffer + 1) + 4)
  stat = os.statvfs('/dev/shm')
  free = stat.f_bavail * stat.f_frsize
  if stat.f_blocks and need > free:  # a tmpfs without a limit says 0 blocks
    raise ValueError(
        f'{workers} workers pass batches of {batch_bytes / 1e6:,.1f} MB through /dev/shm: they need '
        f'{need / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free. Start the container with '
        f'--shm-size={-(-need // 2**20)}m (Kubernetes: mount an emptyDir of medium Memory at /dev/shm), or use '
        'config.reading.threads instead of config.reading.workers')
