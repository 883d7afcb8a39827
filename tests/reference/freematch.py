"""FreeMatch's self-adaptive thresholds, fairness and loss."""

import math

import numpy as np

from .flexmatch import masked_cross_entropy
from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def freematch_statistics(weak, threshold, probability, histogram, momentum):
  """The three running means after a batch, arXiv:2205.07246v3 sections 4.1 and 4.2.

  Global threshold tau: of the largest probability (eq. 5); local p~: of the probabilities (eq. 6); h~: of the shares of
  the pseudo-labels. Each is momentum old + (1 - momentum) of the batch.

  Args:
    weak: [u, k] logits.
    threshold: float.
    probability, histogram: [k].
    momentum: float, the paper's lambda.

  Returns:
    {'threshold': float, 'probability': float64 [k], 'histogram': float64 [k]}.
  """
  u, k = weak.shape
  confidence, mean, share = 0.0, [0.0] * k, [0.0] * k
  for row in weak:
    logs = log_softmax(row)
    confidence += math.exp(max(logs)) / u
    share[largest(logs)] += 1 / u
    for c in range(k):
      mean[c] += math.exp(logs[c]) / u
  return {
    'threshold': momentum * float(threshold) + (1 - momentum) * confidence,
    'probability': np.array([momentum * float(probability[c]) + (1 - momentum) * mean[c] for c in range(k)]),
    'histogram': np.array([momentum * float(histogram[c]) + (1 - momentum) * share[c] for c in range(k)]),
  }


def sum_norm_of_quotient(values, shares):
  """values / shares, 0 where a share is 0, divided by their sum: [k], [k] -> list of k floats."""
  quotients = [float(v) / float(s) if s > 0 else 0.0 for v, s in zip(values, shares, strict=True)]
  return [quotient / sum(quotients) for quotient in quotients]


def fairness(strong, use, probability, histogram):
  """L_f = -H(SumNorm(p~ / h~), SumNorm(p- / h-)), arXiv:2205.07246v3 section 4.2.

  H is the cross-entropy, so L_f = + sum target log mean, with 1e-12 in the logarithm and 0 for a quotient by zero as in
  the authors' code. p- and h- are the mean probabilities and the shares of the classes of the used rows' strong views.

  Args:
    strong: [u, k] logits.
    use: bool [u].
    probability, histogram: [k], constants.

  Returns:
    float; 0 without any used row.
  """
  k = strong.shape[1]
  used = [row for row, wanted in zip(strong, use, strict=True) if wanted]
  if not used:
    return 0.0
  mean, share = [0.0] * k, [0.0] * k
  for row in used:
    logs = log_softmax(row)
    share[largest(logs)] += 1 / len(used)
    for c in range(k):
      mean[c] += math.exp(logs[c]) / len(used)
  target, got = sum_norm_of_quotient(probability, histogram), sum_norm_of_quotient(mean, share)
  return sum(target[c] * math.log(got[c] + 1e-12) for c in range(k))


def freematch(labeled, label, weak, strong, threshold, probability, histogram, unlabeled_weight, fairness_weight):
  """L_s + w_u L_u + w_f L_f, arXiv:2205.07246v3 section 4.

  The threshold of class c is p~(c) / max p~ of the global one (4.1).

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold: float, the global threshold, of this batch already.
    probability, histogram: [k], of this batch already.
    unlabeled_weight, fairness_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'fairness', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  thresholds = [float(threshold) * float(p) / float(max(probability)) for p in probability]
  consistency, use = masked_cross_entropy(weak, strong, thresholds)
  fair = fairness(strong, use, probability, histogram)
  terms = {'supervised': supervised, 'consistency': consistency, 'fairness': fair, 'use_ratio': sum(use) / len(use)}
  return supervised + unlabeled_weight * consistency + fairness_weight * fair, terms
