"""Sharpened probabilities, and MixUp."""

import numpy as np


def sharpen(row, temperature):
  """p_i^(1/T) / sum_j p_j^(1/T), arXiv:1905.02249v2 eq. 7: [k] -> float64 [k]."""
  powers = [float(p) ** (1 / temperature) for p in row]
  return np.array([p / sum(powers) for p in powers])


def mixup(x, order, share):
  """share_i x_i + (1 - share_i) x_order(i), arXiv:1905.02249v2 eq. 8 to 11: [n, ...], int [n], [n] -> float64."""
  x = np.asarray(x, np.float64)
  return np.stack([share[i] * x[i] + (1 - share[i]) * x[order[i]] for i in range(len(x))])
