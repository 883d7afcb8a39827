"""SimSiam's loss."""

from .vectors import unit


def simsiam(p1, z1, p2, z2):
  """D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2, arXiv:2011.10566v1 eq. 4, D the negative cosine of eq. 1.

  Args:
    p1, p2: [b, d], predictions of the two views, not normalised.
    z1, z2: [b, d], projections of the two views, not normalised; constants.

  Returns:
    float.
  """
  total = 0.0
  for p, z in ((p1, z2), (p2, z1)):
    for prediction, projection in zip(unit(p), unit(z), strict=True):
      total -= (prediction @ projection) / (2 * len(p))
  return total
