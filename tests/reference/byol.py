"""BYOL's loss."""

from .vectors import unit


def byol(prediction, target):
  """Mean over the batch of ||q/|q| - z/|z| ||^2 = 2 - 2 q.z / (|q| |z|), arXiv:2006.07733v3 eq. 2; one direction.

  Args:
    prediction: [b, d], not normalised.
    target: [b, d], not normalised; constants.

  Returns:
    float.
  """
  prediction, target = unit(prediction), unit(target)
  total = 0.0
  for q, z in zip(prediction, target, strict=True):
    total += sum((a - c) ** 2 for a, c in zip(q, z, strict=True))
  return total / len(prediction)
