"""SoftMatch's weights, their statistics and loss."""

import math

import numpy as np

from .adamatch import align
from .pseudo_label import largest, supervised_mean
from .supervised import log_softmax


def truncated_gaussian(confidence, mean, variance, sigmas):
  """exp(-(confidence - mean)^2 / (2 variance / sigmas^2)) below the mean, 1 from it on.

  arXiv:2301.10921v2 section 3 with lambda_max = 1; sigmas is 1 in the paper and 2 in the authors' code.

  Args:
    confidence: [u].
    mean, variance, sigmas: floats; an infinite variance gives 1.

  Returns:
    float64 [u].
  """
  result = []
  for value in confidence:
    below = float(value) - float(mean)
    result.append(1.0 if below >= 0 else math.exp(-(below * sigmas) ** 2 / (2 * float(variance))))
  return np.array(result)


def uniform_confidence(weak, probability):
  """Largest of the probabilities aligned to the uniform distribution, arXiv:2301.10921v2 section 3 ('UA')."""
  k = len(probability)
  aligned = align([np.exp(log_softmax(row)) for row in weak], [1 / k] * k, probability)
  return [max(row) for row in aligned]


def softmatch_statistics(weak, mean, variance, probability, momentum):
  """Running mean probabilities, and mean and unbiased variance of the aligned confidence, arXiv:2301.10921v2 section 3.

  Each is momentum old + (1 - momentum) of the batch, but the first probabilities are the batch's; the alignment takes
  the new probabilities, as the authors' code.

  Args:
    weak: [u, k] logits, u at least 2.
    mean, variance: floats.
    probability: [k], or k zeros before the first batch.
    momentum: float.

  Returns:
    {'mean': float, 'variance': float, 'probability': float64 [k]}.
  """
  u, k = weak.shape
  batch = [0.0] * k
  for row in weak:
    for c, log in enumerate(log_softmax(row)):
      batch[c] += math.exp(log) / u
  if any(probability):
    batch = [momentum * float(probability[c]) + (1 - momentum) * batch[c] for c in range(k)]
  probability = np.array(batch)
  confidence = uniform_confidence(weak, probability)
  center = sum(confidence) / u
  spread = sum((value - center) ** 2 for value in confidence) / (u - 1)
  return {
    'mean': momentum * float(mean) + (1 - momentum) * center,
    'variance': momentum * float(variance) + (1 - momentum) * spread,
    'probability': probability,
  }


def softmatch(labeled, label, weak, strong, mean, variance, probability, sigmas, unlabeled_weight):
  """L_s + unlabeled_weight L_u, arXiv:2301.10921v2 section 3: every pseudo-label counts by its weight.

  The weight is of the aligned probabilities, the pseudo-label of those before alignment.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    mean, variance: floats, of this batch already.
    probability: [k], of this batch already.
    sigmas: float.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats; use_ratio is the mean weight.
  """
  supervised = supervised_mean(labeled, label)
  weights = truncated_gaussian(uniform_confidence(weak, probability), mean, variance, sigmas)
  consistency = 0.0
  for weight, weak_row, strong_row in zip(weights, weak, strong, strict=True):
    consistency += weight * -log_softmax(strong_row)[largest(weak_row)] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(weights) / len(weights)}
  return supervised + unlabeled_weight * consistency, terms
