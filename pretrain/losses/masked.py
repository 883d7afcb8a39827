"""Masked modelling: what was hidden is predicted."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32, same_shape


def standardize_patches(patches):
  """Each patch minus its mean over its unbiased standard deviation: [b, n, p] -> f32[b, n, p].

  arXiv:2111.06377v3, section 3, "Reconstruction target"; the authors' code adds 1e-6 to the (unbiased) variance.
  """
  patches = patches.astype(f32)
  return (patches - patches.mean(-1, keepdims=True)) * jax.lax.rsqrt(patches.var(-1, keepdims=True, ddof=1) + 1e-6)


def masked_mse(predicted, target, *, mask):
  """Mean squared error of the hidden patches only.

  arXiv:2111.06377v3, section 3. Mean over the pixels of a patch, then over all hidden patches of the batch.

  Args:
    predicted, target: [b, n, p].
    mask: bool[b, n], True where hidden; at least one is.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  return masked_error('masked_mse', jnp.square, predicted=predicted, target=target, mask=mask)


def masked_error(name: str, size: Callable, *, predicted, target, mask):
  """Mean of `size(predicted - target)` over the pixels of a patch, then over all hidden patches: see `masked_mse`.

  Args:
    name: of the loss, for messages.
    size: of the error of a pixel: jnp.square, jnp.abs.
  """
  same_shape(name, predicted=predicted.shape, target=target.shape)
  same_shape(name, patches=predicted.shape[:2], mask=mask.shape)
  error = jnp.mean(size(predicted.astype(f32) - target.astype(f32)), -1)  # [b, n]
  return jnp.sum(error * mask) / jnp.sum(mask)
