"""VICReg's loss."""

import math

import numpy as np


def hinge(z):
  """v(Z) = 1/d sum_j max(0, 1 - sqrt(Var(z^j) + 1e-4)), arXiv:2105.04906v3 eq. 1 and 2; the variance is unbiased."""
  b, d = z.shape
  total = 0.0
  for j in range(d):
    mean = sum(z[:, j]) / b
    variance = sum((value - mean) ** 2 for value in z[:, j]) / (b - 1)
    total += max(0.0, 1 - math.sqrt(variance + 1e-4)) / d
  return total


def off_diagonal(z):
  """c(Z) = 1/d sum_{i != j} C(Z)_ij^2 with C(Z) = 1/(b-1) sum_n (z_n - mean)(z_n - mean)^T, eq. 3 and 4."""
  b, d = z.shape
  centered = z - sum(z) / b
  total = 0.0
  for i in range(d):
    for j in range(d):
      if i != j:
        total += (sum(centered[n, i] * centered[n, j] for n in range(b)) / (b - 1)) ** 2 / d
  return total


def vicreg(z1, z2, invariance, variance, covariance):
  """invariance s + variance v + covariance c, arXiv:2105.04906v3 eq. 5 and 6 in the authors' units.

  In their code, whose weights 25, 25, 1 the paper reports, s is also divided by d (a mean of squares over batch and
  features; eq. 5 divides by b alone) and v is the mean of both views' hinges (eq. 6 adds them); c adds both views.

  Args:
    z1, z2: [b, d].
    invariance, variance, covariance: floats, the weights.

  Returns:
    (loss, {'invariance': s, 'variance': v, 'covariance': c}), floats.
  """
  z1, z2 = np.asarray(z1, np.float64), np.asarray(z2, np.float64)
  b, d = z1.shape
  s = 0.0
  for n in range(b):
    for j in range(d):
      s += (z1[n, j] - z2[n, j]) ** 2 / (b * d)
  v = hinge(z1) / 2 + hinge(z2) / 2
  c = off_diagonal(z1) + off_diagonal(z2)
  loss = invariance * s + variance * v + covariance * c
  return loss, {'invariance': s, 'variance': v, 'covariance': c}
