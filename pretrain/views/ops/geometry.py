"""Crops, flips and warps.  Whatever is separable is two batched matrix products; only `warp` gathers."""
import jax.numpy as jnp
from jax import lax

TRIES = 10
BOX_DRAWS = 2 * TRIES + 2


def sample_boxes(u, h: int, w: int, *, scale: tuple[float, float], ratio: tuple[float, float]):
  """Inception crops as torchvision samples them: area uniform in `scale`, log aspect ratio uniform, whole pixels.

  Ten tries, the first that fits wins; where none does, the largest centre crop whose ratio is allowed.  All tries are
  computed and one is chosen, so that nothing branches.  Source: arXiv:1409.4842v1 section 6; torchvision.

  Args: `u` f32[..., BOX_DRAWS] in [0, 1); `h`, `w` the image; `scale` fractions of its area; `ratio` width / height.
  Returns: f32[..., 4], whole numbers: top, left, height, width.
  """
  if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
    raise ValueError(f'wanted 0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1], got {scale} and {ratio}')
  area = h * w * (scale[0] + (scale[1] - scale[0]) * u[..., :TRIES])  # [..., tries]
  low, high = jnp.log(jnp.array(ratio, jnp.float32))
  aspect = jnp.exp(low + (high - low) * u[..., TRIES:2 * TRIES])
  heights, widths = jnp.round(jnp.sqrt(area / aspect)), jnp.round(jnp.sqrt(area * aspect))
  fits = (heights > 0) & (heights <= h) & (widths > 0) & (widths <= w)
  first = fits & (jnp.cumsum(fits, -1) == 1)
  centre_h, centre_w = min(h, round(w / ratio[0])), min(w, round(h * ratio[1]))
  found = fits.any(-1)
  height = jnp.where(found, jnp.sum(first * heights, -1), centre_h)
  width = jnp.where(found, jnp.sum(first * widths, -1), centre_w)
  top = jnp.where(found, jnp.floor(u[..., -2] * (h - height + 1)), (h - centre_h) // 2)
  left = jnp.where(found, jnp.floor(u[..., -1] * (w - width + 1)), (w - centre_w) // 2)
  return jnp.stack([top, left, height, width], -1)


def resize_weights(start, length, size_in: int, size_out: int, flip=False):
  """Rows of weights that resample [start, start + length) to `size_out` samples, as Pillow's BILINEAR `resize(box=…)`.

  A triangle as wide as the step between samples (never narrower than a pixel: anti-aliased when it shrinks), which
  reads beyond the box where the image goes on.  torchvision crops first and so repeats the box's border instead.

  Args: `start`, `length` f32[...] in pixels; `flip` bool[...] reverses the samples.
  Returns: f32[..., size_out, size_in]; rows sum to 1.
  """
  start, length, flip = (jnp.asarray(x)[..., None, None] for x in (start, length, flip))
  sample = jnp.arange(size_out, dtype=jnp.float32)[:, None]  # [out, 1]
  step = length / size_out
  centre = start + (jnp.where(flip, size_out - 1 - sample, sample) + 0.5) * step
  distance = (jnp.arange(size_in) + 0.5 - centre) / jnp.maximum(step, 1)  # [..., out, in]
  weights = jnp.maximum(1 - jnp.abs(distance), 0)
  return weights / jnp.sum(weights, -1, keepdims=True)


def shift_weights(offset, size_in: int, size_out: int, *, pad: int, reflect: bool, flip=False):
  """Rows of weights that cut `size_out` pixels, from `offset`, out of an axis padded by `pad` on both sides.

  Args: `offset` i32[...] in 0..size_in + 2 pad - size_out; `reflect` mirrors about the border pixel (tf's REFLECT),
    otherwise the padding is zero; `flip` bool[...] reverses the result.
  Returns: f32[..., size_out, size_in] of zeros and ones.
  """
  offset, flip = (jnp.asarray(x)[..., None, None] for x in (offset, flip))
  sample = jnp.arange(size_out)[:, None]
  source = jnp.where(flip, size_out - 1 - sample, sample) + offset - pad  # [..., out, 1]
  if reflect:
    source = size_in - 1 - jnp.abs(size_in - 1 - jnp.abs(source))
  return (source == jnp.arange(size_in)).astype(jnp.float32)


def resample(images, rows, columns):
  """Applies weights to both axes: f32[b, c, h, w], [b, v, o, h], [b, v, p, w] -> f32[b, v, c, o, p].

  Clipped to [0, 1], since rows sum to 1 only up to rounding.  Full precision is asked for: TPU and GPU would otherwise
  round pixels to bfloat16 or TF32.
  """
  x = jnp.einsum('bvoh,bchw->bvcow', rows, images, precision=lax.Precision.HIGHEST)
  return jnp.clip(jnp.einsum('bvpw,bvcow->bvcop', columns, x, precision=lax.Precision.HIGHEST), 0, 1)


def random_resized_crop(images, box, flip, *, size: int, scale: tuple[float, float], ratio: tuple[float, float]):
  """v random crops of each image, resized to `size` and perhaps mirrored.

  Args: `images` f32[b, c, h, w]; `box` f32[b, v, BOX_DRAWS] uniform; `flip` bool[b, v].
  Returns: f32[b, v, c, size, size].
  """
  h, w = images.shape[-2:]
  top, left, height, width = jnp.moveaxis(sample_boxes(box, h, w, scale=scale, ratio=ratio), -1, 0)
  return resample(images, resize_weights(top, height, h, size), resize_weights(left, width, w, size, flip))


def random_shift(images, u, flip, *, size: tuple[int, int], pad: tuple[int, int], reflect: bool):
  """v random crops of `size` out of each padded image, perhaps mirrored; whole pixels, so values are kept exactly.

  Args: `images` f32[b, c, h, w]; `u` f32[b, v, 2] uniform; `flip` bool[b, v]; `size`, `pad` for height and width.
  Returns: f32[b, v, c, *size].
  """
  h, w = images.shape[-2:]
  room = [n + 2 * p - s for n, p, s in zip((h, w), pad, size, strict=True)]
  if min(room) < 0 or reflect and (pad[0] >= h or pad[1] >= w):
    raise ValueError(f'cannot cut {size} out of {(h, w)} padded by {pad}{" by reflection" * reflect}')
  top, left = (jnp.floor(u[..., i] * (room[i] + 1)).astype(jnp.int32) for i in (0, 1))
  rows = shift_weights(top, h, size[0], pad=pad[0], reflect=reflect)
  columns = shift_weights(left, w, size[1], pad=pad[1], reflect=reflect, flip=flip)
  return resample(images, rows, columns)


def warp(images, matrix, *, fill: float):
  """Affine warp with the nearest pixel, one matrix per example, as Pillow's `transform(AFFINE, NEAREST)`.

  Args: `images` [b, c, h, w]; `matrix` f32[b, 6], (a, b, c, d, e, f): the output pixel (x, y) shows the input at
    (a x + b y + c, d x + e y + f), coordinates of pixel centres being halves; outside stands `fill`.
  """
  b, c, h, w = images.shape
  y, x = jnp.meshgrid(jnp.arange(h) + 0.5, jnp.arange(w) + 0.5, indexing='ij')
  m = matrix[:, :, None, None]
  column = jnp.floor(m[:, 0] * x + m[:, 1] * y + m[:, 2]).astype(jnp.int32)  # [b, h, w]
  row = jnp.floor(m[:, 3] * x + m[:, 4] * y + m[:, 5]).astype(jnp.int32)
  inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
  place = jnp.where(inside, row * w + column, 0).reshape(b, 1, h * w)
  moved = jnp.take_along_axis(images.reshape(b, c, h * w), place, axis=2).reshape(images.shape)
  return jnp.where(inside[:, None], moved, fill)
