"""A source with images that belong to none of its classes."""
import dataclasses
from typing import Annotated

import numpy as np

from data.encoded import digest
from data.opened import opened
from data.shuffle import permutation
from data.source import Source
from pretrain.config import Range, Seed


@dataclasses.dataclass(frozen=True, eq=False)
class Several:
  """`data.source.Examples` of several sources, one after the other; the index is the place among them all."""
  sources: tuple[Source, ...]

  def __len__(self):
    return sum(map(len, self.sources))

  @property
  def shape(self):
    return self.sources[0].shape

  @property
  def decodes(self):
    return any(source.examples.decodes for source in self.sources)

  def place(self, index):
    """(number of the source, index i64 of its examples) of each global index."""
    ends = np.cumsum([len(source) for source in self.sources])
    which = np.searchsorted(ends, index, side='right')
    return which, np.array([self.sources[s].index[i - ends[s] + len(self.sources[s])]
                            for s, i in zip(np.atleast_1d(which), np.atleast_1d(index), strict=True)], np.int64)

  def read(self, index):
    which, inner = self.place(index)
    batch, broken = {'image': np.zeros((len(index), *self.shape), np.uint8)}, {}
    for s, source in enumerate(self.sources):
      mine = np.flatnonzero(which == s)
      if len(mine):
        part, bad = source.examples.read(inner[mine])
        batch['image'][mine] = part['image']
        broken |= {int(mine[place]): why for place, why in bad.items()}
    return batch, broken

  def file(self, i):
    which, inner = self.place(np.array([i]))
    return self.sources[which[0]].examples.file(int(inner[0]))

  def names(self):
    return None

  def digest(self, i):
    which, inner = self.place(np.array([i]))
    return self.sources[which[0]].examples.digest(int(inner[0]))

  def whole(self):
    parts = [part for source in self.sources
             for part in (source.examples.names() or b'', source.examples.whole(), source.index.tobytes())]
    return digest(b''.join(map(digest, parts)))


def mixed(*, source: dict, others: dict, share: Annotated[float, Range(0, 1, below=True)], seed: Seed) -> Source:
  """All images of a source, and behind them images of another, out of its distribution, that make `share` of the whole.

  Their label is -1, of no class: few_labels never chooses them, and training on them with labels is refused.

  Args:
    source, others: of data/sources; images of one shape.
    share: in [0, 1), of the foreign images in the whole, rounded.
    seed: of the draw of others, without replacement.
  Raises:
    ValueError: too few others, images of another shape.
  """
  mine, foreign = opened(source, 'source.source'), opened(others, 'source.others')
  count = round(share / (1 - share) * len(mine))
  if count > len(foreign):
    raise ValueError(f'share: {share} of {len(mine)} images and others needs {count} others, {foreign.origin} has '
                     f'{len(foreign)}')
  drawn = np.sort(permutation(len(foreign), seed)[:count])
  origin = f'{mine.origin} with {count} of {foreign.origin}'
  if len(mine.shape) != 3 or mine.shape != foreign.shape:
    raise ValueError(f'{origin}: wanted images of one shape, got {mine.shape} and {foreign.shape}')
  if more := sorted(set(mine.beside) - {'label'}):
    raise ValueError(f'{origin}: {mine.origin} has {", ".join(more)}, which the others lack: mix before they are made')
  beside = {}
  if mine.labels is not None:
    beside['label'] = np.concatenate([mine.labels, np.full(count, -1, np.int32)])
  return Source(Several((dataclasses.replace(mine, beside={}, classes=None), foreign.unlabeled().take(drawn))), origin,
                beside, mine.classes, notes=mine.notes + foreign.notes)
