"""EfficientTrain's low-frequency crop."""

import cmath

import numpy as np


def kept(size):
  """The size lowest frequencies of one axis, lowest first: -(size // 2), ..., size - 1 - size // 2."""
  return range(-(size // 2), size - size // 2)


def fourier_crop(image, size):
  """Each channel's size x size lowest frequencies, transformed back, arXiv:2211.09703 section 4.1.

  X[u, v] = sum_x sum_y image[x, y] exp(-2 pi i (u x / h + v y / w)), by explicit sums, and
  result[p, q] = real part of 1 / (h w) sum over the kept u, v of X[u, v] exp(2 pi i (u p + v q) / size).
  The factor 1 / (h w) is the inverse transform's 1 / size^2 times the authors' code's size^2 / (h w) (its images are
  square), so that the mean intensity is kept.

  An even size keeps -size/2, ..., size/2 - 1: the lone row and column at -size/2 are copied as they are (neither halved
  nor averaged with those at +size/2) and the result's imaginary part is dropped, as in the authors' code (utils.py,
  freq_crop, of 2023-03). That code rounds an odd size down to an even one; here an odd size keeps the symmetric
  -(size-1)/2, ..., (size-1)/2. The image's own size, even or odd, gives the image back. The section is from memory.

  Args:
    image: [h, w, c].
    size: int, at most min(h, w).

  Returns:
    float64 [size, size, c].
  """
  image = np.asarray(image, np.float64)
  h, w, channels = image.shape
  result = np.zeros((size, size, channels))
  for c in range(channels):
    for u in kept(size):
      for v in kept(size):
        component = 0j
        for x in range(h):
          for y in range(w):
            component += image[x, y, c] * cmath.exp(-2j * cmath.pi * (u * x / h + v * y / w))
        for p in range(size):
          for q in range(size):
            result[p, q, c] += (component * cmath.exp(2j * cmath.pi * (u * p + v * q) / size)).real / (h * w)
  return result
