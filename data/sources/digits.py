"""Scikit-learn's 8x8 digits."""
import numpy as np

from data.names import known
from data.source import Source, images

TRAIN = 1437  # of 1,797, in the file's order: four fifths, and other people wrote most of the rest


def digits(*, split: str) -> Source:
  """Handwritten digits u8[8, 8, 1] of 10 classes: 1,437 (train) or 360 (test), scaled from 0..16 to 0..255.

  Args:
    split: 'train' or 'test'; the set has no official split, so this is the first 80% and the rest.
  Raises:
    ValueError: another split.
  """
  from sklearn.datasets import load_digits
  known('split of digits', split, ('train', 'test'))
  part = slice(None, TRAIN) if split == 'train' else slice(TRAIN, None)
  pixels, labels = load_digits(return_X_y=True)
  image = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
  return images(image[part], np.asarray(labels)[part], tuple('0123456789'), f'{split} of digits')
