"""SigLIP's loss."""

import math

from .vectors import unit


def siglip(image, text, scale, bias):
  """-1/b sum_i sum_j log sigmoid(label_ij (scale x_i.y_j + bias)), label 1 on the diagonal and -1 elsewhere.

  arXiv:2303.15343v4 section 3.2 and algorithm 1: a sum over all b^2 pairs, divided by b.

  Args:
    image, text: [b, d], not normalised; row i of both is one pair.
    scale: positive float, exp(t') in the algorithm.
    bias: float.

  Returns:
    float.
  """
  image, text = unit(image), unit(text)
  total = 0.0
  for i in range(len(image)):
    for j in range(len(text)):
      label = 1 if i == j else -1
      logit = label * (float(scale) * (image[i] @ text[j]) + float(bias))
      total += max(-logit, 0) + math.log1p(math.exp(-abs(logit)))  # -log sigmoid(logit)
  return total / len(image)
