"""The KoLeo regulariser."""

import math

from .vectors import unit


def koleo(features):
  """-1/b sum_i log(min over j != i of |x_i - x_j|), arXiv:2304.07193v2 section 4, from arXiv:1806.03198v3.

  Rows are normalised first; 1e-8 is added to the distance, as in DINOv2's code.

  Args:
    features: [b, d], not normalised; b > 1.

  Returns:
    float.
  """
  x = unit(features)
  total = 0.0
  for i in range(len(x)):
    nearest = math.inf
    for j in range(len(x)):
      if j != i:
        nearest = min(nearest, math.sqrt(sum((x[i] - x[j]) ** 2)))
    total -= math.log(nearest + 1e-8)
  return total / len(x)
