"""Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks (pseudo-label)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.losses.semi_supervised import total
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import linear
from pretrain.method.semi_supervised import classifier, classify, probabilities

PAPER = dict(title='Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural '
                   'Networks',
             venue='Lee, ICML 2013 workshop', family='pseudo-labels', modality='image')


def pseudo_label(backbone: Callable, *, classes: Count, unlabeled_weight: NonNegative, ramp_start_step: Natural,
                 ramp_end_step: Natural, ema_momentum: Decay) -> Objective:
  """The most probable class of an unlabeled image is its label, with a weight that grows during training.

  Dong-Hyun Lee, Workshop on Challenges in Representation Learning, ICML 2013: the overall loss and alpha(t).
  Deviations: evaluation by a moving average of the parameters (0 turns it off), with the batch statistics of training,
  as in google-research/mixmatch, pseudo_label.py; no dropout or denoising auto-encoder.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    unlabeled_weight: alpha_f; 3 in the paper.
    ramp_start_step, ramp_end_step: T_1 and T_2, between which the weight grows from 0; 100 and 600 in the paper.
    ema_momentum: of the average that encode and predict use.
  Raises:
    ValueError: a ramp that ends before it starts.
  """
  if ramp_start_step > ramp_end_step:
    raise ValueError(f'pseudo_label wants ramp_start_step <= ramp_end_step, got {ramp_start_step} and {ramp_end_step}')
  weight = linear(0., unlabeled_weight, ramp_end_step - ramp_start_step)

  def loss(student, batch, key, step):
    labeled, unlabeled = classify(student, [batch['image'], batch['weak']], key)
    alpha = weight(step - ramp_start_step)
    value, metrics = pseudo_label_loss(labeled, batch['label'], unlabeled=unlabeled, unlabeled_weight=alpha)
    return value, metrics | {'unlabeled_weight': alpha}

  return method({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c'}, classifier(backbone, classes), loss,
                ema=Average(ema_momentum), encode='ema', predict=probabilities)


def pseudo_label_loss(labeled, label, *, unlabeled, unlabeled_weight):
  """Supervised cross-entropy plus that of unlabeled examples with the most probable class of the same prediction.

  Lee, "Pseudo-Label", Workshop on Challenges in Representation Learning, ICML 2013: the overall loss function.

  Args:
    labeled, label: [b, k] logits, int[b].
    unlabeled: [u, k] logits; the labels made of them are constants.
    unlabeled_weight: alpha(t) >= 0, of this step.
  Returns:
    f32[] nats, and {'supervised', 'consistency'}.
  """
  pseudo, _ = losses.confident(unlabeled, 0.)
  return total(labeled, label, consistency=jnp.mean(losses.cross_entropy(unlabeled, pseudo)),
               unlabeled_weight=unlabeled_weight)
