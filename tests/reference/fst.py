"""The loss of future self-training's student."""

import math

from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def fst(labeled, label, teacher, strong, threshold, unlabeled_weight):
  """Cross-entropy + weight times the confident share times the mean cross-entropy, arXiv:2209.06993v2 section 3.

  The share is the authors' code's (of pixels there, of images here).

  Args:
    labeled, label: [b, k] logits, int [b].
    teacher, strong: [u, k] logits; the teacher's are constants.
    threshold, unlabeled_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  total, used = 0.0, 0
  for teacher_row, strong_row in zip(teacher, strong, strict=True):
    pseudo = largest(teacher_row)
    used += math.exp(log_softmax(teacher_row)[pseudo]) >= threshold
    total -= log_softmax(strong_row)[pseudo] / len(teacher)
  share = used / len(teacher)
  terms = {'supervised': supervised, 'consistency': share * total, 'use_ratio': share}
  return supervised + unlabeled_weight * share * total, terms
