"""Randomness per example, the way into and out of float planes, and what becomes of a batch."""
import itertools

import jax
import jax.numpy as jnp


def example_keys(key, index, epoch):
  """One key per example, a function of (key, index, epoch) alone: never of the row or of the device.

  Args: `key` the step's key; `index` i32[b] the example's place in its source; `epoch` i32[b].
  Returns: keys [b].
  """
  return jax.vmap(lambda i, e: jax.random.fold_in(jax.random.fold_in(key, i), e))(index, epoch)


def uniforms(keys, views: int, sizes: tuple[int, ...]):
  """All the randomness of an example in one draw (many small splits would cost more than the images).

  Args: `keys` [b]; `views` v; `sizes` how many numbers each consumer takes per view.
  Returns: a list of f32[b, v, m] in [0, 1), one for each m of `sizes`.
  """
  u = jax.vmap(lambda key: jax.random.uniform(key, (views, sum(sizes))))(keys)  # [b, v, sum(sizes)]
  return split(u, sizes)


def split(u, sizes: tuple[int, ...]):
  """Cuts the last axis of f32[..., m] into consecutive pieces of `sizes`."""
  return jnp.split(u, list(itertools.accumulate(sizes))[:-1], axis=-1)


def to_float(images):
  """u8[..., h, w, c] in 0..255 -> f32 in [0, 1].  Raises ValueError for another dtype or number of channels."""
  if images.dtype != jnp.uint8 or images.ndim < 4 or images.shape[-1] not in (1, 3):
    raise ValueError(f'raw images must be uint8 [b, h, w, 1 or 3], got {images.dtype} {list(images.shape)}')
  return images.astype(jnp.float32) / 255


def to_planes(images):
  """u8[..., h, w, c] in 0..255 -> f32[..., c, h, w] in [0, 1]."""
  return jnp.moveaxis(to_float(images), -1, -3)


def channels_last(planes):
  """[..., c, h, w] -> [..., h, w, c]."""
  return jnp.moveaxis(planes, -3, -1)


def replace_image(batch, **images):
  """The batch with `images` instead of the raw 'image'; 'epoch' has done its work and goes; the rest stays."""
  return {name: value for name, value in batch.items() if name not in ('image', 'epoch')} | images


def check_unit(**fractions: float | tuple[float, ...]):
  """Raises ValueError for the first of the named numbers (or tuples of them) outside [0, 1]."""
  for name, value in fractions.items():
    if not all(0 <= p <= 1 for p in (value if isinstance(value, tuple | list) else [value])):
      raise ValueError(f'wanted {name} in [0, 1], got {value}')
