"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (contrastive, with a teacher)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.objective import Objective, cosine, ema, in_parts, seen
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def moco_v3(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, predictor_hidden: Count,
            temperature: Positive, momentum: Decay, freeze_patches: bool, steps: Count,
            chunk: Count | None = None) -> Objective:
  """Each view is told from all images of the batch by the other view, which a moving average of the network encodes.

  arXiv:2104.02057v4, algorithm 1, and section 4.2 for the patches' projection. Heads as in the authors' code, with
  batch normalisation after every layer, at the outputs without gain and offset.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector; the paper's are (4096, 4096), 256 for a ViT.
    predictor_hidden: width of the predictor's hidden layer; 4096 in the paper.
    temperature: > 0; 0.2 in the paper. The loss is multiplied by twice that, as in algorithm 1.
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.99 in the paper.
    freeze_patches: keep a ViT's random projection of patches (its part `project`) as it is. It is then in memory, where
      no weight decay reaches it; the paper trains ViTs so.
    steps: of the whole run.
    chunk: columns of the b x b similarities to hold at a time; the same loss with less memory.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              dtype=f.dtype, rngs=rngs))

  encoder = functional(parts)
  dtype = nnx.eval_shape(lambda: backbone(nnx.Rngs(params=0))).dtype
  predictor = functional(lambda rngs: MLP(dim, (predictor_hidden,), dim, batch_norm=True, last_batch_norm=True,
                                          dtype=dtype, rngs=rngs))
  teacher_momentum = cosine(momentum, 1., steps)

  def init(key):
    keys = jax.random.split(key)
    params, statistics = encoder.init(keys[0])
    head, head_statistics = predictor.init(keys[1])
    f = dict(params['backbone'])
    frozen = {'project': f.pop('project')} if freeze_patches else {}
    trained = {'backbone': f, 'projector': params['projector']}
    return trained | {'predictor': head}, {'teacher': trained, 'frozen': frozen, 'statistics': statistics,
                                           'teacher_statistics': statistics, 'predictor_statistics': head_statistics}

  def whole(params, frozen):  # what the encoder takes: the frozen part put back, the predictor left out
    return {'backbone': params['backbone'] | frozen, 'projector': params['projector']}

  def embed(params, memory, batch, key, step):
    del step
    views, keys = jnp.unstack(batch['views'], axis=1), jax.random.split(key)  # 2 x [b, h, w, c]
    h, statistics = encoder.apply(whole(params, memory['frozen']), memory['statistics'], lambda m: [
        m.backbone(x, train=True, key=k) for x, k in zip(views, keys, strict=True)])
    teacher, teacher_statistics = encoder.apply(whole(memory['teacher'], memory['frozen']),
                                                memory['teacher_statistics'],
                                                lambda m: [m.backbone(x, train=True) for x in views])
    return (h, teacher), {'statistics': statistics, 'teacher_statistics': teacher_statistics}

  def couple(params, h, carry, memory, batch, step):
    del batch, step
    project = lambda h: lambda m: [m.projector(view, train=True) for view in h]
    z, statistics = encoder.apply(whole(params, memory['frozen']), carry['statistics'], project(h[0]))
    (q1, q2), head_statistics = predictor.apply(params['predictor'], memory['predictor_statistics'],
                                                lambda m: [m(view, train=True) for view in z])
    (k1, k2), teacher_statistics = encoder.apply(whole(memory['teacher'], memory['frozen']),
                                                 carry['teacher_statistics'], project(jax.lax.stop_gradient(h[1])))
    itself = jnp.arange(len(q1))
    contrast = lambda q, k: 2 * temperature * losses.info_nce(q, k, itself, temperature, chunk)
    return contrast(q1, k2) + contrast(q2, k1), ({'statistics': statistics, 'teacher_statistics': teacher_statistics,
                                                  'predictor_statistics': head_statistics}, {})

  def update(params, memory, carry, step):
    teacher = ema(memory['teacher'], whole(params, {}), teacher_momentum(step))
    return params, memory | carry | {'teacher': teacher}

  return Objective({'views': 'b 2 h w c'}, init=init, update=update, couples_batch=True,
                   **seen(encoder, lambda params, memory: (whole(params, memory['frozen']), memory['statistics'])),
                   **in_parts(encoder, embed, couple))
