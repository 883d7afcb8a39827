"""Directions of vectors."""

import math

import numpy as np


def unit(rows):
  """Each row divided by its Euclidean length: [..., d] -> float64 [..., d]; no row may be zero."""
  rows = np.asarray(rows, np.float64)
  result = np.zeros_like(rows)
  for position in np.ndindex(*rows.shape[:-1]):
    result[position] = rows[position] / math.sqrt(sum(value * value for value in rows[position]))
  return result
