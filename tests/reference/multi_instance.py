"""Multi-instance prediction of which codes an image shows."""

import math


def multi_instance(logits, present, weighted):
  """Mean over the batch and the N codes of -w y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)), arXiv:2110.03091.

  The paper's binary cross-entropy (section 4, from memory). weighted=True is the authors' code (multilabel.py):
  w = N / max(number of codes in the image, 1), image by image, so that the few present weigh as much as the absent;
  weighted=False: w = 1. A code that is drawn twice is present once. Both are means over b and N (torch's default
  reduction), not divided by the weights.

  Args:
    logits: [b, N].
    present: bool [b, N].
    weighted: bool.

  Returns:
    float.
  """
  total = 0.0
  for row, shown in zip(logits, present, strict=True):
    count = sum(bool(y) for y in shown)
    weight = len(row) / max(count, 1) if weighted else 1.0
    for z, y in zip(row, shown, strict=True):
      z = float(z)
      z, factor = (z, weight) if y else (-z, 1.0)
      total += factor * (max(-z, 0.0) + math.log1p(math.exp(-abs(z))))  # -log sigmoid(z)
  return total / (len(logits) * len(logits[0]))
