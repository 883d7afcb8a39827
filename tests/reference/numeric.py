"""Numerical gradients of the twins."""

from collections.abc import Callable

import numpy as np


def gradient(function: Callable, x, epsilon: float = 1e-6):
  """Central finite differences of a scalar function in float64.

  The truncation error is epsilon^2 f'''/6 and the rounding error 1e-16 |f| / epsilon: both below 1e-8 at 1e-6 here.

  Args:
    function: array of x's shape -> float.
    x: float array of any shape; converted to float64.
    epsilon: half the width of the difference.

  Returns:
    float64 array of x's shape.
  """
  x = np.array(x, np.float64)
  result = np.zeros_like(x)
  for position in np.ndindex(*x.shape):
    up, down = x.copy(), x.copy()
    up[position] += epsilon
    down[position] -= epsilon
    result[position] = (function(up) - function(down)) / (2 * epsilon)
  return result
