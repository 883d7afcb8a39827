"""Sums over all pairs of a batch, a chunk of columns at a time: the matrix of all similarities never exists.

Under jit on a mesh the rows stay where they are, and the columns (N * d numbers) are gathered. A chunk's logits are
made again in the backward pass, so the memory is rows * chunk. Products are in full float32 on accelerators too: a
cosine that is off by 1e-3, as in one pass of bfloat16, is off by 0.015 at a temperature of 0.07.
"""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32


def scan_columns(step, start, keys, chunk):
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


def cross_entropy(rows, keys, scale, positive, *, excluded=None, chunk=None):
  """Cross-entropy of telling a row's positive from all keys by scale * row . key, for each row.

  Args:
    rows, keys: f32[n, d], f32[m, d].
    scale: f32[], 1 / temperature.
    positive: i32[n], the column of each row's positive.
    excluded: i32[n], a column that each row leaves out, or None.
    chunk: as in `scan_columns`.
  Returns:
    f32[n], nats.
  """
  def step(carry, part, columns):
    highest, total, picked = carry
    logits = scale * jnp.matmul(rows, part.T, precision='highest')  # [n, c]
    picked += jnp.sum(jnp.where(columns == positive[:, None], logits, 0), 1)
    if excluded is not None:
      logits = jnp.where(columns == excluded[:, None], -jnp.inf, logits)
    higher = jnp.maximum(highest, jax.lax.stop_gradient(jnp.max(logits, 1)))
    return higher, total * jnp.exp(highest - higher) + jnp.sum(jnp.exp(logits - higher[:, None]), 1), picked

  lowest = jnp.full(len(rows), jnp.finfo(f32).min / 2)  # not -inf: a chunk may hold nothing but the excluded column
  zero = jnp.zeros(len(rows))
  highest, total, picked = scan_columns(step, (lowest, zero, zero), keys, chunk)
  return highest - picked + jnp.log(total)


def log_sigmoid_pairs(rows, keys, scale, bias, *, chunk=None):
  """Sum over all pairs of log sigmoid(+-(scale * row . key + bias)), + where row and column are the same.

  Args:
    rows, keys: f32[n, d]; scale, bias: f32[]; chunk: as in `scan_columns`.
  Returns:
    f32[].
  """
  def step(total, part, columns):
    sign = jnp.where(jnp.arange(len(rows))[:, None] == columns, 1, -1)
    logits = scale * jnp.matmul(rows, part.T, precision='highest') + bias
    return total + jnp.sum(jax.nn.log_sigmoid(sign * logits))

  return scan_columns(step, jnp.zeros(()), keys, chunk)
