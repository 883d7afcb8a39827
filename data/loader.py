"""Order and position: batches as a pure function of (seed, batch number), on grain.

Positions count the infinite stream of examples: batch b of size B is positions [bB, (b+1)B), position p is example
permutation(seed, p // n)[p % n] of epoch p // n. So every epoch covers every index once, batches may straddle epochs,
and the state of a run is one number, whatever the threads, workers or processes that read it. With epochs of m < n
examples, position p is permutation(seed, p // m)[p % m]: each epoch is a fresh random subset.
"""
import collections
import concurrent.futures
import dataclasses
import os
import sys
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from data.bad import BadRecords
from data.shuffle import permutation
from data.source import Source
from data.workers import check_shared_memory, watch_parent

PIECE = 32  # examples that a thread reads at a time


def loader(source: Source, *, batch: int, seed: int, start: int = 0, rows: np.ndarray | None = None,
           epoch: int | None = None, threads: int | None = None, workers: int = 0, bad_records: str | None = None,
           max_bad_share: float = 0.01):
  """Shuffled batches without end: {'image': u8[b, h, w, c], 'label': i32[b], 'index': i32[b], 'epoch': i32[b]}.

  Args:
    source: without labels there is no 'label'.
    batch: global batch size, in examples.
    rows: which rows of a global batch to read and yield, i64[<= batch]; None: all. The global batch is the same
      whatever rows of it a process reads.
    seed: non-negative; orders the examples of every epoch.
    start: number of the first batch, for a restart.
    epoch: how many examples an epoch has, in [1, n]; None: all n.
    threads: batches read at a time; None: the cores (at most 16) for sources that decode, 2 for those in memory.
    workers: read in this many spawned processes instead of threads, for hosts where one interpreter cannot feed the
      step; the program must then be importable (`if __name__ == '__main__'`).
    bad_records: file that lists broken images.
    max_bad_share: largest share of broken images, judged once 1,000 images (or a smaller set's n) are drawn.
  Returns:
    A `Loader`.
  Raises:
    ValueError: empty source; batch, rows, start or epoch out of range.
    BadRecordsError: from the iterator, more than `max_bad_share` of the images are broken.
  """
  stream = Stream(_watched(source, bad_records, max_bad_share), batch=batch, seeds=(seed,), rows=rows, epoch=epoch)
  return Loader(stream, start=start, threads=_threads(threads, source), workers=workers)


def two_streams(labeled: Source, unlabeled: Source, *, labeled_batch: int, unlabeled_batch: int, seed: int,
                start: int = 0, labeled_rows: np.ndarray | None = None, unlabeled_rows: np.ndarray | None = None,
                threads: int | None = None, workers: int = 0, bad_records: str | None = None,
                max_bad_share: float = 0.01):
  """Batches {'labeled': batch of b, 'unlabeled': batch of u without 'label'}, each shuffled by its own seed.

  Arguments, result and errors as `loader`, rows for each stream; `unlabeled` loses any labels that it has.

  Raises:
    ValueError: also when `labeled` has no labels.
  """
  labeled.truth()
  streams = {
      name: Stream(_watched(source, bad_records, max_bad_share), batch=size, seeds=(seed, k), rows=rows)
      for k, (name, source, size, rows) in enumerate(
          [('labeled', labeled, labeled_batch, labeled_rows),
           ('unlabeled', unlabeled.unlabeled(), unlabeled_batch, unlabeled_rows)], 1)}
  return Loader(Together(streams), start=start, threads=_threads(threads, labeled, unlabeled), workers=workers)


def in_order(source: Source, *, batch: int, rows: np.ndarray | None = None, threads: int | None = None
             ) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
  """Every example once, in order, read ahead by all cores: (batch, good) as of `Source.read`.

  A broken example is not replaced: its arrays are zeros, and `good` bool[b] is False for it. The last batch is filled
  up with the source's last example.

  Args:
    batch: examples at a time.
    rows: which of each batch to read, i64[<= batch]; None: all.
    threads: that read; None: the cores (at most 16) for sources that decode, else 2.
  Raises:
    ValueError: empty source, or a batch below 1.
  """
  n = len(source)
  if n == 0 or batch < 1:
    raise ValueError(f'wanted a source with examples and a batch of at least 1, got {n} examples of {source.origin} '
                     f'and batch={batch}')
  rows, count = np.arange(batch) if rows is None else rows, _threads(threads, source)
  with concurrent.futures.ThreadPoolExecutor(max(1, count)) as pool:
    waiting: collections.deque = collections.deque()

    def whole():
      pieces = [piece.result() for piece in waiting.popleft()]
      batches, good = zip(*pieces, strict=True)
      return {key: np.concatenate([part[key] for part in batches]) for key in batches[0]}, np.concatenate(good)

    try:
      for start in range(0, n, batch):
        positions = np.minimum(start + rows, n - 1)
        waiting.append([pool.submit(source.read, part)
                        for part in np.array_split(positions, -(-len(positions) // PIECE))])
        if len(waiting) > 2:
          yield whole()
      while waiting:
        yield whole()
    finally:
      for pieces in waiting:
        for piece in pieces:
          piece.cancel()


class Stream(grain.MapDataset):
  """The b-th batch of a source, for any b, or some rows of it. See the module."""

  def __init__(self, source, *, batch: int, seeds: tuple[int, ...], rows: np.ndarray | None = None,
               epoch: int | None = None):
    super().__init__()
    if batch < 1:
      raise ValueError(f'wanted a batch of at least 1, got {batch}')
    rows = np.arange(batch) if rows is None else np.asarray(rows)
    if not len(rows) or rows.min() < 0 or rows.max() >= batch:
      raise ValueError(f'wanted rows of a batch in [0, {batch}), got {rows[:3]} to {rows[-3:]}')
    if min(seeds) < 0:
      raise ValueError(f'seed must not be negative, got {min(seeds)}')
    self.epoch = len(source) if epoch is None else epoch
    if not 1 <= self.epoch <= len(source):
      raise ValueError(f'wanted an epoch of 1 to {len(source)} examples, got {epoch}')
    self.source, self.size, self.seeds, self.rows = source, batch, seeds, rows

  def __len__(self):
    return sys.maxsize // self.size

  def __getitem__(self, index):
    if isinstance(index, slice):
      return self.slice(index)
    n = len(self.source)
    epoch, rank = np.divmod(index * self.size + self.rows, self.epoch)
    indices = np.empty_like(rank)
    for e in range(epoch.min(), epoch.max() + 1):
      indices[epoch == e] = permutation(n, *self.seeds, e)[rank[epoch == e]]
    return self.source.batch(indices) | {'epoch': epoch.astype(np.int32)}


  @property
  def nbytes(self) -> int:
    """Size of a batch."""
    example, _ = self.source.examples.read(self.source.index[:1])  # counts and lists no broken one
    beside = [self.source.column(name)[:1] for name in self.source.beside]
    return len(self.rows) * sum(array.nbytes for array in (*example.values(), *beside))


class Together(grain.MapDataset):
  """The b-th batches of several streams, by name."""

  def __init__(self, streams: dict[str, Stream]):
    super().__init__(tuple(streams.values()))
    self.streams = streams

  def __len__(self):
    return min(map(len, self.streams.values()))

  def __getitem__(self, index):  # pyrefly: ignore[bad-override]
    if isinstance(index, slice):
      return self.slice(index)
    return {name: stream[index] for name, stream in self.streams.items()}

  @property
  def nbytes(self) -> int:
    """Size of the batches of all streams."""
    return sum(stream.nbytes for stream in self.streams.values())


class Loader(grain.DatasetIterator):
  """Iterator over a `grain.MapDataset` of batches whose state is the number of the next batch.

  grain's own state depends on the number of workers and goes wrong in silence when it changes; a slice does not.
  Reading starts at once, so the first batches are decoded while the step compiles. Close it, or use it in `with`.
  """

  def __init__(self, dataset: Stream | Together, *, start: int, threads: int, workers: int):
    super().__init__()
    self._dataset, self._threads, self._workers = dataset, threads, workers
    self._batches = None
    self.set_state({'next_index': start})

  def __next__(self):
    assert self._batches is not None  # since set_state
    batch = next(self._batches)
    self._position += 1
    return batch

  def get_state(self) -> dict[str, int]:
    """{'next_index': number of the next batch}."""
    return {'next_index': self._position}

  def set_state(self, state: dict[str, int]) -> None:
    """Goes on with batch number state['next_index'], forwards or back."""
    position = int(state['next_index'])
    if position < 0:
      raise ValueError(f'the number of a batch must not be negative, got {position}')
    if self._batches is not None:
      self._batches.close()
    self._position = position
    threads = 0 if self._workers else self._threads
    batches = self._dataset.slice(slice(self._position, None)).to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2 if threads else 0))
    if self._workers:
      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads absl flags that only an absl program parses
      check_shared_memory(self._dataset.nbytes, self._workers)
      batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._workers), watch_parent)
    self._batches = iter(batches)
    self._batches.start_prefetch()

  def close(self) -> None:
    """Stops reading ahead; does not wait for batches under way."""
    if self._batches is not None:
      self._batches.close()
    super().close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


def _watched(source: Source, path: str | None, max_bad_share: float) -> Source:
  if not len(source):
    raise ValueError(f'{source.origin} is empty')
  return dataclasses.replace(source, bad=BadRecords(path, max_bad_share, min(1000, len(source))))


def _threads(threads: int | None, *sources: Source) -> int:
  if threads is not None:
    return threads
  return min(16, _cores()) if any(source.examples.decodes for source in sources) else 2


def _cores() -> int:
  """Cores that this process may use; all of the machine's where the system does not say."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
