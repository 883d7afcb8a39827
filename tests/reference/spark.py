"""SparK: the loss, and convolution and batch normalisation over visible positions only."""

import math

import numpy as np

from .mae import masked_mse, standardize_patches


def spark_loss(images, predictions, mask, patch):
  """Mean over the batch's hidden patches of the mean squared error to the standardised pixels, arXiv:2301.03580.

  Section 3.1 (the number is from memory): per-patch normalised pixels, errors on masked positions only. From the
  authors' code (spark.py): each patch less its mean, over the square root of its unbiased variance + 1e-6; the errors'
  sum is divided by the whole batch's number of hidden patches (+ 1e-8, left out here).

  Args:
    images: [b, h, w, c]; h and w are multiples of the patch.
    predictions: [b, n, patch patch c], n = (h / patch) (w / patch). Patches row by row; in each the values by row, then
      column, then channel.
    mask: bool [b, n], True where hidden; at least one is.
    patch: int, the encoder's down-sampling ratio in the paper.

  Returns:
    float.
  """
  images = np.asarray(images, np.float64)
  b, h, w, c = images.shape
  columns = w // patch
  target = np.zeros((b, h // patch * columns, patch * patch * c))
  for i in range(b):
    for row in range(h):
      for column in range(w):
        for channel in range(c):
          n = row // patch * columns + column // patch
          position = (row % patch * patch + column % patch) * c + channel
          target[i, n, position] = images[i, row, column, channel]
  return masked_mse(predictions, standardize_patches(target), mask)


def resized_mask(visible, shape):
  """The visibility of a map of another resolution: position (i, j) sees what lies at the same relative place.

  As in the authors' code (encoder.py), where each cell of the coarsest mask is repeated to the map's size. The mask
  given must be constant on each cell of the map asked for (or be the coarser of the two).

  Args:
    visible: bool [h, w].
    shape: (h', w'); each divides h and w or is a multiple of them.

  Returns:
    bool [h', w'].
  """
  visible = np.asarray(visible, bool)
  result = np.zeros(shape, bool)
  for i in range(shape[0]):
    for j in range(shape[1]):
      result[i, j] = visible[i * visible.shape[0] // shape[0], j * visible.shape[1] // shape[1]]
  return result


def masked_convolution(x, visible, kernel, stride, bias=None, before=None):
  """Sparse convolution's dense equivalent: the zero-filled map convolved, then zeroed where hidden, arXiv:2301.03580.

  Section 3.1 (from memory) and the authors' code: an ordinary convolution whose output is multiplied with the mask at
  the output's resolution. Correlation, as in every network library. Zero padding: the first tap of output (i, j) is
  row i stride - before, with before by default that of JAX's 'SAME', max((h / stride - 1) stride + k - h, 0) // 2. The
  authors' (PyTorch's) convolutions pad k // 2 on both sides: before=k // 2, which differs with stride 2.

  Args:
    x: [h, w, c]; whatever lies at hidden positions is taken as zero.
    visible: bool [h, w], True where seen; constant on each stride x stride cell.
    kernel: [kh, kw, c, d].
    stride: int that divides h and w.
    bias: [d] or None.
    before: int, the padding above and to the left, or None.

  Returns:
    float64 [h / stride, w / stride, d].
  """
  x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
  h, w, channels = x.shape
  kh, kw, _, outputs = kernel.shape
  shape = h // stride, w // stride
  top = max((shape[0] - 1) * stride + kh - h, 0) // 2 if before is None else before
  left = max((shape[1] - 1) * stride + kw - w, 0) // 2 if before is None else before
  seen = resized_mask(visible, shape)
  result = np.zeros((*shape, outputs))
  for i in range(shape[0]):
    for j in range(shape[1]):
      if not seen[i, j]:
        continue
      for d in range(outputs):
        total = 0.0 if bias is None else float(bias[d])
        for a in range(kh):
          for e in range(kw):
            row, column = i * stride + a - top, j * stride + e - left
            if not (0 <= row < h and 0 <= column < w) or not visible[row][column]:
              continue
            for c in range(channels):
              total += x[row, column, c] * kernel[a, e, c, d]
        result[i, j, d] = total
  return result


def masked_batch_norm(x, visible, scale, bias, epsilon):
  """Batch normalisation whose mean and variance are over the visible positions of the whole batch; hidden ones: zero.

  arXiv:2301.03580 and the authors' code (encoder.py): the features at visible positions form one [positions, c] matrix,
  which a BatchNorm1d normalises (with the biased variance; epsilon 1e-5, PyTorch's default) and which is scattered back
  into zeros.

  Args:
    x: [b, h, w, c].
    visible: bool [b, h, w]; at least one is.
    scale, bias: [c].
    epsilon: float, added to the variance.

  Returns:
    (float64 [b, h, w, c], mean [c], biased variance [c]).
  """
  x = np.asarray(x, np.float64)
  b, h, w, channels = x.shape
  result, means, variances = np.zeros_like(x), np.zeros(channels), np.zeros(channels)
  for c in range(channels):
    values = []
    for position in np.ndindex(b, h, w):
      if visible[position[0]][position[1]][position[2]]:
        values.append(x[position][c])
    means[c] = sum(values) / len(values)
    variances[c] = sum((value - means[c]) ** 2 for value in values) / len(values)
    for position in np.ndindex(b, h, w):
      if visible[position[0]][position[1]][position[2]]:
        standard = (x[position][c] - means[c]) / math.sqrt(variances[c] + epsilon)
        result[position][c] = standard * scale[c] + bias[c]
  return result, means, variances
