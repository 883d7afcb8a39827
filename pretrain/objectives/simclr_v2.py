"""SimCLRv2: Big Self-Supervised Models are Strong Semi-Supervised Learners (contrastive, with memory)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.objective import Objective, embed_together, flat, in_parts
from pretrain.method.teacher import with_queue, with_teacher
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  net = functional(parts)
  shared, student = with_teacher(net, lambda _: momentum, encoder='student', couples_batch=True), embed_together(net)

  def embed(params, memory, batch, key, step):
    h, carry = student(params, memory, batch, key, step)  # [b, 2, width]
    k, statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                              lambda m: m.backbone(flat(batch['views']), train=True))
    return (h, k.reshape(h.shape)), carry | {'teacher_statistics': statistics}

  def couple(params, h, carry, memory, batch, step):
    del batch, step
    project = lambda h: lambda m: m.projector(h, train=True)
    z, statistics = net.apply(params, carry['statistics'], project(h[0]))
    k, teacher_statistics = net.apply(memory['teacher'], carry['teacher_statistics'],
                                      project(jax.lax.stop_gradient(h[1])))
    loss = losses.nt_xent(z[:, 0], z[:, 1], temperature, chunk, memory['queue'])
    keys = losses.normalize(jnp.concatenate([k[:, 0], k[:, 1]]))
    return loss, ({'statistics': statistics, 'teacher_statistics': teacher_statistics, 'keys': keys}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed, couple),
                   **with_queue(shared, queue, dim))
