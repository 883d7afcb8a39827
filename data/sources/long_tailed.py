"""A source in which classes are rarer and rarer."""
from typing import Annotated

from data import wrap
from data.opened import opened
from pretrain.config import Count, Range, Seed


def long_tailed(*, source: dict, ratio: Annotated[float, Range(1)], largest: Count | None = None, seed: Seed):
  """A long-tailed subset of a labeled source, see `data.wrap.long_tailed`.

  Args:
    source: of data/sources.
    ratio: >= 1, of the first class's number of examples to the last one's.
    largest: examples of the first class; None: as many as the smallest class has.
    seed: of the draw.
  Raises:
    ValueError: no labels, a ratio below 1, too few examples of a class.
  """
  return wrap.long_tailed(opened(source, 'source.source'), ratio=ratio, largest=largest, seed=seed)
