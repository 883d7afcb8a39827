"""SimCLRv2: Big Self-Supervised Models are Strong Semi-Supervised Learners (contrastive, with memory)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.memory import Average, directions, enqueue
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='Big Self-Supervised Models are Strong Semi-Supervised Learners',
             arxiv='2006.10029v2', family='contrastive', modality='image')


class Memory(NamedTuple):
  queue: Any  # f32[queue, dim], the moving average's projections of earlier views, of length 1


def simclr_v2(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive, momentum: Decay,
              queue: Count, chunk: Count | None = None) -> Objective:
  """`simclr` with a deeper projector and, as further negatives, what a moving average made of earlier images.

  arXiv:2006.10029v2, section 2 and appendix D: the memory of MoCo beside the negatives of the batch. The paper leaves
  open what goes into it: here the projections of both views. Without the memory it is `simclr`.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector g; (width, width), 128 for the paper's three layers.
    temperature: > 0; 0.1 in the paper.
    momentum: of the moving average; 0.999 in the paper.
    queue: projections that are kept, a multiple of twice the batch; 65536 in the paper. At first they are random
      directions.
    chunk: columns of the 2b x (2b + queue) similarities to hold at a time; the same loss with less memory.
  Raises:
    ValueError: in `update`, the batch does not fit the queue.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  def embed(student, teacher, batch, key):
    return embed_views(student, batch, key), embed_views(teacher, batch, None)  # [b, 2, width] each

  def compare(student, teacher, h, memory):
    z = student.projector(h[0], train=True)  # [b, 2, dim]
    k = teacher.projector(jax.lax.stop_gradient(h[1]), train=True)
    keys = losses.normalize(jnp.concatenate([k[:, 0], k[:, 1]]))
    value = losses.nt_xent(z[:, 0], z[:, 1], temperature=temperature, chunk=chunk, queue=memory.queue)
    return value, {}, {'keys': keys}

  return method({'views': 'b 2 h w c'}, modules, embed=embed, compare=compare, teacher=Average(momentum, 'own'),
                memory=lambda key: Memory(directions(key, queue, dim)),
                remember=lambda memory, kept, step: Memory(enqueue(memory.queue, kept['keys'], step)),
                couples_batch=True)
