"""Dash: Semi-Supervised Learning with Dynamic Thresholding (pseudo-label)."""
from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive, Range
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify


def dash(backbone: Callable, *, classes: Count, constant: Annotated[float, Range(1)], base: Annotated[float, Range(1)],
         lowest: NonNegative, every_steps: Count, warmup_steps: Natural, estimate_steps: Count, temperature: Positive,
         unlabeled_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """FixMatch that uses the examples whose loss is below a threshold, which falls from the labeled loss after a warm-up.

  arXiv:2109.00650v1, algorithm 1. Until `warmup_steps` the unlabeled examples are not used: their metrics are
  of what the threshold, as far as it is known, would select. Deviation: the loss there is the mean over the last steps
  of the warm-up (the paper: over the labeled set after it). The authors' code (idstcv/Dash, dash.py) is not the paper's
  algorithm either: it warms up with all unlabeled examples, starts from their mean loss in the last epoch of that, has
  no C, and lowers the threshold in epochs counted from the start of the run. Evaluation is with the batch statistics of
  training, as there.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    constant, base: C and gamma of the threshold; 1.0001 and 1.27 in USB (microsoft/Semi-supervised-learning,
      semilearn/algorithms/dash), which is by others; gamma is 1.27 in the authors' script (start_train.sh), too.
    lowest: threshold below which it does not fall, and from which on targets are hard; 0.05 in the authors' code.
    every_steps: after how many steps the threshold falls again; 9 epochs of 2^16 labeled images in the authors' script,
      10,240 steps in USB.
    warmup_steps: before the selection; 10 such epochs in the authors' script, 2,048 steps in USB.
    estimate_steps: at the end of the warm-up, over which the labeled loss is averaged.
    temperature: of the soft targets; 0.5 in the authors' script.
    unlabeled_weight: 1 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  Raises:
    ValueError: a warm-up shorter than what is averaged.
  """
  if estimate_steps > warmup_steps:
    raise ValueError(f'dash wants estimate_steps <= warmup_steps, got {estimate_steps} and {warmup_steps}')
  net = classifier(backbone, classes)

  def loss(params, memory, batch, key, step):
    (labeled, weak, strong), statistics = classify(net, params, memory['statistics'],
                                                   [batch['image'], batch['weak'], batch['strong']], key)
    threshold = losses.dash_threshold(memory['start'], step - warmup_steps, constant, base, lowest, every_steps)
    value, metrics = losses.dash(labeled, batch['label'], weak, strong, threshold, temperature, threshold <= lowest,
                                 jnp.where(step < warmup_steps, 0., unlabeled_weight))
    estimating = (step >= warmup_steps - estimate_steps) & (step < warmup_steps)
    start = memory['start'] + jnp.where(estimating, metrics['supervised'] / estimate_steps, 0.)
    return value, ({'statistics': statistics, 'start': start}, metrics | {'threshold': threshold})

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared', own=lambda: {'start': jnp.float32(0)}))
