"""Sums over all pairs of a batch, a chunk of columns at a time: the matrix of all similarities never exists.

Under jit on a mesh the rows stay where they are, and the columns (N * d numbers) are gathered. A chunk's logits are
made again in the backward pass, so the memory is rows * chunk. Products are in full float32 on accelerators too: a
cosine that is off by 1e-3, as in one pass of bfloat16, is off by 0.015 at a temperature of 0.07.
"""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32


def scan_columns(step, start, *, keys, chunk):
  """Folds `step(carry, keys of a chunk [c, d], their columns i32[c]) -> carry` over the columns, remade backwards.

  Args:
    keys: [m, d].
    chunk: columns at a time, static; None: all at once.
  Raises:
    ValueError: the chunk does not divide m.
  """
  m = len(keys)
  if chunk is None:
    return step(start, keys, jnp.arange(m))
  if chunk < 1 or m % chunk:
    near = min((c for c in range(1, m + 1) if m % c == 0), key=lambda c: abs(c - chunk))
    raise ValueError(f'wanted a chunk that divides the {m} columns, got {chunk}; nearest: {near}')
  body = jax.checkpoint(lambda carry, part: (step(carry, *part), None))
  return jax.lax.scan(body, start, (keys.reshape(-1, chunk, keys.shape[1]), jnp.arange(m).reshape(-1, chunk)))[0]


def contrast(rows, keys, *, scale, positives=None, excluded=(), chunk=None):
  """What contrastive losses are made of: logits are scale * row . key.

  Args:
    rows, keys: f32[n, d], f32[m, d].
    scale: f32[], 1 / temperature.
    positives: columns i32[c] -> bool[n, c], which of them are a row's positives; None: none is.
    excluded: i32[n] arrays, columns that each row leaves out of its sum.
    chunk: as in `scan_columns`.
  Returns:
    f32[n] each: the logarithm of the sum of the exponentials of a row's logits, the sum of those of its positives, and
    their number.
  """
  def step(carry, part, columns):
    highest, total, picked, count = carry
    logits = scale * jnp.matmul(rows, part.T, precision='highest')  # [n, c]
    if positives is not None:
      chosen = positives(columns)
      picked, count = picked + jnp.sum(jnp.where(chosen, logits, 0), 1), count + jnp.sum(chosen, 1)
    for column in excluded:
      logits = jnp.where(columns == column[:, None], -jnp.inf, logits)
    higher = jnp.maximum(highest, jax.lax.stop_gradient(jnp.max(logits, 1)))
    total = total * jnp.exp(highest - higher) + jnp.sum(jnp.exp(logits - higher[:, None]), 1)
    return higher, total, picked, count

  lowest = jnp.full(len(rows), jnp.finfo(f32).min / 2)  # not -inf: a chunk may hold nothing but excluded columns
  zero = jnp.zeros(len(rows))
  highest, total, picked, count = scan_columns(step, (lowest, zero, zero, zero), keys=keys, chunk=chunk)
  return highest + jnp.log(total), picked, count


def cross_entropy(rows, keys, *, scale, positive, excluded=(), chunk=None):
  """Cross-entropy of telling a row's positive, column i32[n], from all keys, f32[n] in nats; else as `contrast`."""
  total, picked, _ = contrast(rows, keys, scale=scale, positives=lambda columns: columns == positive[:, None],
                              excluded=excluded, chunk=chunk)
  return total - picked


def exponentials(rows, keys, *, scale, shift, excluded=(), chunk=None):
  """Sums over a row's columns of exp(x) and x exp(x), x = scale * (row . key - shift); f32[n] each.

  Args:
    scale, shift: f32[n]; the rest is as in `contrast`.
  """
  def step(carry, part, columns):
    x = scale[:, None] * (jnp.matmul(rows, part.T, precision='highest') - shift[:, None])  # [n, c]
    for column in excluded:
      x = jnp.where(columns == column[:, None], -jnp.inf, x)
    terms = jnp.exp(x), jnp.exp(x) * jnp.where(jnp.isfinite(x), x, 0)
    return tuple(total + jnp.sum(term, 1) for total, term in zip(carry, terms, strict=True))

  return scan_columns(step, (jnp.zeros(len(rows)), jnp.zeros(len(rows))), keys=keys, chunk=chunk)


def nearest(rows, keys, *, chunk=None):
  """For each row the key of the largest inner product: f32[n, d], and that product f32[n]; no gradient."""
  def step(carry, part, columns):
    best, at = carry
    products = jnp.matmul(rows, part.T, precision='highest')
    here = jnp.max(products, 1)
    return jnp.maximum(best, here), jnp.where(here > best, columns[jnp.argmax(products, 1)], at)

  rows, keys = jax.lax.stop_gradient((rows, keys))
  best, at = scan_columns(step, (jnp.full(len(rows), -jnp.inf), jnp.zeros(len(rows), jnp.int32)), keys=keys,
                          chunk=chunk)
  return keys[at], best
