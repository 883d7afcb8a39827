"""RandAugment with FixMatch's pool, on whole batches, at a fraction of the price of fourteen operations.

Every operation is one of three kinds, and each kind is computed once for all examples with per-example parameters that
leave it without effect where another kind was drawn:

1. geometry (Rotate, ShearX/Y, TranslateX/Y): one affine warp, a 2x3 matrix per example;
2. blends (Brightness, Color, Contrast, Sharpness): a image + (1 - a) degenerate, with black, grey, the mean grey or the
   smoothed image as the degenerate;
3. tables (AutoContrast, Equalize, Posterize, Solarize): 256 entries per example and channel, one look-up.

Pixels are whole numbers 0..255 held in float32, rounded or cut after each operation as Pillow does.
"""
import functools

import jax
import jax.numpy as jnp
from jax import lax

from pretrain.views.ops.geometry import warp

POOL = ('AutoContrast', 'Brightness', 'Color', 'Contrast', 'Equalize', 'Identity', 'Posterize', 'Rotate', 'Sharpness',
        'ShearX', 'ShearY', 'Solarize', 'TranslateX', 'TranslateY')  # arXiv:2001.07685v2 table 12
SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')  # weak in the middle of their range
OPERATION_DRAWS = 2
CUTOUT_DRAWS = 2
GREY = 128.0  # what stands where the warp shows nothing, and in the cutout


def rand_augment(images, u, magnitude: float = 1.0, probability: float = 1.0):
  """A chain of random operations of random magnitude (arXiv:1909.13719v2; ranges of arXiv:2001.07685v2 table 12).

  Args: `images` f32[n, c, h, w], whole numbers 0..255; `u` f32[n, operations, OPERATION_DRAWS] uniform: which
    operation, and where in its range; `magnitude` in [0, 1] draws from the weakest such share of every range;
    `probability` that an operation that is drawn is applied (in both papers always).
  Returns: f32[n, c, h, w], whole numbers 0..255.
  Deviations from the authors' code: the table's ranges (their code has others, e.g. enhancement to 1.72 and 1 to 4
  bits), with continuous magnitudes and shifts relative to the image's size (theirs up to 9 pixels).
  """
  for i in range(u.shape[1]):
    drawn = jnp.floor(u[:, i, 0] / probability * len(POOL)).astype(jnp.int32)
    chosen = jnp.where(u[:, i, 0] < probability, drawn, POOL.index('Identity'))
    images = apply_operation(images, chosen, u[:, i, 1] if magnitude == 1 else weakened(chosen, u[:, i, 1], magnitude))
  return images


def weakened(chosen, place, magnitude: float):
  """Places f32[n] in [0, 1) of an operation's range, drawn towards its weak end: the middle, or 1."""
  signed = jnp.isin(chosen, jnp.array([POOL.index(name) for name in SIGNED]))
  return jnp.where(signed, 0.5 + magnitude * (place - 0.5), 1 - magnitude * (1 - place))


def apply_operation(images, chosen, magnitude):
  """One operation per example.

  Args: `images` f32[n, c, h, w], whole numbers 0..255; `chosen` i32[n] places in POOL; `magnitude` f32[n] in [0, 1),
    the place in the operation's range, whose ends are: enhancements 0.05 and 0.95; Posterize 4 and 8 bits; Rotate
    -30 and 30 degrees (anticlockwise); shears -0.3 and 0.3, about the top left corner; Solarize thresholds 0 and 256;
    translations -0.3 and 0.3 of the side.
  Returns: f32[n, c, h, w], whole numbers 0..255.
  """
  # On CPUs each stage is kept in memory: fused into the next, it would be computed again by all who read it (5 times
  # slower).
  keep = functools.partial(lax.platform_dependent, cpu=lax.optimization_barrier, default=lambda x: x)
  x = keep(warp(images, _matrices(chosen, magnitude, *images.shape[-2:]), fill=GREY))
  x = keep(_blend(x, chosen, 0.05 + 0.9 * magnitude))
  x, tables = keep((x, _tables(x, chosen, magnitude)))
  return keep(_look_up(x, tables))


def cutout(images, u, *, share: float):
  """Greys a square of `share` of the shorter side around a random pixel, cut at the border (arXiv:1708.04552v2).

  Args: `images` f32[n, c, h, w], 0..255; `u` f32[n, CUTOUT_DRAWS] uniform.
  """
  h, w = images.shape[-2:]
  half = int(share * min(h, w)) // 2
  row, column = (jnp.floor(u[:, i, None] * side) for i, side in enumerate((h, w)))  # [n, 1]
  rows = (jnp.arange(h) >= row - half) & (jnp.arange(h) < row + half)
  columns = (jnp.arange(w) >= column - half) & (jnp.arange(w) < column + half)
  return jnp.where(rows[:, None, :, None] & columns[:, None, None, :], GREY, images)


def _is(chosen, name):
  return chosen == POOL.index(name)


def _matrices(chosen, magnitude, h, w):
  """f32[n, 6] for `warp`; the identity for operations of another kind."""
  signed = 2 * magnitude - 1

  def amount(name, most):
    return jnp.where(_is(chosen, name), most * signed, 0)

  angle = amount('Rotate', jnp.pi / 6)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  b, d = amount('ShearX', 0.3) - sin, amount('ShearY', 0.3) + sin
  # About the centre: what rotation moves (w / 2, h / 2) by is given back.
  c = amount('TranslateX', 0.3 * w) + w / 2 - cos * w / 2 + sin * h / 2
  f = amount('TranslateY', 0.3 * h) + h / 2 - sin * w / 2 - cos * h / 2
  return jnp.stack([cos, b, c, d, cos, f], -1)


def _blend(x, chosen, factor):
  chosen, factor = chosen[:, None, None, None], factor[:, None, None, None]
  grey = x  # Pillow's 16-bit luma, in whole numbers
  if x.shape[1] == 3:
    grey = jnp.floor((19595 * x[:, :1] + 38470 * x[:, 1:2] + 7471 * x[:, 2:] + 32768) / 65536)  # [n, 1, h, w]
  mean = jnp.floor(jnp.mean(grey, (1, 2, 3), keepdims=True) + 0.5)
  to = jnp.where(_is(chosen, 'Brightness'), 0, jnp.where(_is(chosen, 'Contrast'), mean, grey))
  to = jnp.where(_is(chosen, 'Sharpness'), _smooth(x), to)
  enhanced = _is(chosen, 'Brightness') | _is(chosen, 'Color') | _is(chosen, 'Contrast') | _is(chosen, 'Sharpness')
  return jnp.where(enhanced, jnp.floor(to + factor * (x - to)), x)


def _smooth(x):
  """Pillow's SMOOTH: a 3x3 mean with the centre five times; the border stays."""
  rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
  total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * x[:, :, 1:-1, 1:-1]
  return x.at[:, :, 1:-1, 1:-1].set(jnp.floor(total / 13 + 0.5))


def _tables(x, chosen, magnitude):
  """f32[n, c, 256]: what becomes of each value in each channel; itself for operations of another kind."""
  n, c, h, w = x.shape
  level = jnp.arange(256, dtype=jnp.float32)
  chosen, magnitude = chosen[:, None, None], magnitude[:, None, None]

  low, high = jnp.min(x, (2, 3))[..., None], jnp.max(x, (2, 3))[..., None]  # [n, c, 1]
  stretched = jnp.clip(jnp.floor((level - low) * 255 / jnp.maximum(high - low, 1)), 0, 255)
  stretched = jnp.where(high > low, stretched, level)

  histogram = jax.vmap(jax.vmap(lambda values: jnp.zeros(256, jnp.int32).at[values].add(1)))  # stays in its shard
  count = histogram(x.reshape(n, c, h * w).astype(jnp.int32))  # [n, c, 256]
  last = jnp.sum(jnp.where(level == high, count, 0), -1, keepdims=True)
  step = (h * w - last) // 255
  below = jnp.cumsum(count, -1) - count
  equal = jnp.where(step > 0, jnp.minimum((below + step // 2) // jnp.maximum(step, 1), 255), level)

  unit = 2 ** (4 - jnp.floor(5 * magnitude))  # 16, 8, 4, 2, 1: drops 4 to 0 bits
  table = jnp.where(_is(chosen, 'AutoContrast'), stretched, level)
  table = jnp.where(_is(chosen, 'Equalize'), equal, table)
  table = jnp.where(_is(chosen, 'Posterize'), jnp.floor(level / unit) * unit, table)
  return jnp.where(_is(chosen, 'Solarize') & (level >= 256 * magnitude), 255 - level, table)


def _look_up(x, tables):
  # by way of bytes: else XLA for GPUs writes one array of indices, for the histogram and for this
  places = x.reshape(*x.shape[:2], -1).astype(jnp.uint8).astype(jnp.int32)
  return jnp.take_along_axis(tables, places, axis=2).reshape(x.shape)
