"""AdaMatch's distribution alignment and loss."""

import math

import numpy as np

from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def align(probabilities, target, average):
  """Each row times target / average, divided by its sum, arXiv:2106.04732v2 section 3 ('distribution alignment').

  1e-6 is added to target and average, as in the authors' code.

  Args:
    probabilities: [u, k].
    target, average: [k].

  Returns:
    float64 [u, k].
  """
  result = []
  for row in probabilities:
    scaled = [float(row[c]) * (float(target[c]) + 1e-6) / (float(average[c]) + 1e-6) for c in range(len(row))]
    result.append([value / sum(scaled) for value in scaled])
  return np.array(result)


def adamatch(labeled, labeled_strong, label, weak, strong, threshold, labeled_average, unlabeled_average,
             unlabeled_weight):
  """L_source + unlabeled_weight L_target, arXiv:2106.04732v2 section 3.

  The pseudo-labels are of the aligned probabilities, and count where the largest reaches the relative threshold:
  `threshold` times the mean confidence of the labeled weak views. L_source is the mean of both views' cross-entropies,
  as in the authors' code.

  Args:
    labeled, labeled_strong: [b, k] logits, already interpolated.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold: float, the paper's tau.
    labeled_average, unlabeled_average: [k], mean probabilities of weak views.
    unlabeled_weight: float, the paper's mu.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio', 'relative_threshold'}), floats.
  """
  supervised = (supervised_mean(labeled, label) + supervised_mean(labeled_strong, label)) / 2
  confidence = 0.0
  for row in labeled:
    confidence += math.exp(max(log_softmax(row))) / len(labeled)
  aligned = align([np.exp(log_softmax(row)) for row in weak], labeled_average, unlabeled_average)
  consistency, used = 0.0, 0
  for q, row in zip(aligned, strong, strict=True):
    if max(q) >= threshold * confidence:
      used += 1
      consistency += -log_softmax(row)[largest(q)] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': used / len(weak),
           'relative_threshold': threshold * confidence}
  return supervised + unlabeled_weight * consistency, terms
