"""VideoMAE's cubes, targets and loss."""
import math

import numpy as np


def cubes(clip, size, length):
  """Cubes of one clip [t, h, w, c], by time, row and column: a list of float64 [length, size, size, c]."""
  t, h, w, _ = clip.shape
  return [np.asarray(clip[k:k + length, i:i + size, j:j + size], np.float64)
          for k in range(0, t, length) for i in range(0, h, size) for j in range(0, w, size)]


def targets(clip, size, length):
  """Each cube with every channel on its own minus its mean over its unbiased deviation + 1e-6, flat: float64 [n, p].

  arXiv:2203.12602v3, section 3.2 (normalised pixels). Of the authors' code (MCG-NJU/VideoMAE,
  engine_for_pretraining.py, lines 41 to 48): by channel, of pixels in [0, 1], the 1e-6 outside of the root.
  """
  result = []
  for cube in cubes(clip, size, length):
    made = np.zeros_like(cube)
    for c in range(cube.shape[-1]):
      values = [float(x) for x in cube[..., c].reshape(-1)]
      mean = sum(values) / len(values)
      variance = sum((x - mean) ** 2 for x in values) / (len(values) - 1)
      made[..., c] = (cube[..., c] - mean) / (math.sqrt(variance) + 1e-6)
    result.append(made.reshape(-1))
  return np.array(result)
