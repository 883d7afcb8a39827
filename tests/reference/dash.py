"""Dash's threshold and loss."""

import math

import numpy as np

from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def dash_threshold(start, step, constant, base, lowest, every_steps):
  """C gamma^-(t - 1) rho^, t - 1 = 0, 1, ... every so many steps, not below the lowest: arXiv:2109.00650v1 alg. 1."""
  threshold = constant * start
  for _ in range(every_steps, step + 1, every_steps):
    threshold /= base
  return max(threshold, lowest)


def dash(labeled, label, weak, strong, threshold, temperature, hard, unlabeled_weight):
  """L_s + weight times the mean over all rows of the losses of those whose loss in the weak view is <= threshold.

  arXiv:2109.00650v1 section 3; the target is the pseudo-label or softmax(weak / temperature).

  Args:
    labeled, label: [b, k] logits, int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold, temperature, unlabeled_weight: floats.
    hard: bool.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  consistency, used = 0.0, 0
  for weak_row, strong_row in zip(weak, strong, strict=True):
    pseudo, logs = largest(weak_row), log_softmax(strong_row)
    if -log_softmax(weak_row)[pseudo] > threshold:
      continue
    used += 1
    soft = log_softmax(np.asarray(weak_row, np.float64) / temperature)
    for c in range(len(logs)):
      consistency -= (float(c == pseudo) if hard else math.exp(soft[c])) * logs[c] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': used / len(weak)}
  return supervised + unlabeled_weight * consistency, terms
