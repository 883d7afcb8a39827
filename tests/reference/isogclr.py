"""iSogCLR's loss."""

import math

import numpy as np


def isogclr(z1, z2, average, temperature, rho, average_rate):
  """The robust contrastive loss with a temperature for each image (arXiv:2305.11965v1, section 4 and algorithm 1).

  For an anchor i with positive i+ and the 2b - 2 views of other images as negatives j, with s the cosine similarity,
  h_ij = s_ij - s_ii+, g_i = mean_j exp(h_ij / tau_i), u_i = (1 - rate) u_i + rate g_i,
  F_i = tau_i log u_i + tau_i rho; dF_i / dtau_i = log u_i + rho - mean_j exp(h_ij / tau_i) h_ij / tau_i / u_i.
  The paper leaves open how two views share u_i and tau_i: here, as in the authors' code, new values are the mean of
  the views', and u_i is g_i where it was 0.

  Args:
    z1, z2: [b, d], the two views' projections, not normalised; row i of both comes from one image.
    average, temperature: [b], u and tau.
    rho, average_rate: floats.

  Returns:
    the mean of F over the 2b anchors; new averages [b]; derivatives in the temperatures [b].
  """
  z = [np.asarray(row, np.float64) for row in [*z1, *z2]]
  z = [row / math.sqrt(row @ row) for row in z]
  b = len(z) // 2
  total, averages, slopes = 0.0, np.zeros(b), np.zeros(b)
  for i in range(2 * b):
    image = i % b
    tau, old = float(temperature[image]), float(average[image])
    rate = average_rate if old > 0 else 1.0
    g = slope = 0.0
    for j in range(2 * b):
      if j % b == image:
        continue
      h = z[i] @ z[j] - z[i] @ z[(i + b) % (2 * b)]
      g += math.exp(h / tau) / (2 * b - 2)
      slope += math.exp(h / tau) * h / tau / (2 * b - 2)
    u = (1 - rate) * old + rate * g
    total += (tau * math.log(u) + tau * rho) / (2 * b)
    averages[image] += u / 2
    slopes[image] += (math.log(u) + rho - slope / u) / 2
  return total, averages, slopes
