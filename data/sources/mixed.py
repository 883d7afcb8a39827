"""A source with images that belong to none of its classes."""
import numpy as np

from data.opened import opened
from data.shuffle import permutation
from data.wrap import Mixed


def mixed(*, source: dict, others: dict, share: float, seed: int) -> Mixed:
  """All images of a source, and behind them images of another, out of its distribution, that make `share` of the whole.

  Their label is -1, of no class: few_labels never chooses them, and training on them with labels is refused.

  Args:
    source, others: of data/sources; images of one shape.
    share: in [0, 1), of the foreign images in the whole, rounded.
    seed: of the draw of others, without replacement.
  Raises:
    ValueError: a share out of range, too few others, images of another shape.
  """
  mine, foreign = opened(source, 'source.source'), opened(others, 'source.others')
  if not 0 <= share < 1:
    raise ValueError(f'share: wanted at least 0 and less than 1, got {share}')
  count = round(share / (1 - share) * len(mine))
  if count > len(foreign):
    raise ValueError(f'share: {share} beside {len(mine)} images wants {count} others, {foreign.origin} has '
                     f'{len(foreign)}')
  drawn = np.sort(permutation(len(foreign), seed)[:count])
  return Mixed((mine, foreign.unlabeled().take(drawn)), f'{mine.origin} with {count} of {foreign.origin}')
