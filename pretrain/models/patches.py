"""The front end of images and clips: normalisation, patches and their positions."""
import math

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.models.layers import materialize


def normalize(images, *, channels: int, mean: tuple[float, ...], std: tuple[float, ...]):
  """Standardise images in [0, 1] by a mean and a standard deviation for each channel (or one for all).

  Takes float[b, h, w, channels] and returns f32 of the same shape, (x - mean) / std.

  Raises ValueError if the images are not floats of that rank and number of channels.
  """
  if images.ndim != 4 or images.shape[-1] != channels:
    raise ValueError(f'wanted images [b, h, w, {channels}], got {images.shape}; '
                     'set `channels` of the backbone to what the data has')
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(f'wanted float images in [0, 1], got {images.dtype}; convert with `images / 255`')
  return (images.astype(jnp.float32) - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)


def check_statistics(channels: int, **statistics: tuple[float, ...]):
  """Raise ValueError unless each of the named statistics has one value, or one for each channel."""
  for name, values in statistics.items():
    if len(values) not in (1, channels):
      raise ValueError(f'wanted {name} with 1 or {channels} values, as `channels`={channels}, got {values}')


def grid_of(shape: tuple[int, ...], size: int) -> tuple[int, int]:
  """(rows, columns) of patches of an image batch of shape [b, h, w, c], or of clips [b, t, h, w, c].

  Raises ValueError if a side is not divisible by the patch size.
  """
  h, w = shape[-3:-1]
  if h % size or w % size:
    near = tuple(max(size, round(side / size) * size) for side in (h, w))
    raise ValueError(f'wanted image sides divisible by the patch size {size}, got {h}x{w}; '
                     f'the nearest that fits is {near[0]}x{near[1]}')
  return h // size, w // size


def patchify(images, size: int):
  """Cut images [b, h, w, c] into non-overlapping patches [b, n, size * size * c].

  Patches come row by row; inside a patch the order is row, column, channel, as in the code of 2111.06377v3.

  Raises ValueError if a side is not divisible by `size`.
  """
  b, c = images.shape[0], images.shape[-1]
  rows, columns = grid_of(images.shape, size)
  x = materialize(images).reshape(b, rows, size, columns, size, c)  # XLA would compute what leads to it pixel by pixel
  x = x.transpose(0, 1, 3, 2, 4, 5)  # [b, rows, columns, size, size, c]
  return x.reshape(b, rows * columns, size * size * c)


def tubelets(clips, size: int, length: int):
  """Cut clips [b, t, h, w, c] into cubes of `length` frames: [b, t / length * n, length * size * size * c].

  Cubes come by time, then row by row (2203.12602v3, section 3.1); inside one the order is frame, row, column, channel.

  Raises ValueError if `length` does not divide the frames, or `size` the sides.
  """
  b, t = clips.shape[:2]
  if t % length:
    raise ValueError(f'wanted a number of frames that cubes of {length} divide, got {t}; the nearest is '
                     f'{max(length, round(t / length) * length)}')
  x = patchify(clips.reshape(b * t, *clips.shape[2:]), size)  # [b * t, n, p]
  x = x.reshape(b, t // length, length, *x.shape[1:]).swapaxes(2, 3)  # [b, t / length, n, length, p]
  return x.reshape(b, x.shape[1] * x.shape[2], -1)


def sincos(grid: tuple[int, int], width: int, *, temperature: float = 10_000.0) -> np.ndarray:
  """Fixed sine-cosine positions f32[rows * columns, width] of a grid of patches.

  The first half of the features encodes the column, the second half the row; each is [sin, cos] of the coordinate times
  temperature**(-i / (width / 4)), i = 0, 1, ... (1706.03762v7 section 3.5 along both axes; the order of the
  halves is that of the code of 2111.06377v3). Computed in float64, in NumPy, when the model is traced.

  Raises ValueError if the width is not divisible by 4.
  """
  if width % 4:
    raise ValueError(f'wanted a width divisible by 4 for sine-cosine positions, got {width}; '
                     f'the nearest is {max(4, round(width / 4) * 4)}')
  rows, columns = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing='ij')
  frequencies = temperature ** (-np.arange(width // 4) / (width / 4))
  angles = [np.outer(axis.reshape(-1), frequencies) for axis in (columns, rows)]  # 2 x [n, width / 4]
  return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


def fixed_positions(grid: tuple[int, ...], width: int) -> np.ndarray:
  """Positions f32[n, width] of a grid: `sincos` of (rows, columns); of (times, rows, columns) sines and cosines of the
  place in their sequence, as in the code of 2203.12602v3 (there they alternate), and for one time those of its image.
  """
  if len(grid) == 2 or grid[0] == 1:
    return sincos((grid[-2], grid[-1]), width)
  frequencies = 10_000.0 ** (-np.arange(width // 2) / (width / 2))
  angles = np.outer(np.arange(math.prod(grid)), frequencies)
  return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def interpolate(positions, grid: tuple[int, ...], target: tuple[int, ...]):
  """Resample positions [rows * columns, d] of one grid to another grid, bicubically; the identity for the same grid.

  `jax.image.resize` with Keys' kernel (a = -0.5), half-pixel centres and no antialiasing. Deviation: PyTorch's, used
  by the code of 2104.14294v2, has a = -0.75 and repeats the border, where this renormalises the weights at the border.
  """
  if tuple(grid) == tuple(target):
    return positions
  d = positions.shape[-1]
  table = positions.reshape(*grid, d)
  return jax.image.resize(table, (*target, d), 'cubic', antialias=False).reshape(-1, d)
