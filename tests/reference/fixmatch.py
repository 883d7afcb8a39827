"""FixMatch's loss."""

import math

import numpy as np

from .supervised import log_softmax


def confident(weak_logits, threshold):
  """Pseudo-labels and which of them count: q = softmax(weak_logits), argmax q, and max q >= threshold.

  arXiv:2001.07685v2 section 2.2, eq. 4 (the indicator has >=, as the authors' code). Ties go to the lowest class.

  Args:
    weak_logits: [u, k].
    threshold: float.

  Returns:
    (pseudo, use): int [u] and bool [u].
  """
  pseudo, use = [], []
  for row in weak_logits:
    logs = log_softmax(row)
    best = 0
    for c in range(len(logs)):
      if logs[c] > logs[best]:
        best = c
    pseudo.append(best)
    use.append(math.exp(logs[best]) >= threshold)
  return np.array(pseudo), np.array(use)


def fixmatch(labeled_logits, label, weak_logits, strong_logits, threshold, unlabeled_weight):
  """l_s + unlabeled_weight l_u, arXiv:2001.07685v2 eq. 3 and 4 and the text after them.

  l_s is the mean cross-entropy of the labeled examples. l_u sums the cross-entropy between the pseudo-label and the
  prediction for the strong view over the confident examples only, but divides by the number of all unlabeled ones.

  Args:
    labeled_logits: [b, k], of weakly augmented labeled images.
    label: int [b].
    weak_logits, strong_logits: [u, k]; the weak ones are constants.
    threshold: float.
    unlabeled_weight: float, the paper's lambda_u.

  Returns:
    (loss, {'supervised': l_s, 'consistency': l_u, 'use_ratio': share of confident examples}), floats.
  """
  supervised = 0.0
  for row, wanted in zip(labeled_logits, label, strict=True):
    supervised += -log_softmax(row)[int(wanted)] / len(label)
  pseudo, use = confident(weak_logits, threshold)
  consistency = 0.0
  for i in range(len(pseudo)):
    if use[i]:
      consistency += -log_softmax(strong_logits[i])[pseudo[i]] / len(pseudo)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(use) / len(use)}
  return supervised + unlabeled_weight * consistency, terms
