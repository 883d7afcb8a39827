"""Fractals drawn on the device: the code's number is the label."""
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from pretrain.config import Count, NonNegative, Positives, Range, Seed
from pretrain.views.ops import fractals as ops
from pretrain.views.ops.keys import example_keys, replace_image


def fractals(*, size: Annotated[int, Range(4)], channels: Literal[1, 3], points: Count, seed: Seed,
             scale: Positives = (0.5, 2.0), translate: NonNegative = 0.2, jitter: Positives = (0.8, 1.1),
             background: bool = True):
  """An image of the fractal whose code is 'label', another one each time, on a random background.

  arXiv:2110.03091, section 3 (number from memory) and the authors' code: the hue goes by how often a pixel is hit; one
  map of the system is scaled, the window moves and grows, the fractal is turned and mirrored, and half of the images
  are not blurred. Deviations: a map is scaled at most to a singular value of 1 (theirs: four attempts); the background
  is not diamond-square; hues are not rounded; the points are those of many short chains.

  Args:
    size: side of the image, in pixels.
    channels: 3, or 1 for grey.
    points: of the fractal; 100,000 in the paper for 224 pixels.
    seed: of the table of codes.
    scale: of the window's sides over the fractal's.
    translate: of the window, at most so much of the fractal's sides.
    jitter: of one map's matrix and offset.
    background: random, behind the fractal, as in the paper; otherwise black.

  Returns `views(batch, key) -> batch`: 'label' and 'index' get an 'image' f32[b, size, size, channels] in [0, 1].
  """
  def one(key, number):
    keys = jax.random.split(key, 5)
    code, u = ops.numbered(seed, number), jax.random.uniform(keys[0], (6,))
    which = (u[0] * jnp.sum(code.probabilities > 0)).astype(jnp.int32)
    most = 1 / ops.largest(code.matrices[which])
    factor = jnp.minimum(jitter[0] + u[1] * (jitter[1] - jitter[0]), most)
    factors = jnp.where(jnp.arange(ops.MOST) == which, factor, 1.)
    code = code._replace(matrices=code.matrices * factors[:, None, None], offsets=code.offsets * factors[:, None])
    window = scale[0] + u[2:4] * (scale[1] - scale[0])  # sides, in those of the fractal
    extent = (size - 1) / window
    lower = (size - 1) / 2 - extent * (0.5 + translate * (2 * u[4:] - 1))
    grey = ops.fractal(keys[1], code, size, points, lower, extent)
    behind = ops.background(keys[3], size) if background else 0.
    image = jnp.where(grey[..., None] > 0, ops.coloured(keys[2], grey), behind)
    return ops.blurred(keys[4], image)

  def views(batch, key):
    images = jax.vmap(one)(example_keys(key, batch['index'], batch['epoch']), batch['label'])
    return replace_image(batch, image=ops.finished(images, channels))

  return views
