"""Cross-entropy, one example and one class at a time."""

import math

import numpy as np


def log_softmax(row):
  """Logarithm of the softmax of one row: [k] -> float64 [k]; the maximum is taken off first, so it never overflows."""
  row = [float(value) for value in row]
  highest = max(row)
  total = 0.0
  for value in row:
    total += math.exp(value - highest)
  return np.array([value - highest - math.log(total) for value in row])


def cross_entropy(logits, label):
  """Cross-entropy of integer labels, H = -log softmax(logits)[label]: [b, k], int [b] -> float64 [b], in nats."""
  result = []
  for row, wanted in zip(logits, label, strict=True):
    result.append(-log_softmax(row)[int(wanted)])
  return np.array(result)


def soft_cross_entropy(probabilities, logits):
  """Cross-entropy of distributions, H = -sum_k p_k log softmax(logits)_k: [..., k], [..., k] -> float64 [...]."""
  probabilities, logits = np.asarray(probabilities, np.float64), np.asarray(logits, np.float64)
  result = np.zeros(logits.shape[:-1])
  for position in np.ndindex(*result.shape):
    logs = log_softmax(logits[position])
    for p, log in zip(probabilities[position], logs, strict=True):
      result[position] -= p * log
  return result


def largest(row):
  """The class of the largest entry of one row, the lowest of equals: [k] -> int."""
  best = 0
  for c in range(len(row)):
    if row[c] > row[best]:
      best = c
  return best


def supervised_mean(logits, label):
  """Mean over the rows of -log softmax(logits)[label]: [b, k], int [b] -> float."""
  total = 0.0
  for row, wanted in zip(logits, label, strict=True):
    total += -log_softmax(row)[int(wanted)]
  return total / len(label)
