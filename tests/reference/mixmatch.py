"""MixMatch: sharpening, MixUp, loss."""

import math

import numpy as np

from .supervised import log_softmax, soft_cross_entropy


def sharpen(row, temperature):
  """p_i^(1/T) / sum_j p_j^(1/T), arXiv:1905.02249v2 eq. 7: [k] -> float64 [k]."""
  powers = [float(p) ** (1 / temperature) for p in row]
  return np.array([p / sum(powers) for p in powers])


def mixup(x, order, share):
  """share_i x_i + (1 - share_i) x_order(i), arXiv:1905.02249v2 eq. 8 to 11: [n, ...], int [n], [n] -> float64."""
  x = np.asarray(x, np.float64)
  return np.stack([share[i] * x[i] + (1 - share[i]) * x[order[i]] for i in range(len(x))])


def mixmatch(labeled, target, unlabeled, guess, unlabeled_weight):
  """L_X + lambda_U L_U, arXiv:1905.02249v2 eq. 3 to 5.

  Args:
    labeled, target: [b, k] logits, probabilities.
    unlabeled, guess: [n, k] logits, probabilities.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = soft_cross_entropy(target, labeled).mean()
  total = 0.0
  for row, q in zip(unlabeled, guess, strict=True):
    logs = log_softmax(row)
    for c in range(len(logs)):
      total += (float(q[c]) - math.exp(logs[c])) ** 2
  consistency = total / (len(unlabeled) * len(unlabeled[0]))  # L |U'|
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}
