"""SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning (pseudo-label)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Positive
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify


def softmatch(backbone: Callable, *, classes: Count, momentum: Decay, sigmas: Positive, unlabeled_weight: NonNegative,
              ema_momentum: Decay) -> Objective:
  """FixMatch with weights that fall as a Gaussian below the mean confidence, and not at all above it.

  arXiv:2301.10921v2, section 3. As in the authors' code (USB: microsoft/Semi-supervised-learning), the mean confidence
  starts at 1 / k and its variance at 1 (semilearn/algorithms/softmatch/utils.py), the mean prediction at that of the
  first batch (semilearn/algorithms/hooks/dist_align.py), and evaluation is with the batch statistics of training.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    momentum: m, of the running mean, variance and probabilities; 0.999 in the authors' code.
    sigmas: how many widths of the Gaussian the running standard deviation is; 2 in the authors' code.
    unlabeled_weight: lambda_u; 1 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  """
  net = classifier(backbone, classes)

  def own():
    return {'mean': jnp.float32(1 / classes), 'variance': jnp.float32(1), 'probability': jnp.zeros(classes)}

  def loss(params, memory, batch, key, step):
    del step
    (labeled, weak, strong), statistics = classify(net, params, memory['statistics'],
                                                   [batch['image'], batch['weak'], batch['strong']], key)
    now = losses.softmatch_statistics(weak, **{name: memory[name] for name in own()}, momentum=momentum)
    value, metrics = losses.softmatch(labeled, batch['label'], weak, strong, **now, sigmas=sigmas,
                                      unlabeled_weight=unlabeled_weight)
    metrics |= {'confidence_mean': now['mean'], 'confidence_variance': now['variance']}
    return value, (now | {'statistics': statistics}, metrics)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared', own=own, couples_batch=True))
