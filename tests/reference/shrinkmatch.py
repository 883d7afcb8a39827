"""ShrinkMatch's class space and loss."""

import math

import numpy as np

from .pseudo_label import supervised_mean
from .supervised import log_softmax


def shrunk_space(row, threshold):
  """The classes kept of one row of probabilities, and whether the first is then confident: arXiv:2308.06777v1 3.2.

  Removes the second most probable class, then the third, ..., while at least one class besides the first is left.
  """
  order = sorted(range(len(row)), key=lambda c: -float(row[c]))
  first, rest = order[0], order[1:]
  for gone in range(1, len(rest)):
    stay = rest[gone:]
    if float(row[first]) / (float(row[first]) + math.fsum(float(row[c]) for c in stay)) >= threshold:
      return sorted([first, *stay]), True
  return list(range(len(row))), False


def shrinkmatch(labeled, label, probabilities, strong, auxiliary, threshold, certain, unlabeled_weight):
  """L_x + weight (L_u + certain L_shrink), arXiv:2308.06777v1 section 3.

  Args:
    labeled, label: [b, k] logits, int [b].
    probabilities: [u, k] of the weak view, constants.
    strong, auxiliary: [u, k] logits.
    threshold, certain, unlabeled_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  u, consistency, shrunk, used, found = len(strong), 0.0, 0.0, 0, 0
  for p, strong_row, auxiliary_row in zip(probabilities, strong, auxiliary, strict=True):
    if max(p) >= threshold:
      used += 1
      consistency -= sum(float(q) * log for q, log in zip(p, log_softmax(strong_row), strict=True)) / u
      continue
    kept, reached = shrunk_space(p, threshold)
    if reached:
      found += 1
      logs = log_softmax([auxiliary_row[c] for c in kept])
      shrunk -= certain * float(max(p)) * logs[kept.index(int(np.argmax(p)))] / u
  terms = {'supervised': supervised, 'consistency': consistency, 'shrunk': shrunk, 'use_ratio': used / u,
           'shrunk_ratio': found / u}
  return supervised + unlabeled_weight * (consistency + shrunk), terms
