"""I-JEPA: Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Parts, Positives
from pretrain.method.masks import multi_block
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import linear
from pretrain.models.decoder import BlockPredictor
from pretrain.models.layers import standardize

PAPER = dict(title='Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture',
             arxiv='2301.08243v3', family='masked modelling', modality='image')


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
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, predictor=BlockPredictor(f.width, width=predictor_width, depth=predictor_depth,
                                                         heads=predictor_heads, rngs=rngs, **f.levers))

  def loss(student, teacher, batch, key):
    keys, images, f = jax.random.split(key), batch['image'], student.backbone
    tokens = teacher.backbone.encode(teacher.backbone.embed(images), train=True)
    whole = standardize(teacher.backbone.patches(tokens))  # [b, n, d]

    grid = f.cells.grid_of(images.shape)
    context, target = multi_block(keys[0], batch['index'], grid, targets=targets, target_scale=target_scale,
                                  target_aspect=target_aspect, context_scale=context_scale,
                                  context_patches=context_patches)  # [b, k], [b, m, t]
    tokens = jnp.take_along_axis(f.embed(images), context[..., None], 1)
    tokens = f.patches(f.encode(tokens, train=True, key=keys[1]))  # [b, k, d]
    predicted = student.predictor(tokens, context, target, grid)  # [b, m, t, d]

    places = target.reshape(len(target), -1)  # [b, m t]
    wanted = jnp.take_along_axis(whole, places[..., None], 1)  # [b, m t, d]
    value = losses.smooth_l1(predicted.reshape(wanted.shape), wanted, mask=jnp.ones(places.shape, bool), beta=1.)
    return value, {'target_std': whole.std((0, 1)).mean()}

  return method({'image': 'b h w c', 'index': 'b'}, modules, loss,
                teacher=Average(linear(momentum, 1., steps), 'own', of=('backbone',)), encode='teacher')
