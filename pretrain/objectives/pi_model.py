"""Pi-model: Temporal Ensembling for Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify, sigmoid_ramp


def pi_model(backbone: Callable, *, classes: Count, unlabeled_weight: NonNegative, ramp_steps: Natural,
             ema_momentum: Decay) -> Objective:
  """Two stochastic passes over an image, labeled or not, predict the same.

  arXiv:1610.02242v3, section 2.1 and algorithm 1. The paper's views are two of the same kind: `views` of FixMatch with
  operations=0, cutout_share=0 and labeled_strong=True. Deviations: evaluation by a moving average of the parameters (0
  turns it off), with the batch statistics of training, as in google-research/mixmatch, pi_model.py; the passes differ
  by the views and, where the backbone has it, stochastic depth, without Gaussian noise and dropout.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    unlabeled_weight: after the ramp; in the authors' code 100 times the share of labeled examples.
    ramp_steps: over which the weight grows as exp(-5 (1 - step / ramp_steps)^2); 80 epochs in the paper.
    ema_momentum: of the average that encode and predict use.
  """
  net = classifier(backbone, classes)
  weight = sigmoid_ramp(unlabeled_weight, ramp_steps)

  def loss(params, memory, batch, key, step):
    names = ('image', 'weak', 'image_strong', 'strong')
    z, statistics = classify(net, params, memory['statistics'], [batch[name] for name in names], key)
    value, metrics = losses.pi_model(z[0], batch['label'], jnp.concatenate(z[:2]), jnp.concatenate(z[2:]), weight(step))
    return value, ({'statistics': statistics}, metrics | {'unlabeled_weight': weight(step)})

  return Objective({'image': 'b h w c', 'image_strong': 'b h w c', 'label': 'b', 'weak': 'u h w c',
                    'strong': 'u h w c'}, loss=loss, **averaged(net, lambda _: ema_momentum, 'shared'))
