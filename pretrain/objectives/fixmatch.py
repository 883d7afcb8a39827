"""FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence (pseudo-label)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.models.functional import functional
from pretrain.models.heads import Classifier
from pretrain.objective import Objective, ema


def fixmatch(backbone: Callable, *, classes: int, threshold: float, unlabeled_weight: float,
             ema_momentum: float) -> Objective:
  """Confident predictions on weakly augmented images are labels for their strongly augmented versions.

  arXiv:2001.07685v2, section 2.2, eq. 3 and 4, algorithm 1. Evaluation is by the moving average of the parameters.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    threshold: tau in [0, 1]; 0.95 in the paper.
    unlabeled_weight: lambda_u; 1 in the paper.
    ema_momentum: of the parameters and batch statistics that encode and predict use; 0.999 in the authors' code.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs))

  net = functional(parts)

  def init(key):
    params, statistics = net.init(key)
    return params, {'statistics': statistics, 'ema': params, 'ema_statistics': statistics}

  def loss(params, memory, batch, key, step):
    del step
    x = jnp.concatenate([batch['image'], batch['weak'], batch['strong']])  # [b + 2u, h, w, c]
    logits, statistics = net.apply(params, memory['statistics'], lambda m: m.head(m.backbone(x, train=True, key=key)))
    b, u = len(batch['image']), len(batch['weak'])
    labeled, weak, strong = jnp.split(logits, [b, b + u])
    value, metrics = losses.fixmatch(labeled, batch['label'], weak, strong, threshold, unlabeled_weight)
    return value, ({'statistics': statistics}, metrics)

  def update(params, memory, carry, step):
    del step
    return params, {'statistics': carry['statistics'], 'ema': ema(memory['ema'], params, ema_momentum),
                    'ema_statistics': ema(memory['ema_statistics'], carry['statistics'], ema_momentum)}

  def encode(params, memory, images):
    del params
    return net.apply(memory['ema'], memory['ema_statistics'], lambda m: m.backbone(images))[0]

  def predict(params, memory, images):
    del params
    logits, _ = net.apply(memory['ema'], memory['ema_statistics'], lambda m: m.head(m.backbone(images)))
    return jax.nn.softmax(logits)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, init, loss, update,
                   encode, predict, net.couples_batch)
