"""MoCo v2: Improved Baselines with Momentum Contrastive Learning (contrastive, with a teacher and a queue)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.losses import chunked
from pretrain.method.memory import Average, directions, enqueue
from pretrain.method.objective import Objective, method
from pretrain.models.heads import MLP

PAPER = dict(title='Improved Baselines with Momentum Contrastive Learning',
             arxiv='2003.04297v1', family='contrastive', modality='image')


class Memory(NamedTuple):
  queue: Any  # f32[queue, dim], keys of earlier images, of length 1


def moco_v2(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive, momentum: Decay,
            queue: Count, chunk: Count | None = None) -> Objective:
  """A view is told from a queue of earlier images by the other view, which a moving average of the network encodes.

  arXiv:1911.05722v3, algorithm 1, with the projector of arXiv:2003.04297v1, section 3. Deviation: batch normalisation
  is over the whole batch of queries or of keys, the paper shuffles keys between devices (section 3.3, "Shuffling BN");
  a backbone without batch normalisation has nothing to shuffle.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector, which has no batch normalisation; the paper's are (2048,), 128.
    temperature: > 0; 0.2 in MoCo v2.
    momentum: of the teacher; 0.999 in the paper.
    queue: number of keys, a multiple of the batch; 65536 in the paper. At first they are random directions.
    chunk: columns of the similarities with the queue to hold at a time; the same loss with less memory.
  Raises:
    ValueError: in `update`, the batch does not divide the queue.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs))

  def embed(student, teacher, batch, key):
    query, keys = jnp.unstack(batch['views'], axis=1)
    return (student.projector(student.backbone(query, train=True, key=key)),
            teacher.projector(teacher.backbone(keys, train=True)))

  def compare(h, memory):
    query, keys = h
    value = moco_loss(query, keys, queue=memory.queue, temperature=temperature, chunk=chunk)
    return value, {}, {'keys': losses.normalize(keys)}

  # the losses of examples are independent, but the keys of a part of the batch would not fill their place in the queue
  return method({'views': 'b 2 h w c'}, modules, embed=embed, compare=compare, teacher=Average(momentum, 'own'),
                memory=lambda key: Memory(directions(key, queue, dim)),
                remember=lambda memory, kept, step: Memory(enqueue(memory.queue, kept['keys'], step)),
                couples_batch=True)


def moco_loss(query, key, *, queue, temperature, chunk=None):
  """Cross-entropy of telling a query's key from a queue of other examples' keys, mean over the queries.

  arXiv:1911.05722v3, eq. 1 and algorithm 1; no gradient to keys and queue.

  Args:
    query, key: [b, d] of any scale (normalised here); row i of both is example i.
    queue: [q, d], keys of earlier examples of any scale (normalised here).
    temperature: > 0, dimensionless.
    chunk: columns of the similarities with the queue to hold at a time, static; None: all q.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit, or the chunk does not divide q.
  """
  losses.same_shape('moco', query=query.shape, key=key.shape)
  losses.same_shape('moco', query=query.shape[1:], queue=queue.shape[1:])
  query, key, queue = losses.normalize(query), *jax.lax.stop_gradient((losses.normalize(key), losses.normalize(queue)))
  positive = jnp.sum(query * key, -1) / temperature  # [b]
  others, _, _ = chunked.contrast(query, queue, scale=1 / temperature, chunk=chunk)
  return jnp.mean(jnp.logaddexp(positive, others) - positive)
