"""The one class behind every source that decodes: files, ArrayRecord, TFDS, Parquet."""
import dataclasses
import functools
from typing import Protocol

import numpy as np

from data.bad import BadRecords, BadRecordsError
from data.decode import decode
from data.text import Captions

LONGEST_RUN = 1000  # broken images in a row after which the search for a good one is given up


class Reader(Protocol):
  """Random access to encoded images. Is pickled to worker processes and called from several threads."""

  def __len__(self) -> int:
    """Number of images."""

  def read(self, i: int) -> tuple[bytes, int | None]:
    """The encoded image and its label (None where the set has no labels)."""

  def labels(self) -> np.ndarray | None:
    """All labels, i32[n], read without decoding an image; None where the set has none."""

  def file(self, i: int) -> str:
    """Where the image lies, for messages."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
  """A source of encoded images; the interface is in `data/__init__.py`.

  A broken image is replaced by the next one of this source that decodes, (i + 1) % n and so on, so that the position in
  the stream stays exact; `bad` counts and lists it.

  Args:
    reader: where the bytes come from.
    origin: words for messages, such as 'folder photos/train'.
    classes: names of the classes, None without labels.
    size: height and width of every image; None: as stored, all alike.
    channels: 3 (RGB) or 1 (grey).
    rows: i64[n] index in the reader of each position; None: all, in order.
    labeled: False drops the labels.
    bad: account of the broken images.
    captions: texts of all of the reader's images, or None.
  Raises:
    BadRecordsError: from `batch`, when too many images are broken, or all are.
    ValueError: from `batch`, when size is None and two images differ in shape.
  """
  reader: Reader
  origin: str
  classes: tuple[str, ...] | None
  size: int | None
  channels: int
  rows: np.ndarray | None = None
  labeled: bool = True
  bad: BadRecords = dataclasses.field(default_factory=BadRecords)
  captions: Captions | None = None

  def __len__(self):
    return len(self.reader) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} images, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @functools.cached_property
  def shape(self) -> tuple[int, int, int]:
    """(h, w, c) of every image; decodes the first one if no size is given."""
    return (self.size, self.size, self.channels) if self.size else self._good(0)[0].shape

  @functools.cached_property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    labels = self.reader.labels() if self.labeled else None
    return labels if labels is None or self.rows is None else labels[self.rows]

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'image': u8[b, h, w, c], 'label': i32[b], 'index': i32[b]}, with captions 'tokens' too."""
    b = len(indices)
    image, label, index = np.empty((b, *self.shape), np.uint8), np.empty(b, np.int32), np.empty(b, np.int32)
    labeled = self.labeled
    for row, position in enumerate(indices):
      pixels, y, index[row] = self._good(int(position))
      if pixels.shape != self.shape:
        raise ValueError(f'{self.reader.file(int(index[row]))} is {pixels.shape} and another image of {self.origin} '
                         f'{self.shape}: give size= to bring all to one')
      image[row] = pixels
      labeled = labeled and y is not None
      label[row] = y if labeled else -1
    texts = self.captions.batch(index) if self.captions else {}  # of the images that stand in for broken ones
    return {'image': image, 'index': index} | ({'label': label} if labeled else {}) | texts

  def take(self, indices: np.ndarray) -> 'Encoded':
    """The source of these positions; `index` stays the reader's."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Encoded':
    """The source without labels, classes and captions, which may say the class."""
    return dataclasses.replace(self, labeled=False, classes=None, captions=None)

  def _good(self, position: int) -> tuple[np.ndarray, int | None, int]:
    """The first image that decodes from `position` on: pixels, label, index."""
    n, broken = len(self), ''
    for offset in range(min(n, LONGEST_RUN)):
      p = (position + offset) % n
      i = p if self.rows is None else int(self.rows[p])
      try:
        data, label = self.reader.read(i)
        pixels = decode(data, size=self.size, channels=self.channels)
      except Exception as error:  # Pillow raises about ten kinds for broken files
        file, reason = self.reader.file(i), f'{type(error).__name__}: {error}'
        self.bad.add(i, file, reason, drawn=offset == 0)
        broken = f'{file}: {reason}'
        continue
      if offset == 0:
        self.bad.good()
      return pixels, label, i
    count = f'all {n}' if n <= LONGEST_RUN else f'{LONGEST_RUN} in a row of the {n}'
    raise BadRecordsError(f'{count} images of {self.origin} are broken, such as {broken}')
