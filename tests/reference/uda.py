"""Unsupervised data augmentation's loss."""

import math

import numpy as np

from .supervised import log_softmax, supervised_mean


def uda(labeled, label, weak, strong, threshold, temperature, unlabeled_weight):
  """Cross-entropy + lambda times the masked KL divergence, arXiv:1904.12848v6 section 2 ('training techniques').

  Rows whose largest probability, not sharpened, reaches the threshold count KL(softmax(weak / temperature) ||
  softmax(strong)); the sum is divided by the number of all rows. The paper and the authors' code have > instead of
  >=, which differ where the two are equal.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits of the original and of the augmented image; the weak ones are constants.
    threshold: float, the paper's beta.
    temperature: float, the paper's tau.
    unlabeled_weight: float, the paper's lambda.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  consistency, used = 0.0, 0
  for weak_row, strong_row in zip(weak, strong, strict=True):
    if math.exp(max(log_softmax(weak_row))) < threshold:
      continue
    used += 1
    log_p = log_softmax(np.asarray(weak_row, np.float64) / temperature)
    log_q = log_softmax(strong_row)
    for c in range(len(log_p)):
      consistency += math.exp(log_p[c]) * (log_p[c] - log_q[c]) / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': used / len(weak)}
  return supervised + unlabeled_weight * consistency, terms
