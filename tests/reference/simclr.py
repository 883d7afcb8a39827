"""SimCLR's loss."""

import math

import numpy as np


def nt_xent(z1, z2, temperature):
  """NT-Xent, the mean over the 2b anchors of arXiv:2002.05709v3 eq. 1 (algorithm 1, last lines).

  For an anchor i whose other view is j, with s the cosine similarity,
  l(i, j) = -log( exp(s_ij / temperature) / sum over k != i of exp(s_ik / temperature) ).

  Args:
    z1, z2: [b, d], the two views' projections, not normalised; row i of both comes from one image.
    temperature: positive float.

  Returns:
    float.
  """
  z = [np.asarray(row, np.float64) for row in [*z1, *z2]]  # 2b rows of [d]
  b = len(z) // 2
  total = 0.0
  for i in range(2 * b):
    j = i + b if i < b else i - b
    numerator = denominator = 0.0
    for k in range(2 * b):
      if k == i:
        continue
      similarity = z[i] @ z[k] / (math.sqrt(z[i] @ z[i]) * math.sqrt(z[k] @ z[k]))
      term = math.exp(similarity / temperature)
      denominator += term
      if k == j:
        numerator = term
    total += -math.log(numerator / denominator)
  return total / (2 * b)
