"""Images: normalisation, patches and their positions; evaluated by raw pixels, drawn as they are."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from pretrain.config import Count, Number, Positive
from pretrain.frontends import Cells, Modality, flattened
from pretrain.machine.sharding import materialize
from pretrain.views.evaluation import evaluation


def unit_range(images):
  """u8 in [0, 255] -> f32 in [0, 1], the same shape."""
  return images.astype(jnp.float32) / 255


@functools.cache
def view(side: int | None):
  """u8[b, h, w, c] -> f32 in [0, 1], [b, side, side, c] or as it is."""
  return unit_range if side is None else evaluation(size=side)


def pictures(x):
  """Images [b, h, w, c] or several of each example, [b, v, h, w, c] -> [b, v, h, w, c]."""
  return x if x.ndim == 5 else x[:, None] if x.ndim == 4 else None


def planned(source: dict, backbone: dict) -> tuple[int, ...] | None:
  """(h, w, c) where the source has a size and no frames."""
  del backbone
  return None if 'size' not in source or 'frames' in source else (source['size'],) * 2 + (source.get('channels', 3),)


MODALITY = Modality(key='image', dims='h w c', dtype=np.uint8, reads='image', planned=planned, view=view,
                    baselines=lambda _: {'raw pixels': Partial(flattened)}, side=lambda shape: min(shape[:2]),
                    pictures=pictures)


def image(*, size: Count, channels: Count, patch: Count, mean: tuple[Number, ...] = (0.5,),
          std: tuple[Positive, ...] = (0.5,)) -> Cells:
  """Square patches of images float[b, h, w, c] in [0, 1], whose sides `patch` divides.

  Args:
    size: native side in pixels.
    channels: of the images.
    patch: side of a patch in pixels.
    mean, std: of the pixels, one for each channel or one for all.
  Raises:
    ValueError: `patch` does not divide `size`; statistics for another number of channels.
  """
  check_statistics(channels, mean=mean, std=std)
  grid = grid_of((size, size, channels), patch)
  return Cells(
      grid, patch * patch * channels, functools.partial(normalize, channels=channels, mean=mean, std=std),
      lambda shape: grid_of(shape, patch), lambda images: patchify(images, patch), sincos,
      lambda table, target: interpolate(table, grid, target))


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
  """(rows, columns) of patches of images of shape [..., h, w, c].

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


def sincos(grid: tuple[int, ...], width: int, *, temperature: float = 10_000.0) -> np.ndarray:
  """Fixed sine-cosine positions f32[rows * columns, width] of a grid of (rows, columns).

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
