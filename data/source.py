"""The one kind of data set: examples with a global index, read at random on the host, as NumPy arrays.

A file of data/sources says how its examples are read (`Examples`); everything else stands here, once.
"""
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from data.bad import BadRecords, BadRecordsError
from data.classes import check_names, read_labels
from data.text import Tokenizer

LONGEST_RUN = 1000  # broken examples in a row after which the search for a good one is given up


class Examples(Protocol):
  """How examples are read. Is pickled to worker processes and called from several threads.

  shape:   of one example: (h, w, c), (t, h, w, c) of a clip, (l,) of a text, (f,) of a row; () where nothing is read.
  decodes: whether reading costs so much time that all cores should share it.
  """

  @property
  def shape(self) -> tuple[int, ...]: ...

  @property
  def decodes(self) -> bool: ...

  def __len__(self) -> int:
    """Number of examples of the whole set."""

  def read(self, index: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Global indices i64[b] -> {'image' u8[b, h, w, c], 'tokens' or 'row': [b, ...]}, {place in b: why it is broken}.

    The arrays of a broken example are zeros.
    """

  def file(self, i: int) -> str:
    """Where example i lies, for messages."""

  def names(self) -> bytes | None:
    """A name of each example that does not depend on where the set lies, joined by NUL; None: they have none."""

  def digest(self, i: int) -> bytes | None:
    """Of the contents of example i, in whatever is cheap to read of it; None: nothing is."""

  def whole(self) -> bytes:
    """Of what is known of all examples without reading any: sizes or checksums of files; b'' if nothing is."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """A data set, or a part of one.

    source = fashion_mnist(split='train')
    source.batch(np.arange(2))  # {'image': u8[2, 28, 28, 1], 'label': i32[2], 'index': i32[2]}

  Args:
    examples: how examples are read.
    origin: words for messages, such as 'folder photos/train'.
    beside: what is said of each example, arrays [n, ...] by global index (or a function that reads one, once it is
      asked for): 'label' i32, -1 for none that is known; 'tokens' of a text; 'weight' f32; 'probabilities' f32[n, k].
    classes: names of the classes; without them the labels' numbers are their names.
    tokenizer: what made the tokens.
    rows: i64[k] global index of each position; None: all, in order.
    bad: account of broken examples.
    notes: sentences about what was passed over when the set was opened.
  Raises:
    ValueError: labels that are none, see `data.classes.read_labels`.
  """
  examples: Examples
  origin: str
  beside: Mapping[str, np.ndarray | Callable[[], np.ndarray]] = dataclasses.field(default_factory=dict)
  classes: tuple[str, ...] | None = None
  tokenizer: Tokenizer | None = None
  rows: np.ndarray | None = None
  bad: BadRecords = dataclasses.field(default_factory=BadRecords)
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    for name, column in self.beside.items():
      if not callable(column) and len(column) != len(self.examples):
        raise ValueError(f'{self.origin}: wanted a {name} of each of the {len(self.examples)} examples, got '
                         f'{len(column)}')
    if self.classes is not None:
      check_names(self.classes, self.origin)
    if self.labeled and self.classes is None:
      label, classes = read_labels(self.column('label'), f'{self.origin}: label')
      object.__setattr__(self, 'beside', {**self.beside, 'label': label})
      object.__setattr__(self, 'classes', classes)

  def __len__(self):
    return len(self.examples) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} examples, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @property
  def shape(self) -> tuple[int, ...]:
    """Of one example, see `Examples`."""
    return self.examples.shape

  @property
  def labeled(self) -> bool:
    return 'label' in self.beside

  @property
  def vocabulary(self) -> int | None:
    """Number of ids of the tokens; None where there are none."""
    return self.tokenizer.vocabulary if self.tokenizer else None

  @property
  def encoding(self) -> dict[str, Any]:
    """How what a model reads was made into numbers: sets that one model reads have the same. {} for images."""
    found = {'tokenizer': self.tokenizer.digest} if self.tokenizer else {}
    return {**found, **(self.examples.encoding if isinstance(self.examples, Arrays) else {})}

  @property
  def index(self) -> np.ndarray:
    """The global index of each position, i64[n]."""
    return np.arange(len(self)) if self.rows is None else self.rows

  def column(self, name: str) -> np.ndarray:
    """What `beside` has, by global index."""
    found = self.beside[name]
    return found() if callable(found) else found

  @functools.cached_property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, without reading an example; None without labels."""
    if not self.labeled:
      return None
    label = self.column('label')
    return label if self.rows is None else label[self.rows]

  def read(self, positions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Positions i64[b] -> the arrays of `batch` for these very examples, and bool[b]: which could be read.

    Raises:
      BadRecordsError: more are broken than `bad` allows.
    """
    positions = np.asarray(positions)
    index = positions.astype(np.int64) if self.rows is None else self.rows[positions]
    batch, broken = self.examples.read(index)
    self._count(index, broken, len(index))
    good = np.ones(len(index), bool)
    good[list(broken)] = False
    return self._complete(batch, index), good

  def batch(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'image': u8[b, h, w, c], 'index': i32[b]} and what stands beside, such as 'label' i32[b].

    A broken example is replaced by the next one of this source that can be read, position (p + 1) % n and so on, with
    all that stands beside that one; so the position in a stream stays exact.

    Raises:
      BadRecordsError: more are broken than `bad` allows, or LONGEST_RUN in a row.
    """
    batch, good = self.read(positions)
    for place in np.flatnonzero(~good):
      for key, value in self._next(int(positions[place])).items():
        batch[key][place] = value[0]
    return batch

  def _next(self, position: int) -> dict[str, np.ndarray]:
    """The batch of one of the first example behind a broken one that can be read."""
    n = len(self)
    for offset in range(1, min(n, LONGEST_RUN)):
      index = np.array([(position + offset) % n])
      index = index if self.rows is None else self.rows[index]
      batch, broken = self.examples.read(index)
      self._count(index, broken, 0)
      if not broken:
        return self._complete(batch, index)
    count = f'all {n}' if n <= LONGEST_RUN else f'{LONGEST_RUN} in a row of the {n}'
    raise BadRecordsError(f'{count} examples of {self.origin} are broken, such as '
                          f'{self.examples.file(int(position if self.rows is None else self.rows[position]))}')

  def _complete(self, batch: dict[str, np.ndarray], index: np.ndarray) -> dict[str, np.ndarray]:
    beside = {name: _plain(self.column(name)[index]) for name in self.beside}
    return {**batch, 'index': index.astype(np.int32), **beside}

  def _count(self, index: np.ndarray, broken: dict[int, str], drawn: int) -> None:
    self.bad.count([(int(index[place]), self.examples.file(int(index[place])), why) for place, why in broken.items()],
                   drawn)

  def truth(self, every: str = '') -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels i32[n] by position and the names of the classes, of a source that has them.

    Args:
      every: why each example has to have one; '': those without, -1, are fine.
    Raises:
      ValueError: no labels, or none of some example.
    """
    if self.labels is None or self.classes is None:
      raise ValueError(f'{self.origin} has no labels, and labels are needed here; a folder has them when its images '
                       'lie in one folder per class')
    if every and (missing := int((self.labels < 0).sum())):
      raise ValueError(f'{self.origin}: {missing} of its {len(self)} examples are of no class (label -1), the first is '
                       f'number {int(np.argmax(self.labels < 0))}; each needs one, as {every}')
    return self.labels, self.classes

  def take(self, positions: Sequence[int] | np.ndarray) -> 'Source':
    """The source of these positions i64[k], perhaps some several times; 'index' stays the one in the whole set."""
    return dataclasses.replace(self, rows=self.index[np.asarray(positions, np.int64)])

  def unlabeled(self) -> 'Source':
    """The examples alone: no label, no class, no text beside an image, which may say the class."""
    texts = isinstance(self.examples, Arrays) and 'tokens' in self.examples.columns
    return dataclasses.replace(self, beside={}, classes=None, tokenizer=self.tokenizer if texts else None)

  def relabeled(self, label: np.ndarray, classes: tuple[str, ...] | None, origin: str, **more: np.ndarray) -> 'Source':
    """The same examples with other labels: i32[n] by position, and more arrays [n, ...] that stand beside.

    Raises:
      ValueError: an example that is there several times would have several labels, or soft labels of the classes before
        would be left.
    """
    if 'probabilities' in self.beside and 'probabilities' not in more:
      raise ValueError(f'{origin}: {self.origin} has probabilities of its classes, which are not those of the new '
                       'labels: change the labels before soft labels are made')
    beside = dict(self.beside)
    for name, values in dict(label=label, **more).items():
      values = np.asarray(values)
      column = np.full((len(self.examples), *values.shape[1:]), -1 if name == 'label' else 0, values.dtype)
      column[self.index] = values
      if not np.array_equal(column[self.index], values):
        raise ValueError(f'{origin}: {self.origin} has examples several times, which would get several labels: change '
                         'the labels before examples are repeated')
      beside[name] = column
    return dataclasses.replace(self, beside=beside, classes=classes, origin=origin)


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
  """`Examples` in memory; a batch is one gather.

  Args:
    columns: {'image': u8[n, h, w, c], 'tokens': u16 or i32[n, l], or 'row': f32[n, f]}: one of them.
    where: words for one example, before its number.
    checksum: of the arrays, where the file holds one; else they are hashed.
    encoding: see `Source.encoding`.
  """
  columns: Mapping[str, np.ndarray]
  where: str = 'arrays'
  checksum: bytes = b''
  encoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  decodes = False

  def __len__(self):
    return len(next(iter(self.columns.values())))

  @property
  def shape(self) -> tuple[int, ...]:
    return next(iter(self.columns.values())).shape[1:]

  def read(self, index):
    return {name: _plain(column[index]) for name, column in self.columns.items()}, {}

  def file(self, i):
    return f'{self.where}#{i}'

  def names(self):
    return None

  def digest(self, i):
    return b''.join(np.ascontiguousarray(column[i]).tobytes() for column in self.columns.values())

  def whole(self):
    if self.checksum:
      return self.checksum
    found = hashlib.blake2b()
    for column in self.columns.values():
      found.update(np.ascontiguousarray(column).data)
    return found.digest()


def images(image, label=None, classes: Sequence[str] | None = None, origin: str = 'arrays', checksum: bytes = b''
           ) -> Source:
  """A source of images in memory.

    images(np.zeros((10, 28, 28), np.uint8), np.arange(10) % 2, ('cat', 'dog'))

  Args:
    image: u8[n, h, w, c] or u8[n, h, w].
    label: [n], see `data.classes.read_labels`; None: no labels.
    classes: names of the classes.
    origin: words for messages.
    checksum: of the arrays, where it is known.
  Raises:
    ValueError: images of another dtype or rank, labels of another length or that are none of the classes.
  """
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim not in (3, 4):
    raise ValueError(f'{origin}: wanted images u8[n, h, w] or u8[n, h, w, c], got {image.dtype}{image.shape}')
  found = Arrays({'image': image if image.ndim == 4 else image[..., None]}, origin, checksum)
  if label is None:
    return Source(found, origin)
  numbers, names = read_labels(label, f'{origin}: label', classes)
  return Source(found, origin, {'label': numbers}, names)


def _plain(column: np.ndarray) -> np.ndarray:
  """As batches have it: pixels u8, other whole numbers i32, the rest as it is."""
  return column.astype(np.int32) if column.dtype.kind in 'iu' and column.dtype.itemsize != 1 else column
