"""Numbers of fractals, which views of the same name draw on the device."""
import dataclasses
from typing import Annotated

import numpy as np

from data.source import Source
from pretrain.config import Count, Range


@dataclasses.dataclass(frozen=True)
class Numbers:
  """`data.source.Examples` of which nothing is read: an example is its index."""
  count: int
  shape = ()
  decodes = False

  def __len__(self):
    return self.count

  def read(self, index):
    del index
    return {}, {}

  def file(self, i):
    return f'fractal {i}'

  def names(self):
    return None

  def digest(self, i):
    return str(i).encode()

  def whole(self):
    return b''


def fractals(*, codes: Annotated[int, Range(2)], per_code: Count) -> Source:
  """codes * per_code examples, of which nothing is stored or read: the views `fractals` and `fractal_scenes` draw them.

  Example i is of code i % codes, which is its label. arXiv:2110.03091: 1,000 codes, 1,000 images each.
  """
  count = codes * per_code
  return Source(Numbers(count), f'{count} fractals of {codes} codes',
                {'label': np.arange(count, dtype=np.int32) % np.int32(codes)}, tuple(map(str, range(codes))))
