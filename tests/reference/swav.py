"""SwAV's codes and loss."""

import math

import numpy as np

from .supervised import log_softmax


def sinkhorn(logits, epsilon, iterations):
  """Codes by the Sinkhorn-Knopp iterations of arXiv:2006.09882v5 eq. 3-5 and algorithm 1.

  Q = exp(logits / epsilon), the total is made 1, and then `iterations` times every prototype's sum is made 1/k and
  after it every example's sum 1/b. The result is times b, so that an example's code sums to 1.

  Args:
    logits: [b, k].
    epsilon: positive float.
    iterations: int, at least 1.

  Returns:
    float64 [b, k].
  """
  logits = np.asarray(logits, np.float64)
  b, k = logits.shape
  highest = logits.max()  # drops out in the next division
  codes = np.zeros((b, k))
  for i in range(b):
    for j in range(k):
      codes[i, j] = math.exp((logits[i, j] - highest) / epsilon)
  codes /= codes.sum()
  for _ in range(iterations):
    for j in range(k):
      codes[:, j] /= sum(codes[:, j]) * k
    for i in range(b):
      codes[i] /= sum(codes[i]) * b
  return codes * b


def swav(logits, codes, temperature):
  """Mean over the pairs (coded view i, view j != i) of the batch's mean l(z_j, q_i), arXiv:2006.09882v5 eq. 2 and 6.

  l(z, q) = -sum over the prototypes of q log softmax(logits / temperature). Eq. 6 is a sum over the pairs; the authors'
  code divides by their number, and so does this.

  Args:
    logits: [v, b, k], scores of the prototypes; the first g views are those with codes, in the same order.
    codes: [g, b, k], rows that sum to 1; constants.
    temperature: positive float.

  Returns:
    float.
  """
  logits, codes = np.asarray(logits, np.float64), np.asarray(codes, np.float64)
  v, b, k = logits.shape
  total, pairs = 0.0, 0
  for i in range(len(codes)):
    for j in range(v):
      if i == j:
        continue
      for n in range(b):
        logs = log_softmax(logits[j, n] / temperature)
        for c in range(k):
          total -= codes[i, n, c] * logs[c] / b
      pairs += 1
  return total / pairs
