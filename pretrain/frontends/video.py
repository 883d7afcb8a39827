"""Clips: cubes of several frames and their positions; frame by frame evaluated and drawn as images are."""
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from pretrain.config import Count, Number, Positive
from pretrain.frontends import Cells, Modality, flattened, image


@functools.cache
def view(side: int | None):
  """u8[b, t, h, w, c] -> f32 in [0, 1], [b, t, side, side, c] or as it is."""
  of_frames = image.view(side)

  def clips(x):
    frames = of_frames(x.reshape(-1, *x.shape[2:]))
    return frames.reshape(*x.shape[:2], *frames.shape[1:])

  return clips


def planned(source: dict, backbone: dict) -> tuple[int, ...] | None:
  """(t, h, w, c) where the source has a size and frames."""
  still = image.planned({key: value for key, value in source.items() if key != 'frames'}, backbone)
  return (source['frames'], *still) if still and 'frames' in source else None


MODALITY = Modality(key='image', dims='t h w c', dtype=np.uint8, reads='video', planned=planned, view=view,
                    baselines=lambda _: {'raw pixels': Partial(flattened)}, side=lambda shape: min(shape[1:3]),
                    pictures=image.pictures)


def video(*, size: Count, frames: Count, tubelet: Count, channels: Count, patch: Count,
          mean: tuple[Number, ...] = (0.5,), std: tuple[Positive, ...] = (0.5,)) -> Cells:
  """Cubes of clips float[b, t, h, w, c] in [0, 1] (2203.12602v3, section 3.1).

  An image [b, h, w, c] is a clip in which nothing moves.

  Args:
    size, channels, patch, mean, std: as in `image.image`.
    frames: of a clip of the native size.
    tubelet: frames of a cube.
  Raises:
    ValueError: what `image.image` raises; learned positions of a clip of another size.
  """
  still = image.image(size=size, channels=channels, patch=patch, mean=mean, std=std)
  grid = (frames // tubelet, *still.grid)

  def normalize(clips):
    if clips.ndim == 4:
      clips = jnp.broadcast_to(clips[:, None], (len(clips), frames, *clips.shape[1:]))
    return still.normalize(clips.reshape(-1, *clips.shape[2:])).reshape(clips.shape)

  def resample(table, target):
    if target != grid:
      raise ValueError(f"wanted clips with a grid of {grid}, got {target}; positions='sincos' takes any")
    return table

  return Cells(grid, tubelet * still.size, normalize, lambda shape: (shape[1] // tubelet, *still.grid_of(shape)),
               lambda clips: tubelets(clips, patch, tubelet), positions, resample)


def tubelets(clips, size: int, length: int):
  """Cut clips [b, t, h, w, c] into cubes of `length` frames: [b, t / length * n, length * size * size * c].

  Cubes come by time, then row by row (2203.12602v3, section 3.1); inside one the order is frame, row, column, channel.

  Raises ValueError if `length` does not divide the frames, or `size` the sides.
  """
  b, t = clips.shape[:2]
  if t % length:
    raise ValueError(f'wanted a number of frames that cubes of {length} divide, got {t}; the nearest is '
                     f'{max(length, round(t / length) * length)}')
  x = image.patchify(clips.reshape(b * t, *clips.shape[2:]), size)  # [b * t, n, p]
  x = x.reshape(b, t // length, length, *x.shape[1:]).swapaxes(2, 3)  # [b, t / length, n, length, p]
  return x.reshape(b, x.shape[1] * x.shape[2], -1)


def positions(grid: tuple[int, ...], width: int) -> np.ndarray:
  """Positions f32[n, width] of a grid of (times, rows, columns).

  Sines and cosines of the place in their sequence, as in the code of 2203.12602v3 (there they alternate); for one time
  those of its image.
  """
  if grid[0] == 1:
    return image.sincos((grid[-2], grid[-1]), width)
  frequencies = 10_000.0 ** (-np.arange(width // 2) / (width / 2))
  angles = np.outer(np.arange(math.prod(grid)), frequencies)
  return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)
