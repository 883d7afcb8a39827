"""Block-wise masking of patches, one rectangle after the other, of given draws (arXiv:2106.08254v2, algorithm 1)."""
import math

import numpy as np


def block_mask(draws, noise, rows, columns, count, *, smallest, largest=math.inf, aspect=0.3):
  """mask bool[rows * columns] with `count` hidden.

  Each of `draws` [tries, 4] in [0, 1) gives the area, the shape and the place of a rectangle; where they hide too few,
  those of the least `noise` [rows * columns] of the others join them.
  """
  hidden = set()
  for area, shape, top, left in draws:
    room = count - len(hidden)
    area = smallest + area * (min(room, largest) - smallest)
    ratio = math.exp((2 * shape - 1) * -math.log(aspect))  # log-uniform in [aspect, 1 / aspect]
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    if height >= rows or width >= columns:
      continue
    top, left = math.floor(top * (rows - height + 1)), math.floor(left * (columns - width + 1))
    block = {i * columns + j for i in range(top, top + height) for j in range(left, left + width)}
    if 0 < len(block - hidden) <= room:
      hidden |= block
  for place in np.argsort(noise):
    if len(hidden) < count:
      hidden.add(int(place))
  return np.array([i in hidden for i in range(rows * columns)])
