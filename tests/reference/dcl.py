"""DCL's two losses."""

import math

from .vectors import unit


def dcl(z1, z2, temperature):
  """L_DC of arXiv:2110.06848v3 section 3 (theorem 1), as a mean over the 2b anchors (the paper has the sum).

  For the anchor z_i of either view, -z_i(1).z_i(2) / temperature + log sum of exp(z_i.z_k / temperature) over both
  views of all other images: NT-Xent without the positive in the denominator.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.

  Returns:
    float.
  """
  return weighted(unit(z1), unit(z2), temperature, [1.0] * len(z1))


def dclw(z1, z2, temperature, sigma):
  """L_DCW of arXiv:2110.06848v3 section 3: `dcl` with the positive's term of image i times w_i.

  w_i = 2 - exp(z_i(1).z_i(2) / sigma) / E_j exp(z_j(1).z_j(2) / sigma), the mean being the batch's (the public code
  writes it as 2 - b softmax(.) and does not hold it constant).

  Args:
    z1, z2: [b, d], not normalised.
    temperature, sigma: positive floats.

  Returns:
    float.
  """
  z1, z2 = unit(z1), unit(z2)
  concentrations = [math.exp(z1[i] @ z2[i] / sigma) for i in range(len(z1))]
  mean = sum(concentrations) / len(concentrations)
  return weighted(z1, z2, temperature, [2 - value / mean for value in concentrations])


def weighted(z1, z2, temperature, weights):
  """The sum over views and images that both have in common; z1 and z2 of length 1."""
  b = len(z1)
  total = 0.0
  for view in (z1, z2):
    for i in range(b):
      negatives = 0.0
      for k in range(b):
        if k != i:
          for other in (z1, z2):
            negatives += math.exp(view[i] @ other[k] / temperature)
      total += -weights[i] * (z1[i] @ z2[i]) / temperature + math.log(negatives)
  return total / (2 * b)
