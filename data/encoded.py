"""Examples that are encoded images: files, ArrayRecord, TFDS, Parquet, tar."""
import dataclasses
import functools
import hashlib
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np

from data.decode import decode
from data.source import Source
from pretrain.config import Count, Range


class Decoding(NamedTuple):
  """How images are decoded; the argument `decoding` of sources that do.

  bits:       of 16-bit images, how many hold the picture: 12 for many cameras and scanners; None: all 16, where the
              values say so.
  megapixels: of the largest image; larger ones are broken, as a small file can claim any size.
  """
  bits: Annotated[int, Range(8, 16)] | None = None
  megapixels: Count = 179


def check_decoding(how: Decoding) -> Decoding:
  """`how`, if its numbers can be; raises ValueError."""
  if how.bits is not None and not 8 <= how.bits <= 16:
    raise ValueError(f'decoding.bits: wanted from 8 to 16 bits of a 16-bit image, got {how.bits}')
  if how.megapixels < 1:
    raise ValueError(f'decoding.megapixels: wanted at least 1, got {how.megapixels}')
  return how


class Reader(Protocol):
  """Random access to encoded images. Is pickled to worker processes and called from several threads."""

  def __len__(self) -> int:
    """Number of images."""

  def read(self, i: int) -> bytes:
    """The encoded image."""

  def file(self, i: int) -> str:
    """Where the image lies, for messages."""

  def names(self) -> bytes | None:
    """As `data.source.Examples`, as are the two below."""

  def digest(self, i: int) -> bytes | None: ...

  def whole(self) -> bytes: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
  """`data.source.Examples` over encoded images.

  Args:
    reader: where the bytes come from.
    size: height and width of every image; None: as stored, all alike.
    channels: 3 (RGB) or 1 (grey).
    decoding: `Decoding`.
  Raises:
    ValueError: from `read`, when size is None and two images differ in shape.
  """
  reader: Any  # Reader
  size: int | None
  channels: int
  decoding: Decoding = Decoding()
  decodes = True

  def __len__(self):
    return len(self.reader)

  @functools.cached_property
  def shape(self) -> tuple[int, int, int]:
    """(h, w, c) of every image; decodes the first good one if no size is given."""
    if self.size:
      return self.size, self.size, self.channels
    why = ''
    for i in range(min(len(self), 1000)):
      try:
        return self.decode(i).shape
      except Exception as error:  # Pillow raises about ten kinds for broken files
        why = why or f'{self.file(i)}: {error}'
    raise ValueError(f'none of the first {min(len(self), 1000)} images can be read: {why}')

  def decode(self, i: int) -> np.ndarray:
    """Image i, u8[h, w, c]; raises whatever Pillow or the file system does for a broken one."""
    return decode(self.reader.read(i), size=self.size, channels=self.channels, **self.decoding._asdict())

  def read(self, index):
    image, broken = np.zeros((len(index), *self.shape), np.uint8), {}
    for place, i in enumerate(index):
      try:
        pixels = self.decode(int(i))
      except Exception as error:  # Pillow raises about ten kinds for broken files
        broken[place] = f'{type(error).__name__}: {error}'
        continue
      if pixels.shape != self.shape:
        raise ValueError(f'{self.file(int(i))} is {pixels.shape}, another image of the set {self.shape}: give size= to '
                         'bring all to one')
      image[place] = pixels
    return {'image': image}, broken

  def file(self, i):
    return self.reader.file(i)

  def names(self):
    return self.reader.names()

  def digest(self, i):
    return self.reader.digest(i)

  def whole(self):
    return self.reader.whole()


def encoded(source: Source) -> Encoded:
  """The examples of a source, which are encoded images."""
  assert isinstance(source.examples, Encoded)
  return source.examples


def digest(data: bytes) -> bytes:
  """16 bytes that two contents share exactly if they are equal."""
  return hashlib.blake2b(data, digest_size=16).digest()
