"""3 x 3 convolutions with a quarter of the multiplications: Winograd's minimal filtering (1509.09308v2), for CPUs.

Tiles of m x m outputs see t x t inputs, t = m + 2. Of a kernel g and a tile's inputs d, matrices of rows by columns,
the outputs are (section 4.1)

  Y = A^T [(G g G^T) * (B^T d B)] A

with t^2 multiplications instead of 9 m^2; over tiles and channels they are t^2 matrix products. The gradient by g is
G^T [(B^T d B) * (A dY A^T)] G, summed over tiles; that by d is a convolution of dY with the kernel turned around.

Deviation: for m = 4 the points are 0, c, -c, 1/c and -1/c with c^2 = 2 (the form is that of 2201.10369v1) instead of
0, 1, -1, 2 and -2: half the rounding error, three times that of the sum of products itself.
"""
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.machine.sharding import barrier_on

C = math.sqrt(2)
POINTS = {2: (0., 1., -1.), 4: (0., C, -C, 1 / C, -1 / C)}
TILES = {2: 256, 4: 128}  # at a time: what they become stays in the cache


def fitting(images: Sequence[int], kernel: Sequence[int]) -> int | None:
  """The m for these shapes, [b, h, w, in] and [size, size, in, out]; None where it does not pay.

  The kernel becomes t^2 matrices, which with fewer tiles than channels take longer than is saved.
  """
  (batch, height, width, in_), (size, *_, out) = images, kernel
  for m in (4, 2):
    tiles = batch * -(-height // m) * -(-width // m)
    if size == 3 and min(in_, out) >= 16 and min(height, width) > m // 2 and tiles >= max(in_, out):
      return m
  return None


def convolution(x, kernel, m: int, axis: int = 0):
  """float[b, h, w, in] and [3, 3, in, out] to [b, h, w, out], with a border of zeros; computed in float32.

  With an axis of 1 the kernel is [3, 3, out, in]: transposed in memory it would take longer.
  """
  _, g, _ = matrices(m)
  kernel = on_both_sides(g, kernel.astype(jnp.float32))
  kernel = jax.lax.optimization_barrier(kernel.reshape(-1, *kernel.shape[2:]))
  parts, = cut(x.shape, TILES[m] * m * m, x)

  def part(i, y):
    some = jax.lax.dynamic_index_in_dim(parts, i, 1, keepdims=False)
    products = jax.lax.dot_general(inputs(some, m), kernel, (((2,), (1 + axis,)), ((0,), (0,))))
    some = outputs(products, some.shape, m).astype(x.dtype)
    return jax.lax.dynamic_update_index_in_dim(y, some, i, 1)

  y = jnp.broadcast_to(x[0, 0, 0, 0], (*parts.shape[:-1], kernel.shape[2 - axis]))  # zeros XLA would copy, at first
  y = jax.lax.fori_loop(0, parts.shape[1], part, y)
  return jax.lax.optimization_barrier(y.reshape(*x.shape[:-1], -1))  # once, where the loop is of one part


def by_images(kernel, dy, m: int):
  """The gradient [b, h, w, in] of `convolution` by its input, of the kernel and the gradient dy of what came out."""
  return convolution(dy, kernel[::-1, ::-1], m, axis=1)


def by_kernel(x, dy, m: int):
  """The gradient [3, 3, in, out] of `convolution` by its kernel, of x and the gradient dy of what came out."""
  _, g, _ = matrices(m)
  parts, by_parts = cut(x.shape, TILES[m] * m * m, x, dy)

  def add(i, total):
    some, by_some = (jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in (parts, by_parts))
    some = jax.lax.optimization_barrier(inputs(some, m).swapaxes(1, 2))  # XLA multiplies rows by a matrix faster
    return total + jax.lax.dot_general(some, by_outputs(by_some, m), (((2,), (1,)), ((0,), (0,))))

  in_, out = x.shape[-1], dy.shape[-1]
  total = barrier_on(jnp.zeros((len(g) ** 2, in_, out)), dy)
  total = jax.lax.fori_loop(0, parts.shape[1], add, total)
  return on_both_sides(g.T, total.reshape(len(g), len(g), in_, out)).astype(x.dtype)


@functools.cache
def matrices(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A [t, m], G [t, 3] and B [t, t], f64, as Toom and Cook have them.

  A product of polynomials with m and 3 coefficients is known by its values at t - 1 points and its leading coefficient;
  filtering is the transpose of this.
  """
  values = lambda n: np.array([[p ** i for i in range(n)] for p in POINTS[m]] + [[0.] * (n - 1) + [1.]])
  return values(m), values(3), np.linalg.inv(values(m + 2)).round(12)


def combined(matrix: np.ndarray, arrays: Sequence, axis: int):
  """The sums of arrays of one shape with the weights in each row of a matrix, stacked along an axis."""
  return jnp.stack([sum(float(weight) * a for weight, a in zip(row, arrays, strict=True) if weight)
                    for row in matrix], axis)


def on_both_sides(matrix: np.ndarray, x):
  """matrix x matrix^T, of the first two axes of x [n, n, ...]."""
  x = combined(matrix, list(x), 0)
  return combined(matrix, [x[:, j] for j in range(x.shape[1])], 1)


def inputs(x, m: int):
  """B^T d B of the tiles of [n, h, w, c]: f32[t * t, tiles, c]."""
  _, height, width, channels = x.shape
  *_, b = matrices(m)
  x = jnp.pad(x.astype(jnp.float32), ((0, 0), (1, 1 + -height % m), (1, 1 + -width % m), (0, 0)))
  seen = lambda x, axis: [jax.lax.slice_in_dim(x, i, i + x.shape[axis] - m - 1, m, axis) for i in range(m + 2)]
  x = combined(b.T, seen(x, 1), 0)
  return combined(b.T, seen(x, 3), 1).reshape((m + 2) ** 2, -1, channels)


def outputs(products, shape: Sequence[int], m: int):
  """A^T [...] A of f32[t * t, tiles, c]: [n, h, w, c], the sides in `shape`."""
  a, *_ = matrices(m)
  images, height, width, _ = shape
  y = products.reshape(m + 2, m + 2, images, -(-height // m), -(-width // m), products.shape[-1])
  y = combined(a.T, list(y), 3)
  y = combined(a.T, list(y), 4)
  return y.reshape(images, y.shape[1] * m, y.shape[3] * m, -1)[:, :height, :width]


def by_outputs(dy, m: int):
  """A dY A^T of the tiles of [n, h, w, c]: f32[t * t, tiles, c], the transpose of `outputs`."""
  a, *_ = matrices(m)
  images, height, width, channels = dy.shape
  dy = jnp.pad(dy.astype(jnp.float32), ((0, 0), (0, -height % m), (0, -width % m), (0, 0)))
  dy = dy.reshape(images, dy.shape[1] // m, m, dy.shape[2] // m, m, channels)
  dy = combined(a, [dy[:, :, i] for i in range(m)], 0)
  return combined(a, [dy[..., i, :] for i in range(m)], 1).reshape((m + 2) ** 2, -1, channels)


def cut(shape: Sequence[int], pixels: int, *arrays):
  """Arrays [b, ...] as [n, b / n, ...]: n images of a shape [b, h, w, c] at a time, of at most so many pixels, or one.

  The batch is cut lengthwise, as devices hold consecutive images, and into two parts at least: what a loop that turns
  once makes XLA would keep for the gradient.
  """
  batch, height, width, _ = shape
  most = max(1, min(batch // 2, pixels // (height * width)))
  images = math.gcd(batch, 1 << most.bit_length() - 1)
  return [a.reshape(images, batch // images, *a.shape[1:]) for a in arrays]
