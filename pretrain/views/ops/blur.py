"""Gaussian blur as two batched products with banded matrices."""
import jax.numpy as jnp

from pretrain.views.ops.geometry import resample


def blur_weights(sigma, size: int, *, radius: int):
  """f32[n] standard deviations in pixels -> f32[n, size, size] that blur an axis; rows sum to 1.

  The Gaussian is cut off beyond `radius` pixels (at most size - 1) and normalised; the image is mirrored about its
  border pixels, as torchvision's GaussianBlur does.
  """
  radius = min(radius, size - 1)
  sigma = jnp.asarray(sigma)[:, None, None]

  def kernel(offset):
    return jnp.where(jnp.abs(offset) <= radius, jnp.exp(-0.5 * (offset / sigma) ** 2), 0)

  i, j = jnp.arange(size)[:, None], jnp.arange(size)
  before, after = kernel(i + j), kernel(2 * (size - 1) - i - j)  # what is mirrored at either end, but for the border
  weights = kernel(i - j) + jnp.where(j > 0, before, 0) + jnp.where(j < size - 1, after, 0)
  return weights / jnp.sum(weights, -1, keepdims=True)


def gaussian_blur(images, sigma, apply, *, radius: int):
  """Blurs the examples where `apply` bool[n] of f32[n, c, h, w], with `sigma` f32[n] in pixels."""
  h, w = images.shape[-2:]
  rows, columns = (blur_weights(sigma, size, radius=radius)[:, None] for size in (h, w))
  blurred = resample(images, rows, columns)[:, 0]
  return jnp.where(apply[:, None, None, None], blurred, images)
