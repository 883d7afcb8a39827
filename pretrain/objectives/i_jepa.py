"""I-JEPA: Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Parts, Positives
from pretrain.method.masks import multi_block
from pretrain.method.objective import Objective
from pretrain.method.teacher import linear, with_teacher
from pretrain.models.decoder import BlockPredictor
from pretrain.models.functional import functional
from pretrain.models.layers import standardize
from pretrain.models.patches import grid_of


def i_jepa(backbone: Callable, *, targets: Count, target_scale: Parts, target_aspect: Positives, context_scale: Parts,
           context_patches: Count, predictor_width: Count, predictor_depth: Count, predictor_heads: Count,
           momentum: Decay, steps: Count) -> Objective:
  """From the tokens of a context block a predictor says what the student's moving average makes of other blocks.

  arXiv:2301.08243v3, section 3. Of the authors' code: targets are normalised token by token, the loss is smooth L1 with
  beta 1 (the paper: L2). Deviations: masks have static shapes (`masks.multi_block`); the ViT here has a class token,
  that the predictor does not see; the authors shrink the initial kernels of deeper blocks.
  Metric 'target_std': how far the teacher's normalised tokens vary over patches and images; 0 where all are the same.

  Args:
    backbone: a ViT with pool='mean', build(rngs) -> module with `embed`, `encode`, `patches`.
    targets, target_scale, target_aspect: number of target blocks, their share of the patches, height / width; 4,
      (0.15, 0.2), (0.75, 1.5) in the paper.
    context_scale, context_patches: share of the patches of the context block, (0.85, 1) in the paper, and how many that
      are in no target the student sees.
    predictor_width, predictor_depth, predictor_heads: 384, 12, 16 in the paper for ViT-H.
    momentum: of the teacher at step 0, a line up to 1 at the last step; 0.996 in the paper.
    steps: of the whole run.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, predictor=BlockPredictor(f.width, width=predictor_width, depth=predictor_depth,
                                                         heads=predictor_heads, rngs=rngs, **f.levers))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    keys, images = jax.random.split(key), batch['image']

    def teach(m):
      return standardize(m.backbone.patches(m.backbone.encode(m.backbone.embed(images), train=True)))  # [b, n, d]

    def predict(m):
      f, grid = m.backbone, grid_of(images.shape, m.backbone.patch)
      context, target = multi_block(keys[0], batch['index'], grid, targets=targets, target_scale=target_scale,
                                    target_aspect=target_aspect, context_scale=context_scale,
                                    context_patches=context_patches)  # [b, k], [b, m, t]
      tokens = jnp.take_along_axis(f.embed(images), context[..., None], 1)
      tokens = f.patches(f.encode(tokens, train=True, key=keys[1]))  # [b, k, d]
      return m.predictor(tokens, context, target, grid), target

    (predicted, target), statistics = net.apply(params, memory['statistics'], predict)
    whole, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'], teach)
    flat = target.reshape(len(target), -1)  # [b, m t]
    wanted = jnp.take_along_axis(whole, flat[..., None], 1)  # [b, m t, d]
    value = losses.smooth_l1(predicted.reshape(wanted.shape), wanted, jnp.ones(flat.shape, bool), 1.)
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics}
    return value, (carry, {'target_std': whole.std((0, 1)).mean()})

  return Objective({'image': 'b h w c', 'index': 'b'}, loss=loss,
                   **with_teacher(net, linear(momentum, 1., steps), encoder='teacher'))
