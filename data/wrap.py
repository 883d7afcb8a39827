"""Sources from sources: a subset, a few labels per class, a long tail."""
from typing import Annotated

import numpy as np

from data import splits
from data.shuffle import permutation
from data.source import Source
from pretrain.config import Count, Range, Seed


def subset(source: Source, indices) -> Source:
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


def few_labels(source: Source, *, per_class: Count | None = None, count: Count | None = None,
               seed: Seed | None = None, split: str | None = None, balanced: bool = False) -> Source:
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
  labels, names = source.truth()
  ways = {name: value for name, value in dict(per_class=per_class, count=count, split=split).items()
          if value is not None}
  if len(ways) > 1 or not (ways or balanced) or (seed is None) != (per_class is count is None):
    raise ValueError(f'labels: wanted one of per_class or count, with a seed, or split, got {ways} and seed={seed}')
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
    if differing := splits.differences(found, source):
      raise ValueError(f'{split} is a split of {found["examples"]} examples, {found["source"]!r}; the source is '
                       f'{source.origin!r} with {len(source)}, in which {differing} differ')
    chosen = places(source.index, found['indices'], source.origin)
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


def places(index: np.ndarray, wanted: np.ndarray, origin: str) -> np.ndarray:
  """Where the global indices `wanted` stand in `index`; ValueError, which counts them, if some are lacking."""
  order = np.argsort(index, kind='stable')
  rows = order[np.minimum(np.searchsorted(index[order], wanted), len(order) - 1)]
  if len(missing := wanted[index[rows] != wanted]):
    raise ValueError(f'{origin} lacks {len(missing)} of the {len(wanted)} examples, such as those of index '
                     f'{missing[:5].tolist()}')
  return rows


def long_tailed(source: Source, *, ratio: Annotated[float, Range(1)], largest: Count | None = None,
                seed: Seed) -> Source:
  """A subset with exponentially fewer examples of each next class: largest * ratio^(-c / (k - 1)) of class c, floored.

  arXiv:1901.05555v1, section 5 (CIFAR long-tailed). Draws are nested in `largest` and `ratio`.

  Args:
    ratio: >= 1, of the first class's number to the last one's.
    largest: examples of the first class; None: as many as the smallest class has.
    seed: of the draw.
  Raises:
    ValueError: no labels, fewer than two classes, a ratio below 1, or a class with too few examples.
  """
  labels, names = source.truth()
  count = len(names)
  available = np.bincount(labels[labels >= 0], minlength=count)
  largest = int(available.min()) if largest is None else largest
  if ratio < 1 or largest < 1 or count < 2:
    raise ValueError(f'long_tailed: wanted a ratio and a largest of at least 1 and two classes, got ratio={ratio}, '
                     f'largest={largest}, {count} classes')
  wanted = np.floor(largest * ratio ** (-np.arange(count) / (count - 1)) + 1e-9).astype(int)
  order = permutation(len(labels), seed)
  for c in range(count):
    if not 1 <= wanted[c] <= available[c]:
      raise ValueError(f'long_tailed: class {names[c]} has {available[c]} examples, '
                       f'wanted {wanted[c]}; all classes: {wanted.tolist()}')
  chosen = [order[labels[order] == c][:wanted[c]] for c in range(count)]
  return source.take(np.sort(np.concatenate(chosen)))
