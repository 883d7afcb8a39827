"""Pi-model: Temporal Ensembling for Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.losses.semi_supervised import total
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import sigmoid_ramp
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Temporal Ensembling for Semi-Supervised Learning',
             arxiv='1610.02242v3', family='consistency', modality='image')


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
  weight = sigmoid_ramp(unlabeled_weight, ramp_steps)

  def loss(student, batch, key, step):
    z = classify(student, [batch[name] for name in ('image', 'weak', 'image_strong', 'strong')], key)
    value, metrics = pi_model_loss(z[0], batch['label'], first=jnp.concatenate(z[:2]), second=jnp.concatenate(z[2:]),
                                   unlabeled_weight=weight(step))
    return value, metrics | {'unlabeled_weight': weight(step)}

  return method(BATCH | {'image_strong': 'b h w c'}, classifier(backbone, classes), loss, ema=Average(ema_momentum),
                encode='ema', predict=probabilities)


def pi_model_loss(labeled, label, *, first, second, unlabeled_weight):
  """Supervised cross-entropy plus the squared difference of the probabilities in two passes.

  arXiv:1610.02242v3, algorithm 1: divided by the number of classes, with a gradient to both.

  Args:
    labeled, label: [b, k] logits, int[b].
    first, second: [n, k] logits of two views of the same examples.
    unlabeled_weight: w(t) >= 0, of this step.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  losses.same_shape('pi_model', first=first.shape, second=second.shape)
  difference = jax.nn.softmax(first.astype(jnp.float32)) - jax.nn.softmax(second.astype(jnp.float32))
  return total(labeled, label, consistency=jnp.mean(jnp.square(difference)), unlabeled_weight=unlabeled_weight)
