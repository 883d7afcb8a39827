"""The moving average of a teacher and the schedule of its momentum."""

import math

import numpy as np


def ema(old, new, momentum):
  """momentum * old + (1 - momentum) * new, leaf by leaf of nested dicts of arrays (arXiv:2104.14294v2 algorithm 1)."""
  if isinstance(old, dict):
    return {name: ema(old[name], new[name], momentum) for name in old}
  return momentum * np.asarray(old, np.float64) + (1 - momentum) * np.asarray(new, np.float64)


def temperatures(start, end, epochs, *, epoch, steps):
  """The table float64[steps] of a teacher's temperatures, by epochs of `epoch` steps; 1 is DINOv2's, by steps.

  np.linspace(start, end, epochs), then `end`: facebookresearch/dino, main_dino.py, lines 374 to 378 and 388 (the
  schedule is read at the epoch), bytedance/ibot, main_ibot.py, lines 498 to 512.
  """
  table = np.full(steps, float(end))
  for i, value in enumerate(np.linspace(start, end, epochs)):
    table[i * epoch:(i + 1) * epoch] = value
  return table


def cosine(step, start, end, steps):
  """Half a cosine from `start` at step 0 to `end` at `steps` (no step past it): BYOL's and DINO's momentum.

  end - (end - start) (cos(pi step / steps) + 1) / 2: arXiv:2006.07733v3 section 3.3 with end = 1; arXiv:2104.14294v2
  section 3.1, 'following a cosine schedule from 0.996 to 1'.
  """
  return end - (end - start) * (math.cos(math.pi * step / steps) + 1) / 2
