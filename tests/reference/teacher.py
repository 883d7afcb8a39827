"""The moving average of a teacher and the schedule of its momentum."""

import math

import numpy as np


def ema(old, new, momentum):
  """momentum * old + (1 - momentum) * new, leaf by leaf of nested dicts of arrays (arXiv:2104.14294v2 algorithm 1)."""
  if isinstance(old, dict):
    return {name: ema(old[name], new[name], momentum) for name in old}
  return momentum * np.asarray(old, np.float64) + (1 - momentum) * np.asarray(new, np.float64)


def cosine(step, start, end, steps):
  """Half a cosine from `start` at step 0 to `end` at `steps` (no step past it): BYOL's and DINO's momentum.

  end - (end - start) (cos(pi step / steps) + 1) / 2: arXiv:2006.07733v3 section 3.3 with end = 1; arXiv:2104.14294v2
  section 3.1, 'following a cosine schedule from 0.996 to 1'.
  """
  return end - (end - start) * (math.cos(math.pi * step / steps) + 1) / 2
