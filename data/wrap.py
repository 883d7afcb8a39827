"""Sources from sources: a subset, a few labels a class, no labels at all, other labels, foreign images."""
import dataclasses

import numpy as np

from data import splits
from data.shuffle import permutation


def unlabeled(source):
  """The same images without labels: 'label' is absent from every item and batch, `labels` and `classes` are None."""
  return source.unlabeled()


def subset(source, indices):
  """The examples at `indices` (positions i64[k] in `source`); their 'index' stays the one in the whole set.

  Raises:
    ValueError: no index, or one outside the source.
  """
  indices = np.asarray(indices)
  if not len(indices):
    raise ValueError('a subset needs at least one index, got none')
  if indices.min() < 0 or indices.max() >= len(source):
    raise ValueError(f'subset of a source of {len(source)} examples: wanted indices in [0, {len(source)}), '
                     f'got {indices.min()}..{indices.max()}')
  return source.take(indices)


def require_labels(source) -> np.ndarray:
  """Labels i32[n] of a source.

  Raises:
    ValueError: it has none.
  """
  labels = source.labels
  if labels is None:
    raise ValueError(f'{getattr(source, "origin", "the source")} has no labels, and labels are needed here; a folder '
                     'has them when its images lie in one folder per class')
  return labels


def few_labels(source, *, per_class: int | None = None, count: int | None = None, seed: int | None = None,
               split: str | None = None, balanced: bool = False):
  """A subset with labels: so many of each class, so many of all as they come, or those of a file; positions ascending.

  Draws are nested: the 4 of a class are among its 25 with the same seed, the first 100 of all among the first 1,000.

  Args:
    per_class: examples of every class, drawn by `seed`.
    count: examples in all, drawn by `seed` without a look at their classes: as frequent as they are.
    split: a file of `python -m data split`, of this very set.
    balanced: examples of rarer classes come several times, until every class is as frequent as the most frequent one;
      with none of the three above, all examples that have a class.
  Raises:
    FileNotFoundError, ValueError: no labels, not one way to choose, a class with too few examples or none, a split of
      another set.
  """
  labels = require_labels(source)
  ways = {name: value for name, value in dict(per_class=per_class, count=count, split=split).items()
          if value is not None}
  if len(ways) > 1 or not (ways or balanced) or (seed is None) != (per_class is count is None):
    raise ValueError(f'labels: wanted one of per_class or count, with a seed, or split, got {ways} and seed={seed}')
  names = source.classes or range(int(labels.max()) + 1)
  if per_class is not None:
    chosen = _of_each_class(labels, names, per_class, permutation(len(labels), seed))
  elif count is not None:
    order = permutation(len(labels), seed)
    order = order[labels[order] >= 0]
    if not 1 <= count <= len(order):
      raise ValueError(f'{source.origin} has {len(order)} examples with labels, wanted count={count}')
    chosen = order[:count]
  elif split is not None:
    found = splits.read(split)
    if found['data'] != (here := identity(source)):
      raise ValueError(f'{split} is a split of {found["examples"]} examples, {found["source"]!r} ({found["data"]}); '
                       f'the source is {source.origin!r} with {len(source)} ({here})')
    chosen = places(indices(source), found['indices'], source.origin)
  else:
    chosen = np.flatnonzero(labels >= 0)
  each = [chosen[labels[chosen] == c] for c in range(len(names))]
  if missing := [str(name) for name, rows in zip(names, each, strict=True) if not len(rows)]:
    raise ValueError(f'{source.origin}: of the classes {missing} no example is among the {len(chosen)} with labels')
  if balanced:
    chosen = np.concatenate([np.resize(rows, max(map(len, each))) for rows in each])
  return source.take(np.sort(chosen))


def _of_each_class(labels: np.ndarray, names, per_class: int, order: np.ndarray) -> np.ndarray:
  chosen = []
  for c, name in enumerate(names):
    mine = order[labels[order] == c]
    if not 1 <= per_class <= len(mine):
      raise ValueError(f'class {name!r} has {len(mine)} examples, wanted per_class={per_class}')
    chosen.append(mine[:per_class])
  return np.concatenate(chosen)


def identity(source) -> str:
  """`splits.identity` of a labeled source."""
  return splits.identity(indices(source), require_labels(source), source.classes)


def indices(source) -> np.ndarray:
  """The global index of each position, i64[n], without reading an image."""
  return np.arange(len(source)) if source.rows is None else np.asarray(source.rows)


def places(index: np.ndarray, wanted: np.ndarray, origin: str) -> np.ndarray:
  """Where the global indices `wanted` stand in `index`; ValueError, which counts them, if some are lacking."""
  order = np.argsort(index, kind='stable')
  rows = order[np.minimum(np.searchsorted(index[order], wanted), len(order) - 1)]
  if len(missing := wanted[index[rows] != wanted]):
    raise ValueError(f'{origin} lacks {len(missing)} of the {len(wanted)} examples, such as those of index '
                     f'{missing[:5].tolist()}')
  return rows


def long_tailed(source, *, ratio: float, largest: int | None = None, seed: int):
  """A subset with exponentially fewer examples of each next class: largest * ratio^(-c / (k - 1)) of class c, floored.

  arXiv:1901.05555v1, section 5 (CIFAR long-tailed). Draws are nested in `largest` and `ratio`.

  Args:
    ratio: >= 1, of the first class's number to the last one's.
    largest: examples of the first class; None: as many as the smallest class has.
    seed: of the draw.
  Raises:
    ValueError: no labels, fewer than two classes, a ratio below 1, or a class with too few examples.
  """
  labels = require_labels(source)
  count = len(source.classes) if source.classes else int(labels.max()) + 1
  available = np.bincount(labels[labels >= 0], minlength=count)
  largest = int(available.min()) if largest is None else largest
  if ratio < 1 or largest < 1 or count < 2:
    raise ValueError(f'long_tailed: wanted a ratio and a largest of at least 1 and two classes, got ratio={ratio}, '
                     f'largest={largest}, {count} classes')
  wanted = np.floor(largest * ratio ** (-np.arange(count) / (count - 1)) + 1e-9).astype(int)
  order = permutation(len(labels), seed)
  for c in range(count):
    if not 1 <= wanted[c] <= available[c]:
      raise ValueError(f'long_tailed: class {source.classes[c] if source.classes else c} has {available[c]} examples, '
                       f'wanted {wanted[c]}; all classes: {wanted.tolist()}')
  chosen = [order[labels[order] == c][:wanted[c]] for c in range(count)]
  return source.take(np.sort(np.concatenate(chosen)))


@dataclasses.dataclass(frozen=True, eq=False)
class Relabeled:
  """A source with labels, and perhaps more, that are not its own.

  Args:
    sources: (the images', without labels,).
    index: i64[m] global indices, ascending.
    columns: what batches hold of the example with index[j]: 'label' i32[m] and, say, 'weight' f32[m].
    classes: names of the classes.
    origin: words for messages.
  """
  sources: tuple
  index: np.ndarray
  columns: dict[str, np.ndarray]
  classes: tuple[str, ...] | None
  origin: str
  captions = None

  def __len__(self):
    return len(self.sources[0])

  def __getitem__(self, i):
    return item(self, i)

  @property
  def rows(self) -> np.ndarray | None:
    return self.sources[0].rows

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.sources[0].shape

  @property
  def labels(self) -> np.ndarray:
    """Labels i32[n] by position."""
    return self.columns['label'][np.searchsorted(self.index, indices(self))]

  def batch(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """As the images' source; a neighbour in place of a broken image comes with the neighbour's label."""
    batch = self.sources[0].batch(positions)
    rows = np.searchsorted(self.index, batch['index'])
    return batch | {name: column[rows] for name, column in self.columns.items()}

  def take(self, positions: np.ndarray) -> 'Relabeled':
    return dataclasses.replace(self, sources=(self.sources[0].take(positions),))

  def unlabeled(self):
    """The images alone."""
    return self.sources[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Mixed:
  """The examples of several sources of images of one shape, one after the other; 'index' is the place among them all.

  Args:
    sources: the first one's labels and classes count, those of the others are -1: of no class.
    origin: words for messages.
    rows: i64[n] which, in order; None: all.
  Raises:
    ValueError: the shapes differ.
  """
  sources: tuple
  origin: str
  rows: np.ndarray | None = None
  captions = None

  def __post_init__(self):
    if len(shapes := {source.shape for source in self.sources}) > 1:
      raise ValueError(f'{self.origin}: wanted images of one shape, got {sorted(shapes)}')

  def __len__(self):
    return sum(map(len, self.sources)) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    return item(self, i)

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.sources[0].shape

  @property
  def classes(self) -> tuple[str, ...] | None:
    return self.sources[0].classes

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, -1 for those of no class; None if the first source has none."""
    first = self.sources[0].labels
    if first is None:
      return None
    every = np.concatenate([first, *(np.full(len(s), -1, np.int32) for s in self.sources[1:])])
    return every if self.rows is None else every[self.rows]

  def batch(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'image', 'index'} and, if the first source has labels, 'label'."""
    rows = np.asarray(positions) if self.rows is None else self.rows[positions]
    batch = {'image': np.empty((len(rows), *self.shape), np.uint8), 'index': np.empty(len(rows), np.int32)}
    if self.sources[0].labels is not None:
      batch['label'] = np.full(len(rows), -1, np.int32)
    start = 0
    for source in self.sources:
      mine = (rows >= start) & (rows < start + len(source))
      if mine.any():
        part, places = source.batch(rows[mine] - start), rows[mine] - start
        known = indices(source)
        if (part['index'] != known[places]).any():  # a neighbour stands in for a broken image
          places = np.array([np.argmax(known == i) for i in part['index']])
        batch['image'][mine], batch['index'][mine] = part['image'], start + places
        if 'label' in batch and start == 0:
          batch['label'][mine] = part['label']
      start += len(source)
    return batch

  def take(self, positions: np.ndarray) -> 'Mixed':
    positions = np.asarray(positions, np.int64)
    return dataclasses.replace(self, rows=positions if self.rows is None else self.rows[positions])

  def unlabeled(self) -> 'Mixed':
    return dataclasses.replace(self, sources=tuple(source.unlabeled() for source in self.sources))


def item(source, i: int) -> dict:
  """source[i] by way of `batch`; raises IndexError."""
  if not -len(source) <= i < len(source):
    raise IndexError(f'{source.origin} has {len(source)} images, got index {i}')
  row = {k: v[0] for k, v in source.batch(np.array([i % len(source)])).items()}
  return row | {'index': int(row['index'])}
