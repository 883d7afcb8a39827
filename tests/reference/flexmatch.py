"""The cross-entropy of confident pseudo-labels, by thresholds of the classes."""

import math

import numpy as np

from .supervised import largest, log_softmax


def masked_cross_entropy(weak, strong, thresholds):
  """Mean over all rows of the pseudo-label's cross-entropy where confident by its class's threshold, and those rows.

  arXiv:2110.08263v3 section 3.1 (>= as in the authors' code): [u, k], [u, k], [k] -> (float, bool [u]).
  """
  total, use = 0.0, []
  for weak_row, strong_row in zip(weak, strong, strict=True):
    logs = log_softmax(weak_row)
    pseudo = largest(logs)
    use.append(math.exp(logs[pseudo]) >= thresholds[pseudo])
    if use[-1]:
      total += -log_softmax(strong_row)[pseudo]
  return total / len(weak), np.array(use)
