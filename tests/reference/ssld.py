"""SSLD's divergences of the student's and the teacher's probabilities."""

import math

from .supervised import log_softmax


def probabilities(logits):
  """softmax of one row: [k] -> list of k floats."""
  return [math.exp(value) for value in log_softmax(logits)]


def kullback_leibler(p, q, epsilon=0.0):
  """sum over k of p_k log((p_k + epsilon) / (q_k + epsilon)), in nats, 0 where p_k is 0: [k], [k] -> float."""
  return sum(a * math.log((a + epsilon) / (b + epsilon)) for a, b in zip(p, q, strict=True) if a > 0)


def jensen_shannon(student_logits, teacher_logits):
  """Mean over examples of KL(p, m) / 2 + KL(q, m) / 2, m = (p + q) / 2, in nats: [b, k], [b, k] -> float.

  arXiv:2103.05959 names the Jensen-Shannon divergence of the two softmaxes (no temperature, no labels); the definition
  is the usual one and from memory. Symmetric, at most log 2, zero only where both are equal. The authors' code computes
  another symmetric divergence under this name: see jeffreys.
  """
  total = 0.0
  for student, teacher in zip(student_logits, teacher_logits, strict=True):
    p, q = probabilities(student), probabilities(teacher)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    total += (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2
  return total / len(student_logits)


def jeffreys(student_logits, teacher_logits, epsilon=1e-10):
  """Mean over examples of (KL(p, q) + KL(q, p)) / 2, in nats: [b, k], [b, k] -> float; not bounded.

  What PaddleClas's JSDivLoss (release of 2021, ppcls/modeling/loss.py) computes: class_dim times the mean over examples
  and classes, which is the mean over examples of the sum over classes, with 1e-10 added to both probabilities in the
  logarithm.
  """
  total = 0.0
  for student, teacher in zip(student_logits, teacher_logits, strict=True):
    p, q = probabilities(student), probabilities(teacher)
    total += (kullback_leibler(p, q, epsilon) + kullback_leibler(q, p, epsilon)) / 2
  return total / len(student_logits)
