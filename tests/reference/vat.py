"""Virtual adversarial training's loss, and its power iteration by finite differences."""

import math

import numpy as np

from . import numeric
from .pseudo_label import supervised_mean
from .supervised import log_softmax


def kl(p_logits, q_logits):
  """KL(p || q) of two rows of logits."""
  return sum(math.exp(p) * (p - q) for p, q in zip(log_softmax(p_logits), log_softmax(q_logits), strict=True))


def virtual_adversarial(logits_of, image, direction, epsilon, iterations, xi=1e-4):
  """r_vadv of one image, arXiv:1704.03976v2 algorithm 1: d <- the gradient of D(x, r) at r = xi d, by differences.

  Args:
    logits_of: [d] -> [k], in float64.
    image, direction: [d].
    epsilon: float.
    iterations: int.

  Returns:
    float64 [d].
  """
  image, d = np.asarray(image, np.float64), np.asarray(direction, np.float64)
  for _ in range(iterations):
    d = d / math.sqrt(d @ d)
    d = numeric.gradient(lambda r: kl(logits_of(image), logits_of(image + r)), xi * d, 1e-6)
  return epsilon * d / math.sqrt(d @ d)


def vat(labeled, label, clean, perturbed, unlabeled_weight, entropy_weight):
  """l + alpha R_vadv + weight times the conditional entropy, arXiv:1704.03976v2 section 3.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    clean, perturbed: [u, k] logits.
    unlabeled_weight, entropy_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'entropy'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  consistency, entropy = 0.0, 0.0
  for x, y in zip(clean, perturbed, strict=True):
    consistency += kl(x, y) / len(clean)
    for log in log_softmax(x):
      entropy -= math.exp(log) * log / len(clean)
  terms = {'supervised': supervised, 'consistency': consistency, 'entropy': entropy}
  return supervised + unlabeled_weight * consistency + entropy_weight * entropy, terms
