"""ShrinkMatch: Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning (pseudo-label)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Share
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import aligned, averaged, divided
from pretrain.models.functional import functional
from pretrain.models.heads import MLP, Classifier


def shrinkmatch(backbone: Callable, *, classes: Count, hidden: tuple[Count, ...], threshold: Share, momentum: Decay,
                window: Natural, unlabeled_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """FixMatch; an uncertain example learns its first class against those that are left when its rivals are removed.

  arXiv:2308.06777v1, section 3; the auxiliary head, its batch normalisation and the alignment as in the authors' code,
  from which the shrunk loss goes on into the backbone. Evaluation is with the batch statistics of training, which that
  code copies to the average (LiheYoung/ShrinkMatch, CIFAR/network/shrinkmatch.py).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k; nothing can be removed of less than three.
    hidden: widths of the auxiliary head; twice a quarter of the features in the authors' code.
    threshold: tau in [0, 1]; 0.95 in the paper.
    momentum: of the running share of certain examples; 0.999 in the authors' code.
    window: over how many batches predictions are averaged to align them, 0 is without; 32 for CIFAR in the authors'
      code.
    unlabeled_weight: of both losses; 1 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    auxiliary=MLP(f.width, tuple(hidden), classes, batch_norm=True, dtype=f.dtype, rngs=rngs,
                                  activation=lambda x: jax.nn.leaky_relu(x, 0.1)))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    images = [batch['image'], batch['weak'], batch['strong']]

    def forward(m):
      h = m.backbone(jnp.concatenate(images), train=True, key=key)
      return divided(m.head(h), images), m.auxiliary(divided(h, images)[2], train=True)

    ((labeled, weak, strong), auxiliary), statistics = net.apply(params, memory['statistics'], forward)
    p, means = aligned(jax.lax.stop_gradient(jax.nn.softmax(weak)), memory['window'], step)
    now = jnp.mean((p.max(-1) >= threshold).astype(jnp.float32))
    certain = jnp.where(step == 0, now, momentum * memory['certain'] + (1 - momentum) * now)
    value, metrics = losses.shrinkmatch(labeled, batch['label'], p, strong, auxiliary, threshold, certain,
                                        unlabeled_weight)
    return value, ({'statistics': statistics, 'window': means, 'certain': certain}, metrics | {'certain': certain})

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared', couples_batch=True,
                              own=lambda: {'window': jnp.zeros((window, classes)), 'certain': jnp.float32(0)}))
