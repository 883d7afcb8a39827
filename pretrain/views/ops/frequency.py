"""Images of low frequencies alone."""
import jax.numpy as jnp
import numpy as np
from jax import lax

PAPER = dict(name='efficienttrain',
             title='EfficientTrain: Exploring Generalized Curriculum Learning for Training Visual Backbones',
             arxiv='2211.09703', family='schedule', modality='image')


def fourier_crop(images, size: int):
  """The size x size lowest frequencies of f32[..., h, w], as an image f32[..., size, size] of the same mean.

  Low-frequency cropping of EfficientTrain (arXiv:2211.09703, section 4.1, from memory; `freq_crop` of the authors'
  code): the centre of the Fourier spectrum, transformed back, times size^2 / (h w). An even size keeps the frequencies
  -size / 2, ..., size / 2 - 1 and drops what is imaginary of the result, as theirs; an odd one, which they round down,
  -(size - 1) / 2, ..., (size - 1) / 2. Pixels may leave [0, 1], as sharp edges ring.

  Both transforms and the crop are one linear map of each axis, so they are two products with constant matrices, real
  and imaginary: the compiler splits these over a mesh, and gathers the batch for an FFT.

  Raises ValueError for a size outside 1 to min(h, w).
  """
  h, w = images.shape[-2:]
  if not 1 <= size <= min(h, w):
    raise ValueError(f'wanted a bandwidth of 1 to {min(h, w)}, the side of the view, got {size}')
  if h == w == size:
    return images
  rows, columns = low_frequencies(size, h), low_frequencies(size, w)
  product = lambda a, b: jnp.einsum('ph,...hw,qw->...pq', a, images, b, precision=lax.Precision.HIGHEST)
  return product(rows.real, columns.real) - product(rows.imag, columns.imag)


def low_frequencies(size: int, side: int) -> np.ndarray:
  """complex64[size, side]: an axis of `side` pixels to the `size` pixels that have its lowest frequencies."""
  frequencies = np.arange(size) - size // 2
  there = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(side)) / side)  # [frequencies, side]
  back = np.exp(2j * np.pi * np.outer(np.arange(size), frequencies) / size)  # [size, frequencies]
  return (back @ there / side).astype(np.complex64)
