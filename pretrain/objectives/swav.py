"""SwAV: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (contrastive between clusters)."""
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Natural, Positive
from pretrain.method.objective import Objective, flat, plain
from pretrain.method.queue import enqueue
from pretrain.method.teacher import collapse
from pretrain.models.functional import functional
from pretrain.models.heads import MLP
from pretrain.models.layers import Linear, product


def swav(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, prototypes: Count, temperature: Positive,
         epsilon: Positive, iterations: Count, freeze_prototypes_steps: Natural, queue: Natural = 0,
         queue_start_step: Natural = 0) -> Objective:
  """Every view predicts to which prototypes the other, global views are assigned, all prototypes being used equally.

  arXiv:2006.09882v5, section 3, eq. 2 to 6 and the algorithm of appendix A.1; the multi-crop is that of section 3.2.
  As in the authors' code the prototypes are set back to length 1 after each step, the crops of one size pass the
  backbone together, and all of them the projector.
  Metrics: `teacher.collapse` of the codes.

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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, dtype=f.dtype, rngs=rngs),
                    prototypes=Linear(dim, prototypes, use_bias=False, rngs=rngs))

  net = functional(parts)

  shared = plain(net, couples_batch=True)

  def on_sphere(params):  # kernel [d, k]: columns of length 1
    return params | {'prototypes': {'kernel': losses.normalize(params['prototypes']['kernel'], axis=0)}}

  def init(key):
    params, memory = shared['init'](key)
    return on_sphere(params), memory | ({'queue': jnp.zeros((2, queue, dim))} if queue else {})

  def loss(params, memory, batch, key, step):
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]
    b, keys = len(batch['global']), jax.random.split(key)
    z, statistics = net.apply(params, memory['statistics'], lambda m: m.projector(jnp.concatenate(
        [m.backbone(x, train=True, key=k).reshape(b, -1, m.backbone.width)
         for x, k in zip((large, small), keys, strict=True)], 1), train=True))
    z = losses.normalize(z).swapaxes(0, 1)  # [2 + v, b, d]

    kernel = params['prototypes']['kernel']
    logits = product(z, kernel)  # [2 + v, b, k]
    if prototypes > b + queue:  # told once, while the step is traced
      warnings.warn(f'swav: {b + queue} assignments ({b} of the batch, {queue} of the queue) cannot use {prototypes} '
                    'prototypes equally; wanted fewer prototypes, or a longer queue', stacklevel=2)

    assign = jax.vmap(lambda x: losses.sinkhorn(x, epsilon, iterations))
    codes = assign(logits[:2])  # [2, b, k]
    if queue:
      more = jnp.concatenate([memory['queue'] @ kernel, logits[:2]], 1)  # [2, q + b, k]
      ready = (step >= queue_start_step) & (step * b >= queue)
      codes = jnp.where(ready, assign(more)[:, -b:], codes)

    carry = {'statistics': statistics, 'z': z[:2]}
    return losses.swav(logits, codes, temperature), (carry, collapse(codes, 'code'))

  def update(params, memory, carry, step):
    memory = memory | {'statistics': carry['statistics']}
    if queue:
      memory['queue'] = jax.vmap(enqueue, (0, 0, None))(memory['queue'], carry['z'], step)
    return on_sphere(params), memory

  def hold(step):  # the authors' gradient of the prototypes is None at first
    return {'prototypes': step < freeze_prototypes_steps}

  return Objective({'global': 'b 2 h w c', 'local': 'b v s s c'}, loss=loss, hold=hold,
                   **shared | {'init': init, 'update': update})
