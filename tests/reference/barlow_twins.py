"""Barlow Twins' loss."""

import math

import numpy as np


def standardize(z):
  """Each column less its mean, over the square root of its biased variance + 1e-5: batch normalisation, [b, d]."""
  z = np.asarray(z, np.float64)
  b, d = z.shape
  result = np.zeros_like(z)
  for i in range(d):
    mean = sum(z[:, i]) / b
    variance = sum((value - mean) ** 2 for value in z[:, i]) / b
    result[:, i] = (z[:, i] - mean) / math.sqrt(variance + 1e-5)
  return result


def barlow_twins(z1, z2, weight):
  """sum_i (1 - C_ii)^2 + weight sum_i sum_{j != i} C_ij^2, arXiv:2103.03230v3 eq. 1, with C of eq. 2 and algorithm 1.

  C_ij is the correlation over the batch of feature i of the first view with feature j of the second. As in the authors'
  code the features pass a batch normalisation without scale and shift (biased variance, epsilon 1e-5).

  Args:
    z1, z2: [b, d], not normalised.
    weight: float, the paper's lambda.

  Returns:
    float.
  """
  z1, z2 = standardize(z1), standardize(z2)
  b, d = z1.shape
  total = 0.0
  for i in range(d):
    for j in range(d):
      correlation = 0.0
      for n in range(b):
        correlation += z1[n, i] * z2[n, j] / b
      total += (1 - correlation) ** 2 if i == j else weight * correlation ** 2
  return total
