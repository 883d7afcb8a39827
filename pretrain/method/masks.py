"""What of an example is hidden, patches, words, columns: pure functions of a key and its index, of static shapes."""
import math

import jax
import jax.numpy as jnp
import numpy as np

from data.text import MASK, SPECIAL


def random_mask(key, index, patches: int, mask_ratio: float):
  """A uniform random subset of patches to hide, for each example on its own.

  Args:
    index: i32[b]; with the key it determines the mask of an example.
  Returns:
    visible i32[b, int(n * (1 - mask_ratio))], in random order, and mask bool[b, n], True where hidden.
  """
  count = int(patches * (1 - mask_ratio))
  if not 0 < count < patches:
    raise ValueError(f'mask_ratio wants to hide some of {patches} patches and leave some visible; {mask_ratio} leaves '
                     f'{count}')
  return _subset(key, index, patches, count)


def _subset(key, index, patches: int, count: int):
  """Which `count` patches are visible, in random order, and the mask of the others."""
  noise = _noise(key, index, (patches,))  # [b, n]
  rank = jnp.argsort(jnp.argsort(noise, -1), -1)
  return jnp.argsort(noise, -1)[:, :count], rank >= count


def tube_mask(key, index, grid: tuple[int, int, int], mask_ratio: float):
  """The same random patches hidden at all times (arXiv:2203.12602v3, section 3.3), for each example on its own.

  Args:
    index: i32[b]; with the key it determines the mask of an example.
    grid: (times, rows, columns) of cubes.
    mask_ratio: int(n * mask_ratio) of the n places are hidden, as in the authors' code.
  Returns:
    visible i32[b, times * k], by time, and mask bool[b, times * n], True where hidden.
  Raises:
    ValueError: nothing would be hidden, or all.
  """
  times, n = grid[0], grid[1] * grid[2]
  count = n - int(n * mask_ratio)
  if not 0 < count < n:
    raise ValueError(f'mask_ratio wants to hide some of {n} places and leave some visible; {mask_ratio} leaves {count}')
  visible, mask = _subset(key, index, n, count)
  visible = visible[:, None] + n * jnp.arange(times)[:, None]  # [b, times, k]
  return visible.reshape(len(index), -1), jnp.tile(mask, (1, times))


def token_mask(key, index, tokens, mask_ratio: float, vocabulary: int):
  """Which words of a text are to be predicted, and what stands for them: arXiv:1810.04805v2, section 3.1, task 1.

  Of the chosen places 80 % show MASK, 10 % a random word and 10 % the word itself, each drawn on its own; special
  tokens are never chosen. Deviation from the authors' code: no random word is a special token.

  Args:
    index: i32[b]; with the key it determines what is hidden of an example.
    tokens: i32[b, l].
    mask_ratio: in (0, 1); k = round(l * mask_ratio) places, at least 1, as in the authors' code.
    vocabulary: number of ids.
  Returns:
    shown i32[b, l]; places i32[b, k]; hidden bool[b, k], False where a text has no k words and the place is no word's.
  Raises:
    ValueError: a ratio that is not in (0, 1).
  """
  if not 0 < mask_ratio < 1:
    raise ValueError(f'mask_ratio wants to be in (0, 1), got {mask_ratio}')
  b, length = tokens.shape
  k = max(1, round(length * mask_ratio))
  noise, u = _noise(key, index, (2, max(length, 2 * k))).swapaxes(0, 1)  # 2 x [b, at least l and 2 k]
  places = jnp.argsort(noise[:, :length] + (tokens < SPECIAL), -1)[:, :k]
  words = jnp.take_along_axis(tokens, places, 1)
  hidden = words >= SPECIAL
  kind, other = u[:, :k], SPECIAL + (u[:, k:2 * k] * (vocabulary - SPECIAL)).astype(tokens.dtype)
  stand = jnp.where(kind < 0.8, MASK, jnp.where(kind < 0.9, other, words))
  shown = tokens.at[jnp.arange(b)[:, None], places].set(jnp.where(hidden, stand, words))
  return shown, places, hidden


def blockwise_mask(key, index, grid: tuple[int, int], count, *, smallest: int, largest: int, aspect: float = 0.3,
                   tries: int = 30):
  """Rectangles until `count` patches are hidden, for each example on its own (BEiT, arXiv:2106.08254v2, algorithm 1).

  A rectangle has an area between `smallest` and what is left to hide (at most `largest`), a random shape and place; it
  is taken if it hides something new and not more than is left. Deviations from the authors' code, for static shapes: it
  tries ten times a rectangle and then stops, with fewer patches; this tries `tries` times in all and then hides single
  patches at random, so that exactly `count` are hidden (of 14 x 14 patches less than 1 % are hidden so).

  Args:
    index: i32[b]; with the key it determines the mask of an example.
    grid: (rows, columns) of patches.
    count: how many to hide, int or i32[b], in [0, rows * columns].
    smallest, largest: areas of a rectangle, in patches.
    aspect: height / width is log-uniform in [aspect, 1 / aspect].
  Returns:
    mask bool[b, rows * columns], True where hidden.
  """
  rows, columns = grid
  i, j = jnp.arange(rows)[:, None], jnp.arange(columns)

  def one(u, noise, count):
    def attempt(mask, draw):
      left = count - jnp.sum(mask)
      area = smallest + draw[0] * (jnp.minimum(left, largest) - smallest)
      shape = jnp.exp(math.log(aspect) * (1 - 2 * draw[1]))
      h, w = jnp.round(jnp.sqrt(area * shape)), jnp.round(jnp.sqrt(area / shape))
      top, start = jnp.floor(draw[2] * (rows - h + 1)), jnp.floor(draw[3] * (columns - w + 1))
      block = (i >= top) & (i < top + h) & (j >= start) & (j < start + w)
      new = jnp.sum(block & ~mask)
      fits = (h < rows) & (w < columns) & (new > 0) & (new <= left)
      return mask | (block & fits), None

    mask, _ = jax.lax.scan(attempt, jnp.zeros(grid, bool), u)
    rank = jnp.argsort(jnp.argsort(noise - mask.reshape(-1)))  # what is hidden comes first
    return rank < count

  keys = jax.random.split(key)
  return jax.vmap(one)(_noise(keys[0], index, (tries, 4)), _noise(keys[1], index, (rows * columns,)),
                       jnp.broadcast_to(count, index.shape))


def multi_block(key, index, grid: tuple[int, int], *, targets: int, target_scale: tuple[float, float],
                target_aspect: tuple[float, float], context_scale: tuple[float, float], context_patches: int):
  """Target blocks, and a large context block without them, for each example on its own (arXiv:2301.08243v3, section 3).

  Sizes are drawn as in the authors' code: a share of the patches uniform in the scale, the aspect (height / width) in
  its range by the same number. Deviations, for static shapes: sizes differ from example to example (theirs: from batch
  to batch); of a target block as many patches are targets as the smallest block has, the others at random are neither
  targets nor context; of the context `context_patches` at random are kept (theirs: the first, as many as the poorest
  example of the device's batch has), and an example that has fewer repeats some. Blocks may be as long as a side and
  reach all borders (theirs never the last row and column).

  Args:
    index: i32[b]; with the key it determines the blocks of an example.
    grid: (rows, columns) of patches.
    targets: number of target blocks, m; they may overlap.
    target_scale, target_aspect, context_scale: ranges; the context block is square.
    context_patches: k; theirs is about 52 on 14 x 14 patches, 69 on 16 x 16 (the smallest of 128 examples, simulated).
  Returns:
    context i32[b, k] and target i32[b, m, t], places of patches.
  Raises:
    ValueError: there are blocks that would leave nothing of the context.
  """
  rows, columns = grid
  n = rows * columns
  small, large = _sizes(grid, target_scale, target_aspect), _sizes(grid, context_scale, (1., 1.))  # [1000, 2]
  if (worst := large.prod(1).min() - targets * small.prod(1).max()) < 1:
    raise ValueError(f'multi_block wants {targets} target blocks of up to {small.prod(1).max()} patches to leave some '
                     f'of a context of {large.prod(1).min()} or more, on a grid of {rows} x {columns}; got {worst}')
  t = int(small.prod(1).min())
  i, j = jnp.arange(rows)[:, None], jnp.arange(columns)

  def block(u, sizes):  # f32[3] -> bool[n]
    h, w = jnp.asarray(sizes)[(u[0] * len(sizes)).astype(jnp.int32)]
    top, start = jnp.floor(u[1] * (rows - h + 1)), jnp.floor(u[2] * (columns - w + 1))
    return ((i >= top) & (i < top + h) & (j >= start) & (j < start + w)).reshape(-1)

  def one(u, noise):
    inside = jax.vmap(lambda u: block(u, small))(u[1:])  # [m, n]
    target = jnp.argsort(noise[1:] - inside, -1)[:, :t]
    visible = block(u[0], large) & ~inside.any(0)  # [n]
    order = jnp.argsort(noise[0] - visible)
    return order[jnp.arange(context_patches) % jnp.sum(visible)], jnp.sort(target, -1)

  keys = jax.random.split(key)
  return jax.vmap(one)(_noise(keys[0], index, (1 + targets, 3)), _noise(keys[1], index, (1 + targets, n)))


def column_subsets(key, index, columns: int, *, context: int, targets: int, target: int):
  """Columns of a context, and of several targets among the others, for each row on its own (arXiv:2410.05016).

  Args:
    index: i32[b]; with the key it determines the columns of a row.
    columns: of the table.
    context, target: columns of the context, and of each target; targets may overlap.
    targets: number of targets, m.
  Returns:
    context i32[b, k] and target i32[b, m, t].
  Raises:
    ValueError: there are not so many columns, or none is wanted.
  """
  if min(context, targets, target) < 1 or context + target > columns:
    raise ValueError(f'column_subsets wants {context} + {target} of {columns} columns, at least 1 each')
  noise = _noise(key, index, (1 + targets, columns))
  inside = jnp.argsort(jnp.argsort(noise[:, 0], -1), -1) < context  # [b, columns]
  return (jnp.argsort(noise[:, 0], -1)[:, :context],
          jnp.argsort(noise[:, 1:] + inside[:, None], -1)[..., :target])


def _sizes(grid, scale, aspect) -> np.ndarray:
  """(height, width) int[1000, 2] of blocks, at 1000 equidistant draws."""
  u = (np.arange(1000) + 0.5) / 1000
  area = np.floor(math.prod(grid) * (scale[0] + u * (scale[1] - scale[0])))
  shape = aspect[0] + u * (aspect[1] - aspect[0])
  sizes = np.round(np.stack([np.sqrt(area * shape), np.sqrt(area / shape)], 1)).astype(int)
  return np.clip(sizes, 1, np.array(grid))


def _noise(key, index, shape: tuple[int, ...]):
  """Uniform f32[b, *shape] in [0, 1), for each example a function of (key, index)."""
  return jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i), shape))(index)
