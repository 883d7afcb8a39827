"""SwAV: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (contrastive between clusters)."""
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Natural, Positive
from pretrain.method.memory import enqueue
from pretrain.method.metrics import collapse
from pretrain.method.objective import Objective, flat, method
from pretrain.models.heads import MLP
from pretrain.models.layers import Linear

PAPER = dict(title='Unsupervised Learning of Visual Features by Contrasting Cluster Assignments',
             arxiv='2006.09882v5', family='clustering', modality='image')


class Memory(NamedTuple):
  queue: Any  # f32[2, queue, dim], of length 1: features of earlier images' two global views, zeros at first


def swav(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, prototypes: Count, temperature: Positive,
         epsilon: Positive, iterations: Count, freeze_prototypes_steps: Natural, queue: Natural = 0,
         queue_start_step: Natural = 0) -> Objective:
  """Every view predicts to which prototypes the other, global views are assigned, all prototypes being used equally.

  arXiv:2006.09882v5, section 3, eq. 2 to 6 and the algorithm of appendix A.1; the multi-crop is that of section 3.2.
  The prototypes are set back to length 1 after each step (the authors' code: before the next one). As there the crops
  of one size pass the backbone together, and all of them the projector.
  Metrics: `metrics.collapse` of the codes.

  Args:
    backbone: f, build(rngs) -> module with `width`, applied to images of the global and of the local size.
    hidden, dim: widths of the projector; the paper's are (2048,), 128.
    prototypes: k; 3000 in the paper.
    temperature, epsilon, iterations: 0.1, 0.05 and 3 in the paper; the last two are of the assignment.
    freeze_prototypes_steps: steps in which the prototypes stand still, as the authors take their gradient away; 313 in
      their code, one epoch there.
    queue: earlier images whose features join the assignment of small batches, a multiple of the batch; 0 for none.
    queue_start_step: the queue is used from this step on, but not before it is full. Deviation: it fills from the
      first step on, the authors' from this step on.
  Raises:
    ValueError: in `update`, the batch does not divide the queue.
  """
  def on_sphere(kernel):  # [dim, k]: columns of length 1
    return losses.normalize(kernel, axis=0)

  def modules(rngs):
    f = backbone(rngs)
    projector = MLP(f.width, tuple(hidden), dim, batch_norm=True, dtype=f.dtype, rngs=rngs)
    last = Linear(dim, prototypes, use_bias=False, rngs=rngs)
    last.kernel[...] = on_sphere(last.kernel[...])
    return nnx.Dict(backbone=f, projector=projector, prototypes=last)

  def loss(student, memory, batch, key, step):
    crops, keys = (batch['global'], batch['local']), jax.random.split(key)  # [b, 2, h, w, c], [b, v, s, s, c]
    h = [student.backbone(flat(x), train=True, key=k).reshape(*x.shape[:2], -1)
         for x, k in zip(crops, keys, strict=True)]
    z = losses.normalize(student.projector(jnp.concatenate(h, 1), train=True)).swapaxes(0, 1)  # [2 + v, b, dim]
    logits, b = student.prototypes(z), len(batch['global'])  # [2 + v, b, k]
    if prototypes > b + queue:  # told once, while the step is traced
      warnings.warn(f'swav: {b + queue} assignments ({b} of the batch, {queue} of the queue) cannot use {prototypes} '
                    'prototypes equally; wanted fewer prototypes, or a longer queue', stacklevel=2)

    assign = jax.vmap(lambda x: losses.sinkhorn(x, epsilon, iterations=iterations))
    codes = assign(logits[:2])  # [2, b, k]
    if queue:
      more = jnp.concatenate([student.prototypes(memory.queue), logits[:2]], 1)  # [2, q + b, k]
      ready = (step >= queue_start_step) & (step >= queue // b)
      codes = jnp.where(ready, assign(more)[:, -b:], codes)
    return losses.swav(logits, codes, temperature=temperature), collapse(codes, 'code'), {'z': z[:2]}

  def after(params, *_):
    return params | {'prototypes': {'kernel': on_sphere(params['prototypes']['kernel'])}}

  def hold(step):  # the authors' gradient of the prototypes is None at first
    return {'prototypes': step < freeze_prototypes_steps}

  def remember(memory, kept, step):
    return Memory(jax.vmap(enqueue, (0, 0, None))(memory.queue, kept['z'], step))

  return method({'global': 'b 2 h w c', 'local': 'b v s s c'}, modules, loss, couples_batch=True,
                memory=(lambda _: Memory(jnp.zeros((2, queue, dim)))) if queue else None, remember=remember,
                after=after, hold=hold)
