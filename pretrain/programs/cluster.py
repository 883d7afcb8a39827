"""k-means of features, on a mesh, in chunks."""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.machine import processes, sharding
from pretrain.step import join, split

DISTANCES = 2**23  # that are held at a time
BLOCK = 128  # centres


class Clusters(NamedTuple):
  """centers f32[k, d], labels i32[n], the sum of squared distances to the nearest centre, and how it ended."""
  centers: np.ndarray
  labels: np.ndarray
  inertia: float
  iterations: int
  converged: bool


def kmeans(features, clusters: int, *, init: str | np.ndarray = 'k-means++', seed: int = 0, iterations: int = 100,
           chunk: int | None = None, mesh=None) -> Clusters:
  """Lloyd's algorithm, until no label changes.

  A centre that loses all of its examples moves to the example that is farthest from its own (the first one of equals;
  several to as many examples), which leaves its cluster: scikit-learn's rule. Distances are those of features minus
  their mean, in full float32. docs/programs.md has time and memory.

  Args:
    features: float[n, d], the same on every process.
    clusters: k <= n.
    init: 'k-means++' (Arthur and Vassilvitskii 2007: each centre drawn in proportion to the squared distance from those
      before), 'random' (k different examples), or centres float[k, d].
    seed: of the draw.
    iterations: at most.
    chunk: examples of all devices whose distances to all centres are held at a time; None: 32 MiB of them a device.
    mesh: of devices that share the examples; None for all of them.
  Raises:
    ValueError: more clusters than examples, centres of another shape, features that are not finite.
  """
  x = np.asarray(features, np.float32)
  if x.ndim != 2 or not 1 <= clusters <= len(x):
    raise ValueError(f'kmeans: wanted features [n, d] and from 1 to n clusters, got {x.shape} and {clusters} clusters')
  if not np.isfinite(x).all():
    raise ValueError(f'kmeans: {(~np.isfinite(x).all(1)).sum()} of {len(x)} features are not finite')
  mesh = sharding.make_mesh() if mesh is None else mesh
  n, mean = len(x), x.mean(0, dtype=np.float64).astype(np.float32)
  shares = sharding.shares(mesh)
  chunks = -(-n // (chunk or max(DISTANCES // clusters, 1) * shares))
  size = -(-n // (chunks * shares)) * chunks * shares
  rows = sharding.local_rows(mesh, size)
  padded = {'x': np.where((rows < n)[:, None], x[np.minimum(rows, n - 1)] - mean, 0), 'use': np.float32(rows < n)}
  placed = sharding.place(padded, mesh)
  if isinstance(init, np.ndarray):
    if init.shape != (clusters, x.shape[1]):
      raise ValueError(f'kmeans: wanted centres of shape {(clusters, x.shape[1])}, got {init.shape}')
    centers = init.astype(np.float32) - mean
  elif init == 'k-means++':
    centers = x[processes.on_host(spread(placed['x'], placed['use'], jax.random.key(seed), clusters=clusters))] - mean
  elif init == 'random':
    centers = x[np.random.default_rng(seed).permutation(n)[:clusters]] - mean
  else:
    raise ValueError(f"kmeans: wanted init 'k-means++', 'random' or centres, got {init!r}")
  before, done, converged = None, 0, False
  while True:
    label, distance, sums, counts = (processes.on_host(part) for part in assign(
        placed['x'], placed['use'], centers, chunks=chunks))
    label, distance = label[:n], distance[:n]
    converged = before is not None and np.array_equal(before, label)
    if converged or done == iterations:
      return Clusters(centers + mean, label, float(distance.sum(dtype=np.float64)), done, converged)
    before, done = label, done + 1
    sums, counts = sums.copy(), counts.copy()
    empty = np.flatnonzero(counts == 0)
    for center, far in zip(empty, np.argsort(-distance, kind='stable')[:len(empty)], strict=True):
      point = x[far] - mean
      sums[label[far]], counts[label[far]] = sums[label[far]] - point, counts[label[far]] - 1
      sums[center], counts[center] = point, 1
    centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)


def whiten(features, dim: int | None = None) -> np.ndarray:
  """Features f32[n, d] on their first `dim` (None: all) principal components, each of variance 1, as rows of length 1.

  arXiv:1905.01278 in the authors' code: variances below 1e-5 of the largest count as that much.
  """
  x = np.asarray(features, np.float32)
  x = x - x.mean(0, dtype=np.float64).astype(np.float32)
  variance, axes = np.linalg.eigh(x.T @ x / len(x))
  order = np.argsort(-variance)[:dim]
  x = x @ (axes[:, order] / np.sqrt(np.maximum(variance[order], max(1e-5 * variance.max(), 1e-30))))
  return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def in_two_levels(features, super_clusters: int, clusters: int, *, seed: int, iterations: int = 10,
                  mesh=None) -> np.ndarray:
  """Labels i32[n]: k-means, and k-means within each of its clusters; label // clusters is the first level's.

  A super-cluster of fewer than `clusters` examples has one cluster for each.
  """
  first = kmeans(features, super_clusters, init='random', seed=seed, iterations=iterations, mesh=mesh).labels
  label = first * clusters
  for s in range(super_clusters):
    mine = np.flatnonzero(first == s)
    if len(mine):
      label[mine] += kmeans(features[mine], min(clusters, len(mine)), init='random', seed=seed, iterations=iterations,
                            mesh=mesh).labels
  return label


@functools.partial(jax.jit, static_argnames='chunks')
def assign(x, use, centers, *, chunks: int):
  """The nearest centre of each example, the first of equals.

  Args:
    x: f32[n, d]; use f32[n], 1 or 0 for what only fills up; chunks divides n.
    centers: f32[k, d].
  Returns:
    i32[n], squared distances f32[n], and each centre's sum f32[k, d] and number f32[k] of examples.
  """
  k = len(centers)
  filled = jnp.pad(centers, ((0, -k % BLOCK), (0, 0)))
  norms = jnp.where(jnp.arange(len(filled)) < k, jnp.sum(jnp.square(filled), 1), jnp.inf)

  def part(_, x):
    square = norms - 2 * jnp.matmul(x, filled.T, precision='highest')  # [rows, k], without the examples' own squares
    square = square.reshape(len(x), -1, BLOCK)  # the block of the nearest first: one argmin over all costs a product
    least = jnp.min(square, 2)
    block = jnp.argmin(least, 1).astype(jnp.int32)
    label = jnp.argmin(jnp.take_along_axis(square, block[:, None, None], 1)[:, 0], 1).astype(jnp.int32) + BLOCK * block
    return None, (label, jnp.maximum(jnp.min(least, 1) + jnp.sum(jnp.square(x), 1), 0))

  label, distance = join(jax.lax.scan(part, None, split(x, chunks))[1])
  mine = jnp.where(use > 0, label, k)  # k is no segment
  return label, distance * use, jax.ops.segment_sum(x, mine, k), jax.ops.segment_sum(use, mine, k)


@functools.partial(jax.jit, static_argnames='clusters')
def spread(x, use, key, *, clusters: int):
  """The rows i32[k] of the centres that k-means++ begins with."""
  def nearest(i, chosen, distance):
    center = x[chosen[i]]
    return jnp.minimum(distance, jnp.sum(jnp.square(x - center), 1)) * use

  def draw(i, state):
    chosen, distance = state
    distance = nearest(i - 1, chosen, distance)
    # all distances may be 0 where examples are equal: then any other example
    logits = jnp.where(jnp.any(distance > 0), jnp.log(distance), jnp.log(use))
    return chosen.at[i].set(jax.random.categorical(jax.random.fold_in(key, i), logits)), distance

  first = jax.random.categorical(jax.random.fold_in(key, 0), jnp.log(use))
  start = jnp.zeros(clusters, jnp.int32).at[0].set(first), jnp.full(len(x), jnp.inf)
  return jax.lax.fori_loop(1, clusters, draw, start)[0]
