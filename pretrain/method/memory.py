"""What a method keeps beside its parameters: averages of them, queues, a row for each example of the source."""
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from pretrain.losses import normalize


class Average(NamedTuple):
  """A moving average of the student's parameters, which starts as a copy of them: a teacher, or what is evaluated.

  `Average(0.999)`, `Average(schedules.cosine(0.996, 1., steps), 'own')`.

  momentum: share that the average keeps of itself in a step: a number, or a function of the step.
  statistics: the batch statistics that its passes read:
    'shared': those of training, which authors' code copies to the average, or into whose network it puts the average;
    'averaged': a moving average of these, as of the parameters;
    'own': those of the average's own passes.
  of: parts that it has; None for all. A teacher needs no predictor.
  """
  momentum: float | Callable
  statistics: Literal['shared', 'averaged', 'own'] = 'shared'
  of: tuple[str, ...] | None = None

  def share(self, step):
    """The momentum in this step."""
    return self.momentum(step) if callable(self.momentum) else self.momentum


def ema(old, new, momentum):
  """momentum * old + (1 - momentum) * new, leaf by leaf, in the dtype of `old`."""
  return jax.tree.map(lambda o, n: (o + (1 - momentum) * (n.astype(o.dtype) - o)).astype(o.dtype), old, new)


def directions(key, n: int, dim: int):
  """Random rows of length 1, f32[n, dim]: a queue at first."""
  return normalize(jax.random.normal(key, (n, dim)))


def enqueue(queue, new, step):
  """The queue with its oldest rows replaced: queue [q, d], new [b, d], step i32[] -> [q, d].

  First in, first out: rows [step * b, (step + 1) * b) modulo q; no pointer has to be kept.

  Raises ValueError, when traced, unless b divides q.
  """
  q, b = len(queue), len(new)
  if q % b:
    raise ValueError(f'a queue wants a multiple of the batch as its length, got {q} for a batch of {b}; '
                     f'nearest: {max(1, round(q / b)) * b}')
  return jax.lax.dynamic_update_slice_in_dim(queue, new.astype(queue.dtype), step % (q // b) * b, 0)


def write_rows(table, index, new):
  """A table of a row per example, some of them replaced: table [n, ...], index i32[b], new [b, ...] -> [n, ...].

  Where an index comes more than once (a set smaller than a batch, a neighbour in place of a broken image) its last row
  in the batch stays, on any mesh. An index of n or more is of no example, and nothing is written.
  """
  order = jnp.argsort(index, stable=True)  # rows of one index are together, in the order of the batch
  ranked = index[order]
  last = jnp.append(ranked[1:] != ranked[:-1], True)
  keep = jnp.zeros(len(index), bool).at[order].set(last)
  return table.at[jnp.where(keep, index, len(table))].set(new, mode='drop')
