"""The Pi-model's loss."""

import math

from .pseudo_label import supervised_mean
from .supervised import log_softmax


def pi_model(labeled, label, first, second, unlabeled_weight):
  """Cross-entropy + w(t) / (C |B|) sum |z - z~|^2, arXiv:1610.02242v3 algorithm 1.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    first, second: [n, k] logits; both move.
    unlabeled_weight: float, w(t).

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  total = 0.0
  for x, y in zip(first, second, strict=True):
    for p, q in zip(log_softmax(x), log_softmax(y), strict=True):
      total += (math.exp(p) - math.exp(q)) ** 2
  consistency = total / (len(first) * len(first[0]))
  supervised = supervised_mean(labeled, label)
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}
