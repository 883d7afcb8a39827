"""The alignment of distributions."""

import numpy as np


def align(probabilities, target, average):
  """Each row times target / average, divided by its sum, arXiv:2106.04732v2 section 3 ('distribution alignment').

  1e-6 is added to target and average, as in the authors' code.

  Args:
    probabilities: [u, k].
    target, average: [k].

  Returns:
    float64 [u, k].
  """
  result = []
  for row in probabilities:
    scaled = [float(row[c]) * (float(target[c]) + 1e-6) / (float(average[c]) + 1e-6) for c in range(len(row))]
    result.append([value / sum(scaled) for value in scaled])
  return np.array(result)
