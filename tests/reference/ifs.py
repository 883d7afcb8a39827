"""Iterated function systems whose singular values are constrained, and their pictures.

arXiv:2110.03091, 'Improving Fractal Pre-training', with the authors' code (fractal_learning/fractals/ifs.py). The order
of the factors in the parametrisation is the paper's, from memory; it gives the same matrices, equally often, as the
code's U diag(s) V, where U and V are rotations times signs. The rest is checked against the code.
"""

import math

import numpy as np


def matrix(theta, phi, s1, s2, d1, d2):
  """A = R(theta) diag(s1, s2) R(phi) diag(d1, d2), R(t) = [[cos t, -sin t], [sin t, cos t]]: float64 [2, 2].

  Angles in radians, uniform in [-pi, pi) when sampled; signs d1, d2 = -1 or 1, each with probability 1/2;
  1 >= s1 >= s2 >= 0. |det A| = s1 s2.
  """
  first = [[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]]
  second = [[math.cos(phi), -math.sin(phi)], [math.sin(phi), math.cos(phi)]]
  scales, signs = (s1, s2), (d1, d2)
  result = np.zeros((2, 2))
  for i in range(2):
    for j in range(2):
      for k in range(2):
        result[i, j] += first[i][k] * scales[k] * second[k][j] * signs[j]
  return result


def sigma_factor(singular_values):
  """alpha = sum over the maps of s1 + 2 s2: [n, 2], the larger first -> float.

  When sampled, alpha is uniform in [(5 + n) / 2, (6 + n) / 2) (the code's default), of at most 3 n; n itself is uniform
  in 2, 3, 4 (the code's command line), and b uniform in [-1, 1)^2.
  """
  return sum(float(s1) + 2 * float(s2) for s1, s2 in singular_values)


def singular_values(n, alpha, uniform):
  """n pairs 1 >= s1 >= s2 >= 0 with sigma_factor alpha, from 2 n - 1 numbers in [0, 1), as the code's sample_svs draws.

  Each value is uniform between the least and the most that leave the others able to make up alpha: s1 and then s2 of
  all pairs but the last, then s2 of the last, whose s1 is what remains.

  Args:
    n: int.
    alpha: float in [0, 3 n].
    uniform: [2 n - 1], in the order of the draws.

  Returns:
    float64 [n, 2].
  """
  draws = [float(u) for u in uniform]
  result, left = np.zeros((n, 2)), float(alpha)
  for i in range(n - 1):
    others = 3 * (n - 1 - i)  # the most that the pairs after this one can take
    low, high = max(0, (left - others) / 3), min(1, left)
    s1 = low + draws[2 * i] * (high - low)
    low, high = max(0, (left - s1 - others) / 2), min(s1, (left - s1) / 2)
    s2 = low + draws[2 * i + 1] * (high - low)
    result[i] = s1, s2
    left -= s1 + 2 * s2
  low, high = max(0, (left - 1) / 2), left / 3
  s2 = low + draws[2 * n - 2] * (high - low)
  result[n - 1] = left - 2 * s2, s2
  return result


def probabilities(matrices):
  """|det A_i| / sum over j of |det A_j|: [n, 2, 2] -> list of n floats."""
  sizes = [abs(float(a[0][0]) * float(a[1][1]) - float(a[0][1]) * float(a[1][0])) for a in matrices]
  return [size / sum(sizes) for size in sizes]


def chosen(uniform, weights):
  """The map that a number in [0, 1) picks: the first i with uniform < weights_0 + ... + weights_i."""
  total = 0.0
  for i, weight in enumerate(weights):
    total += float(weight)
    if uniform < total:
      return i
  return len(weights) - 1


def fixed_point(a, b):
  """(I - a)^-1 b: [2, 2], [2] -> float64 [2]; that of the first map is where the code's chaos game starts."""
  p, q, r, s = 1 - float(a[0][0]), -float(a[0][1]), -float(a[1][0]), 1 - float(a[1][1])
  determinant = p * s - q * r
  return np.array([s * float(b[0]) - q * float(b[1]), p * float(b[1]) - r * float(b[0])]) / determinant


def chaos_game(matrices, offsets, indices, start):
  """x_{t+1} = A_i x_t + b_i with i = indices[t]; the points after each step, without the start.

  Args:
    matrices: [n, 2, 2].
    offsets: [n, 2].
    indices: int [steps].
    start: [2].

  Returns:
    float64 [steps, 2].
  """
  x, y = float(start[0]), float(start[1])
  points = np.zeros((len(indices), 2))
  for t, i in enumerate(indices):
    a, b = matrices[i], offsets[i]
    x, y = a[0][0] * x + a[0][1] * y + b[0], a[1][0] * x + a[1][1] * y + b[1]
    points[t] = x, y
  return points


def render(points, size, stamp=((0, 0),)):
  """How often each cell is hit, over the largest count: [m, 2] -> float64 [size, size] in [0, 1].

  The points' own least and greatest coordinates are stretched to 0 and size - 1, each axis for itself (an axis without
  extent counts as one of extent 1), and rounded down; the first coordinate is the row. stamp is what is drawn for each
  point, as displacements of (row, column): (0, 0) alone, or with the code's patch=True a random subset of the 3 x 3
  neighbourhood (each cell with probability 1/2), one for the whole picture; what falls outside is dropped.
  """
  low = [min(float(p[k]) for p in points) for k in range(2)]
  high = [max(float(p[k]) for p in points) for k in range(2)]
  scale = [(size - 1) / (high[k] - low[k] if high[k] > low[k] else 1) for k in range(2)]
  counts = np.zeros((size, size))
  for p in points:
    for displacement in stamp:
      row, column = (int((float(p[k]) - low[k]) * scale[k]) + displacement[k] for k in range(2))
      if 0 <= row < size and 0 <= column < size:
        counts[row, column] += 1
  return counts / max(counts.max(), 1)
