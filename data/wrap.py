"""Sources from sources: a subset, a few labels a class, no labels at all."""
import numpy as np

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


def few_labels(source, *, per_class: int, seed: int):
  """A class-balanced subset of `per_class` examples of every class, drawn by `seed`; positions ascending.

  Draws are nested: the 4 of a class are among its 25 with the same seed.

  Raises:
    ValueError: no labels, or a class with fewer examples.
  """
  labels = require_labels(source)
  order = permutation(len(labels), seed)
  count = len(source.classes) if source.classes else int(labels.max()) + 1
  chosen = []
  for c in range(count):
    mine = order[labels[order] == c]
    if len(mine) < per_class:
      name = source.classes[c] if source.classes else c
      raise ValueError(f'class {name!r} has {len(mine)} examples, wanted per_class={per_class}')
    chosen.append(mine[:per_class])
  return source.take(np.sort(np.concatenate(chosen)))
