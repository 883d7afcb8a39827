"""MAE's target and loss."""

import math

import numpy as np


def masked_mse(predicted, target, mask):
  """Mean over the hidden patches of the whole batch of the patch's mean squared error.

  arXiv:2111.06377v3 section 3, 'Reconstruction target': the loss is computed only on masked patches. The authors' code
  divides the batch's sum by the batch's number of hidden patches, so with uneven masks every patch, and not every
  image, weighs the same.

  Args:
    predicted, target: [b, n, p].
    mask: bool [b, n], True where hidden; at least one is.

  Returns:
    float.
  """
  total, hidden = 0.0, 0
  for b in range(len(mask)):
    for n in range(len(mask[b])):
      if not mask[b][n]:
        continue
      squares = 0.0
      for p in range(len(predicted[b][n])):
        squares += (float(predicted[b][n][p]) - float(target[b][n][p])) ** 2
      total += squares / len(predicted[b][n])
      hidden += 1
  return total / hidden


def standardize_patches(patches):
  """Each patch less its mean, over the square root of its variance + 1e-6: [b, n, p] -> float64 [b, n, p].

  arXiv:2111.06377v3 section 3, 'Reconstruction target' (normalised pixels). The variance is the unbiased one (divided
  by p - 1), as in the authors' code, whose torch.var is unbiased unless told otherwise; the paper does not say which.
  """
  patches = np.asarray(patches, np.float64)
  result = np.zeros_like(patches)
  b, n, p = patches.shape
  for i in range(b):
    for j in range(n):
      mean = sum(patches[i, j]) / p
      variance = sum((value - mean) ** 2 for value in patches[i, j]) / (p - 1)
      for k in range(p):
        result[i, j, k] = (patches[i, j, k] - mean) / math.sqrt(variance + 1e-6)
  return result
