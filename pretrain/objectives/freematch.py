"""FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning (pseudo-label)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify


def freematch(backbone: Callable, *, classes: Count, momentum: Decay, unlabeled_weight: NonNegative,
              fairness_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """FixMatch with thresholds that follow the mean confidence, of all and of each class, and a term for fairness.

  arXiv:2205.07246v3, section 4. The running means start at 1 / k, as in the paper and in both of the authors' codes,
  USB (microsoft/Semi-supervised-learning, semilearn/algorithms/freematch) and TorchSSL (models/freematch_entropy).
  Evaluation is with the batch statistics of training, as in both (`EMA`).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    momentum: lambda, of the running means; 0.999 in both.
    unlabeled_weight: w_u; 1 in both.
    fairness_weight: w_f; 0.001 in USB's settings for CIFAR-10, 0.01 in TorchSSL's.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  """
  net = classifier(backbone, classes)

  def own():
    uniform = jnp.full(classes, 1 / classes, jnp.float32)
    return {'threshold': uniform[0], 'probability': uniform, 'histogram': uniform}

  def loss(params, memory, batch, key, step):
    del step
    (labeled, weak, strong), statistics = classify(net, params, memory['statistics'],
                                                   [batch['image'], batch['weak'], batch['strong']], key)
    now = losses.freematch_statistics(weak, **{name: memory[name] for name in own()}, momentum=momentum)
    value, metrics = losses.freematch(labeled, batch['label'], weak, strong, **now, unlabeled_weight=unlabeled_weight,
                                      fairness_weight=fairness_weight)
    return value, (now | {'statistics': statistics}, metrics | {'threshold': now['threshold']})

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared', own=own, couples_batch=True))
