"""Images of several fractals, for multi-instance prediction."""
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from pretrain.config import Count, Ordered, Positives, Range, Seed
from pretrain.views.ops import fractals as ops
from pretrain.views.ops.keys import example_keys, replace_image


def fractal_scenes(*, size: Annotated[int, Range(4)], channels: Literal[1, 3], points: Count, codes: Count,
                   seed: Seed, instances: Annotated[tuple[Count, Count], Ordered()] = (1, 5),
                   sides: Positives = (0.15, 0.6), background: bool = True):
  """Images in which several fractals lie over each other on a random background, and which codes those have.

  arXiv:2110.03091, section 4 (number from memory) and the authors' code: each fractal has a random code, side, place
  (up to half of it outside) and colour, and is turned and mirrored. Deviations: every fractal is drawn anew (theirs
  come from a cache of 512) and at its size (theirs at half the image's, then resized); the others of `fractals`.

  Args:
    size, channels, points, seed, background: as in `fractals`; points of each fractal.
    codes: k, in the table.
    instances: least and most fractals in an image.
    sides: of a fractal, as shares of the image's.

  Returns `views(batch, key) -> batch`: 'index' gets an 'image' f32[b, size, size, channels] in [0, 1] and 'present'
  f32[b, codes], 1 for the codes that are there; 'label', which says nothing, goes.
  """

  def instance(key, drawn):
    number = (drawn[0] * codes).astype(jnp.int32)
    side = jnp.maximum(1, jnp.floor(size * (sides[0] + drawn[1] * (sides[1] - sides[0]))))
    lower = jnp.floor(drawn[2:] * size) - jnp.floor(side / 2)
    play, colour = jax.random.split(key)
    grey = ops.fractal(play, ops.numbered(seed, number), size, points, lower, jnp.full(2, side - 1))
    return number, grey[..., None] > 0, ops.coloured(colour, grey)

  def one(key):
    draws, paint, blur, *each = jax.random.split(key, 3 + instances[1])
    u = jax.random.uniform(draws, (1 + 4 * instances[1],))
    count = instances[0] + (u[0] * (instances[1] - instances[0] + 1)).astype(jnp.int32)
    there = jnp.arange(instances[1]) < count
    numbers, masks, colours = jax.vmap(instance)(jnp.stack(each), u[1:].reshape(-1, 4))
    image = ops.background(paint, size) if background else jnp.zeros((size, size, 3))
    for i in range(instances[1]):
      image = jnp.where(masks[i] & there[i], colours[i], image)
    return ops.blurred(blur, image), jnp.zeros(codes).at[numbers].max(there.astype(jnp.float32))

  def views(batch, key):
    images, present = jax.vmap(one)(example_keys(key, batch['index'], batch['epoch']))
    rest = {name: value for name, value in batch.items() if name != 'label'}
    return replace_image(rest, image=ops.finished(images, channels), present=present)

  return views
