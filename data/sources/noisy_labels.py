"""A source some of whose labels are wrong."""
import numpy as np

from data.opened import opened
from data.shuffle import permutation
from data.source import Source
from pretrain.config import Seed, Share


def noisy_labels(*, source: dict, rate: Share, seed: Seed) -> Source:
  """A labeled source in which round(rate n) labels are wrong, each any of the other classes (symmetric noise).

  Args:
    source: of data/sources.
    rate: in [0, 1], of the labels that are changed; a label is never replaced by itself.
    seed: of the draw; the wrong ones of a lower rate are wrong in the same way at a higher one.
  Raises:
    ValueError: no labels, or none of some example, fewer than two classes.
  """
  images = opened(source, 'source.source')
  labels, classes = images.truth(every='a wrong one replaces it')
  labels, count = labels.copy(), len(classes)
  if count < 2:
    raise ValueError(f'noisy_labels: wanted at least two classes, got {count}')
  wrong = permutation(len(labels), seed)[:round(rate * len(labels))]
  shift = np.random.Philox(np.random.SeedSequence((seed, 1))).random_raw(len(labels)) % (count - 1) + 1
  labels[wrong] = (labels[wrong] + shift[wrong].astype(np.int32)) % count
  return images.relabeled(labels, classes, f'{images.origin} with {rate} of wrong labels')
