"""The embedded subset of Fashion-MNIST."""
import dataclasses
from pathlib import Path

from data.source import Source
from data.sources.arrays import arrays

CLASSES = ('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot')


def fashion_mnist(*, split: str) -> Source:
  """10,000 (train) or 2,000 (test) images u8[28, 28, 1] of 10 balanced classes, a subset of arXiv:1708.07747.

  `data/fashion_mnist/README.md` says which; for the whole set, convert it to a folder or an archive.

  Args:
    split: 'train' or 'test'.
  Raises:
    ValueError: another split.
  """
  source = arrays(path=str(Path(__file__).parents[1] / 'fashion_mnist'), split=split, classes=CLASSES)
  return dataclasses.replace(source, origin=f'{split} of fashion_mnist')
