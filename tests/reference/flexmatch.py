"""FlexMatch's thresholds and loss."""

import math

import numpy as np

from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def flexmatch_thresholds(selected, classes, threshold):
  """One threshold a class, arXiv:2110.08263v3 sections 3.1 to 3.3.

  sigma(c): how many examples were last confident of class c (3.1). beta(c) = sigma(c) / max(max sigma, N - sum sigma):
  examples never confident are one more class (3.2). T(c) = M(beta(c)) threshold, M(x) = x / (2 - x) (3.3).

  Args:
    selected: int [n], the class, or -1.
    classes: int, k.
    threshold: float, tau.

  Returns:
    float64 [k].
  """
  sigma = [0] * classes
  for c in selected:
    if c >= 0:
      sigma[int(c)] += 1
  unused = len(selected) - sum(sigma)
  result = []
  for c in range(classes):
    beta = sigma[c] / max(max(sigma), unused)
    result.append(threshold * beta / (2 - beta))
  return np.array(result)


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


def flexmatch(labeled, label, weak, strong, thresholds, unlabeled_weight):
  """L_s + unlabeled_weight L_u, arXiv:2110.08263v3 section 3.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    thresholds: [k].
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  consistency, use = masked_cross_entropy(weak, strong, thresholds)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(use) / len(use)}
  return supervised + unlabeled_weight * consistency, terms
