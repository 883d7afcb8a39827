"""Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks (pseudo-label)."""
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify
from pretrain.method.teacher import linear


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
  net = classifier(backbone, classes)
  weight = linear(0., unlabeled_weight, ramp_end_step - ramp_start_step)

  def loss(params, memory, batch, key, step):
    (labeled, unlabeled), statistics = classify(net, params, memory['statistics'],
                                                [batch['image'], batch['weak']], key)
    alpha = weight(step - ramp_start_step)
    value, metrics = losses.pseudo_label(labeled, batch['label'], unlabeled, alpha)
    return value, ({'statistics': statistics}, metrics | {'unlabeled_weight': alpha})

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared'))
