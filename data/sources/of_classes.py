"""A source of some of another's classes."""
import numpy as np

from data.names import known
from data.opened import opened
from data.source import Source


def of_classes(*, source: dict, classes: tuple[str, ...]) -> Source:
  """The images of some classes of a labeled source; their labels count those that are named.

  With `mixed` of the classes that are left this is the usual mismatch of labeled and unlabeled images (1804.09170v4).

  Args:
    source: of data/sources.
    classes: names, in the order of the new labels.
  Raises:
    ValueError: no labels, an unknown class, none or one twice.
  """
  images = opened(source, 'source.source')
  labels, names = images.truth()
  if not classes or len(set(classes)) < len(classes):
    raise ValueError(f'of_classes: wanted names of classes, each once, got {classes}; {images.origin} has '
                     f'{names}')
  for name in classes:
    known(f'class of {images.origin}', name, names)
  numbers = np.full(len(names), -1, np.int32)  # the new label of each old one
  numbers[[names.index(name) for name in classes]] = np.arange(len(classes))
  label = np.where(labels < 0, -1, numbers[labels])
  chosen = np.flatnonzero(label >= 0)
  return images.take(chosen).relabeled(label[chosen], tuple(classes), f'{", ".join(classes)} of {images.origin}')
