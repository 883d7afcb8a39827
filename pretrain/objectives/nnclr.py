"""NNCLR: With a Little Help from My Friends, Nearest-Neighbor Contrastive Learning (contrastive, with a queue)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.losses import chunked
from pretrain.method.memory import directions, enqueue
from pretrain.method.objective import Objective, embed_each_view, method
from pretrain.models.heads import MLP

PAPER = dict(title='With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual '
                   'Representations',
             arxiv='2104.14548v2', family='contrastive', modality='image')


class Memory(NamedTuple):
  queue: Any  # Q, f32[queue, dim], embeddings of earlier images, of length 1


def nnclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, predictor_hidden: Count, temperature: Positive,
          queue: Count, chunk: Count | None = None) -> Objective:
  """The positive of a view is the other view's nearest neighbour among embeddings of earlier images.

  arXiv:2104.14548v2, section 3.2, eq. 3 and 4, and the algorithm of its appendix; embeddings of first views enter the
  queue. The views pass the network one after the other, so each is normalised by its own batch. The metric
  `neighbor_cosine` is the mean cosine of an embedding, of either view, with its nearest neighbour.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector, normalised after every layer; the paper's are (2048, 2048), 256.
    predictor_hidden: width of the predictor's hidden layer; 4096 in the paper.
    temperature: > 0; 0.1 in the paper.
    queue: embeddings of the support set, a multiple of the batch; 98304 in the paper. At first random directions.
    chunk: columns of the similarities, with the batch and with the queue, to hold at a time; it divides the batch.
  Raises:
    ValueError: in `update`, the batch does not divide the queue.
  """
  def modules(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, dtype=f.dtype, rngs=rngs)
    projector = MLP(f.width, tuple(hidden), dim, last_batch_norm=True, last_affine=True, **mlp)
    return nnx.Dict(backbone=f, projector=projector, predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  def compare(student, h, memory):
    z = [student.projector(h[:, i], train=True) for i in (0, 1)]
    p1, p2 = (student.predictor(view, train=True) for view in z)
    z1, z2 = (losses.normalize(jax.lax.stop_gradient(view)) for view in z)
    (nn1, cosine1), (nn2, cosine2) = (chunked.nearest(view, memory.queue, chunk=chunk) for view in (z1, z2))
    itself = jnp.arange(len(z1))
    contrast = lambda query, keys: losses.info_nce(query, keys, positive=itself, temperature=temperature, chunk=chunk)
    value = (contrast(nn1, p2) + contrast(nn2, p1)) / 2
    return value, {'neighbor_cosine': jnp.mean(cosine1 + cosine2) / 2}, {'z': z1}

  return method({'views': 'b 2 h w c'}, modules, embed=embed_each_view, compare=compare, couples_batch=True,
                memory=lambda key: Memory(directions(key, queue, dim)),
                remember=lambda memory, kept, step: Memory(enqueue(memory.queue, kept['z'], step)))
