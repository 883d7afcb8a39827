"""Fractals: affine iterated function systems with constrained singular values, the chaos game, and its pictures.

arXiv:2110.03091, section 3 (from memory), and the constants of the authors' code. All is a function of keys, written
for one example and mapped over a batch.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pretrain.views.ops.blur import gaussian_blur
from pretrain.views.ops.color import LUMA

MOST = 4     # maps of a system: 2, 3 or 4
STEPS = 32   # points that one chain adds to a picture
BURN_IN = 8  # steps before them, from a point of the fractal
STAMP = 3    # side of what is drawn for a point


class System(NamedTuple):
  """matrices f32[4, 2, 2], offsets f32[4, 2] and probabilities f32[4] of the maps; those that are not there have 0."""
  matrices: jax.Array
  offsets: jax.Array
  probabilities: jax.Array


def singular_values(n, alpha, uniform):
  """n pairs 1 >= s1 >= s2 >= 0 with a sum of s1 + 2 s2 of alpha: f32[4, 2], zeros behind the n-th.

  Each is uniform between the least and the most that leave the others able to make up alpha, as in the authors' code.

  Args:
    n: i32[] in [1, 4].
    alpha: f32[] in [0, 3 n].
    uniform: f32[7] in [0, 1).
  """
  left, pairs = alpha, []
  for i in range(MOST):
    others, u = 3. * (n - 1 - i), uniform[2 * i]
    low, high = jnp.maximum(0, (left - others) / 3), jnp.minimum(1, left)
    s1 = low + u * (high - low)
    low, high = jnp.maximum(0, (left - s1 - others) / 2), jnp.minimum(s1, (left - s1) / 2)
    s2 = low + uniform[min(2 * i + 1, 2 * MOST - 2)] * (high - low)
    low, high = jnp.maximum(0, (left - 1) / 2), left / 3  # the last pair takes what is left
    last = low + u * (high - low)
    pair = jnp.where(i == n - 1, jnp.stack([left - 2 * last, last]), jnp.stack([s1, s2]))
    pairs.append(jnp.where(i < n, pair, 0))
    left -= pairs[-1][0] + 2 * pairs[-1][1]
  return jnp.stack(pairs)


def system(key) -> System:
  """A random system: A = R(theta) diag(s1, s2) R(phi) diag(d1, d2), all maps contractions; b uniform in [-1, 1)^2.

  n is uniform in 2, 3, 4, alpha in [(5 + n) / 2, (6 + n) / 2); a map's probability is proportional to |det A|.
  """
  u = jax.random.uniform(key, (2 + 2 * MOST - 1 + 6 * MOST,))
  n = 2 + (3 * u[0]).astype(jnp.int32)
  s = singular_values(n, (5 + n + u[1]) / 2, u[2:2 * MOST + 1])
  turns, signs, offsets = jnp.split(u[2 * MOST + 1:].reshape(MOST, 6), 3, -1)  # [4, 2] each

  def rotation(turn):
    angle = 2 * jnp.pi * turn
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2)

  matrices = (rotation(turns[:, 0]) * s[:, None]) @ rotation(turns[:, 1]) * jnp.where(signs < 0.5, -1., 1.)[:, None]
  size = s.prod(-1)
  there = jnp.arange(MOST) < n
  return System(matrices, jnp.where(there[:, None], 2 * offsets - 1, 0), size / jnp.sum(size))


def largest(matrix):
  """The larger singular value of f32[2, 2]."""
  (q, r), (t, v) = matrix
  square, determinant = jnp.sum(jnp.square(matrix)), q * v - r * t
  return jnp.sqrt((square + jnp.sqrt(jnp.maximum(square ** 2 - 4 * determinant ** 2, 0))) / 2)


def chaos_game(system: System, uniform):
  """x -> A_i x + b_i, i drawn by probability, in many chains that begin at the fixed point of the first map.

  Args:
    uniform: f32[steps, chains] in [0, 1): chain c takes at step t the first map whose cumulated probability exceeds it.
  Returns:
    f32[steps, chains, 2], the points after each step.
  """
  a, b, p = system
  (q, r), (t, v) = jnp.eye(2) - a[0]
  start = jnp.stack([v * b[0, 0] - r * b[0, 1], q * b[0, 1] - t * b[0, 0]]) / (q * v - r * t)  # (1 - A)^-1 b
  bounds = jnp.where(p[1:] > 0, jnp.cumsum(p)[:-1], 2)  # sums that are rounded reach no map that is not there

  def step(x, u):
    i = jnp.sum(u[:, None] >= bounds, -1)  # [chains]
    chosen = jax.nn.one_hot(i, MOST)
    x = jnp.einsum('cm,mij,cj->ci', chosen, a, x, precision='highest') + chosen @ b
    return x, x

  return jax.lax.scan(step, jnp.broadcast_to(start, (uniform.shape[1], 2)), uniform)[1]


def picture(points, size: int, lower, extent, stamp):
  """How often each pixel is hit, over the largest count: f32[size, size] in [0, 1].

  The points' own least and greatest coordinates become `lower` and `lower + extent`, in pixels and each axis for
  itself, rounded down; the first coordinate is the row. An axis without extent counts as one of extent 1. What lies
  outside of the picture is not drawn.

  Args:
    points: f32[m, 2].
    lower, extent: f32[2].
    stamp: bool[3, 3], what is drawn around each point.
  """
  low, high = points.min(0), points.max(0)
  places = lower + (points - low) * extent / jnp.where(high > low, high - low, 1)
  places = jnp.floor(places).astype(jnp.int32) + STAMP // 2  # in a picture with a margin
  side = size + STAMP - 1
  inside = ((places >= 0) & (places < side)).all(-1)
  flat = jnp.where(inside, places[:, 0] * side + places[:, 1], side * side)
  counts = jnp.zeros(side * side + 1).at[flat].add(1.)[:-1].reshape(side, side)
  # the stamp at displacement (i - 1, j - 1) moves what is at (r, c) there
  drawn = jnp.zeros((size, size))
  for i in range(STAMP):
    for j in range(STAMP):
      drawn += stamp[i, j] * counts[STAMP - 1 - i:, STAMP - 1 - j:][:size, :size]
  return drawn / jnp.maximum(drawn.max(), 1)


def fractal(key, system: System, size: int, points: int, lower, extent):
  """A picture of about so many points, turned or mirrored at random, with a random stamp: f32[size, size]."""
  play, draw = jax.random.split(key)
  chains = -(-points // STEPS)
  found = chaos_game(system, jax.random.uniform(play, (BURN_IN + STEPS, chains)))[BURN_IN:].reshape(-1, 2)
  coins = jax.random.bernoulli(draw, 0.5, (3 + STAMP ** 2,))
  found = jnp.where(coins[0], found[:, ::-1], found) * jnp.where(coins[1:3], -1, 1)
  return picture(found, size, lower, extent, coins[3:].reshape(STAMP, STAMP).at[1, 1].set(True))


def hsv(hue, saturation, value):
  """Colours of a hue in turns, a saturation and a value in [0, 1], arrays that broadcast to [h, w]: f32[h, w, 3]."""
  k = (6 * hue)[..., None] + jnp.array([5., 3., 1.])
  k = k - 6 * jnp.floor(k / 6)
  return value[..., None] * (1 - saturation[..., None] * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))


def coloured(key, grey):
  """Hue by the grey value, one saturation and value for all: f32[h, w] -> f32[h, w, 3]; black where grey is 0."""
  shift, saturation, value = jax.random.uniform(key, (3,))
  return hsv(grey + shift, 0.3 + 0.7 * saturation[None, None], jnp.where(grey > 0, 0.5 + 0.5 * value, 0))


def background(key, size: int):
  """A coloured plasma: f32[size, size, 3]. Noise at ever smaller scales, each interpolated linearly to the size.

  Deviation from the authors' diamond-square algorithm, whose interpolation is a mean of four neighbours.
  """
  keys = jax.random.split(key, 2 + size.bit_length())
  u = jax.random.uniform(keys[0], (7,))
  decay = 0.4 + 0.4 * u[0]
  total = jax.image.resize(jax.random.uniform(keys[1], (2, 2)), (size, size), 'linear')
  for k, each in enumerate(keys[2:], 1):
    side = min(2 ** k + 1, size)
    noise = jax.random.uniform(each, (side, side), minval=-0.5, maxval=0.5) * jnp.exp(decay * (1 - k))
    total += jax.image.resize(noise, (size, size), 'linear')
  return hsv(total * (0.25 + 0.75 * u[1]) + u[2], jnp.clip(total * (0.1 + 0.2 * u[3]) + 0.4 + 0.2 * u[4], 0, 1),
             jnp.clip(total * (0.3 + 0.3 * u[5]) + 0.4 + 0.2 * u[6], 0, 1))


def numbered(seed: int, number) -> System:
  """The system of a code's number: of a table as long as one likes, of which nothing is stored."""
  return system(jax.random.fold_in(jax.random.key(seed), number))


def blurred(key, image):
  """f32[h, w, 3], in one of two cases blurred by 3 x 3 pixels, with a standard deviation uniform in [0.5, 1)."""
  coin, sigma = jax.random.uniform(key, (2,))
  planes = gaussian_blur(jnp.moveaxis(image, -1, 0)[None], 0.5 + 0.5 * sigma[None], coin[None] < 0.5, radius=1)
  return jnp.moveaxis(planes[0], 0, -1)


def finished(images, channels: int):
  """f32[b, h, w, 3] -> [b, h, w, channels]; grey for one."""
  return images if channels == 3 else (images @ jnp.array(LUMA))[..., None]
