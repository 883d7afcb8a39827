"""LOOK: Rethinking Supervised Pre-training for Better Downstream Transferring (contrastive, with labels, a queue)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.memory import Average, directions, enqueue
from pretrain.method.objective import Objective, method
from pretrain.models.heads import MLP

PAPER = dict(title='Rethinking Supervised Pre-training for Better Downstream Transferring',
             arxiv='2110.06014', family='contrastive', modality='image')


class Memory(NamedTuple):
  queue: Any  # f32[queue, dim], keys of the last images, of length 1
  label: Any  # i32[queue], their classes; -1: of none
  index: Any  # i32[queue], which examples of the source they are; -1: none


def look(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, neighbors: Count, temperature: Positive,
         momentum: Decay, queue: Count) -> Objective:
  """An image shall have the class of most of its nearest neighbours in a queue of the last images, itself left out.

  arXiv:2110.06014, of which the abstract and the first lines could be read, not the equations: a leave-one-out
  classifier by k nearest neighbours, so that a class may have several modes. No code of the authors was found. Not
  settled, and chosen here: the queue is that of MoCo (arXiv:1911.05722v3, algorithm 1), with the label and the index of
  each key; a moving average of the network encodes one view to a key, the other view is the query; the projector is
  MoCo v2's; the keys of a batch enter the queue before its loss (MoCo's: after it). What is left out are all entries
  of the image's index, this step's and one of an epoch before. The metric `found_ratio` is the share of images that
  have a neighbour of their class; the others have no gradient.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector, which has no batch normalisation.
    neighbors: k, at most the queue; with all of the queue a class is pulled into one cluster.
    temperature: > 0, of the neighbours' votes.
    momentum: of the teacher.
    queue: number of keys, a multiple of the batch. At first they are random directions, of no class.
  Raises:
    ValueError: more neighbours than the queue has; when traced, the batch does not divide the queue.
  """
  if neighbors > queue:
    raise ValueError(f'look wants neighbors of at most the queue, got {neighbors} of {queue}')

  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs))

  def embed(student, teacher, batch, key):
    query, keys = jnp.unstack(batch['views'], axis=1)
    return (student.projector(student.backbone(query, train=True, key=key)),
            teacher.projector(teacher.backbone(keys, train=True)))

  def compare(h, batch, memory, step):
    query, keys = h
    new = Memory(jax.lax.stop_gradient(losses.normalize(keys)), batch['label'], batch['index'])
    filled = Memory(*(enqueue(old, rows, step) for old, rows in zip(memory, new, strict=True)))
    value, metrics = look_loss(query, batch['label'], index=batch['index'], queue=filled.queue,
                               queue_label=filled.label, queue_index=filled.index, neighbors=neighbors,
                               temperature=temperature)
    return value, metrics, filled._asdict()

  def first(key):
    nothing = jnp.full(queue, -1, jnp.int32)
    return Memory(directions(key, queue, dim), nothing, nothing)

  return method({'views': 'b 2 h w c', 'label': 'b', 'index': 'b'}, modules, embed=embed, compare=compare,
                teacher=Average(momentum, 'own'), memory=first, couples_batch=True)


def look_loss(query, label, *, index, queue, queue_label, queue_index, neighbors, temperature):
  """-log of the share of the own class in the votes of a query's k nearest neighbours, mean over the queries.

  arXiv:2110.06014, abstract; a neighbour votes with exp(cosine / temperature). With k = q it is the soft nearest
  neighbour loss over the queue. Not settled by what could be read: an image none of whose neighbours has its class,
  for which -log 0 is infinite, counts 0 here and is in the mean.

  Args:
    query: [b, d] of any scale (normalised here).
    label, index: int[b], class of an example, and which one of the source it is.
    queue: [q, d], keys of any scale (normalised here); no gradient.
    queue_label, queue_index: int[q], theirs. Entries with the index of the query are left out.
    neighbors: k <= q, static. Where fewer entries are left, these are all.
    temperature: > 0, dimensionless.
  Returns:
    f32[], nats, and {'found_ratio': the share of queries that have a neighbour of their class}.
  Raises:
    ValueError: the shapes do not fit, k > q.
  """
  losses.same_shape('look', query=query.shape[1:], queue=queue.shape[1:])
  losses.same_shape('look', queries=query.shape[:1], label=label.shape, index=index.shape)
  losses.same_shape('look', keys=queue.shape[:1], queue_label=queue_label.shape, queue_index=queue_index.shape)
  if neighbors > len(queue):
    raise ValueError(f'look wants neighbors of at most the queue, got {neighbors} of {len(queue)}')
  query, queue = losses.normalize(query), jax.lax.stop_gradient(losses.normalize(queue))
  logits = jnp.matmul(query, queue.T, precision='highest') / temperature  # [b, q]
  logits = jnp.where(index[:, None] == queue_index, -jnp.inf, logits)
  near, place = jax.lax.top_k(logits, neighbors)  # [b, k]
  agree = (queue_label[place] == label[:, None]) & (near > -jnp.inf)
  found = jnp.any(agree, 1, keepdims=True)  # [b, 1]
  near = jnp.where(found, near, 0)  # where nobody is found both sums below are k
  of_class = jnp.where(agree | ~found, near, -jnp.inf)
  nats = jax.nn.logsumexp(near, 1) - jax.nn.logsumexp(of_class, 1)
  return jnp.mean(nats), {'found_ratio': jnp.mean(found)}
