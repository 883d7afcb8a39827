"""Dash: Semi-Supervised Learning with Dynamic Thresholding (pseudo-label)."""
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive, Range
from pretrain.losses.semi_supervised import softly_weighted
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Dash: Semi-Supervised Learning with Dynamic Thresholding',
             arxiv='2109.00650v1', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  start: Any  # f32[], the labeled loss at the end of the warm-up, from which the threshold falls


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

  def loss(student, memory, batch, key, step):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    threshold = dash_threshold(memory.start, step - warmup_steps, constant=constant, base=base, lowest=lowest,
                               every_steps=every_steps)
    value, metrics = dash_loss(labeled, batch['label'], weak=weak, strong=strong, threshold=threshold,
                               temperature=temperature, hard=threshold <= lowest,
                               unlabeled_weight=jnp.where(step < warmup_steps, 0., unlabeled_weight))
    estimating = (step >= warmup_steps - estimate_steps) & (step < warmup_steps)
    start = memory.start + jnp.where(estimating, metrics['supervised'] / estimate_steps, 0.)
    return value, metrics | {'threshold': threshold}, {'start': start}

  return method(BATCH, classifier(backbone, classes), loss, ema=Average(ema_momentum), encode='ema',
                predict=probabilities, memory=lambda _: Memory(jnp.float32(0)))


def dash_loss(labeled, label, *, weak, strong, threshold, temperature, hard, unlabeled_weight):
  """FixMatch that selects by the loss of the pseudo-label in the weak view, with soft targets at first.

  arXiv:2109.00650v1, section 3 and its implementation details. Deviation: the mean over all u examples; the authors'
  code averages over those used and multiplies by 0.9.

  Args:
    labeled, label, weak, strong: as `losses.fixmatch`.
    threshold: rho_t, nats: used are losses up to it.
    temperature: of the soft targets.
    hard: bool[], whether pseudo-labels are targets instead.
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  losses.same_shape('dash', weak=weak.shape, strong=strong.shape)
  pseudo, _ = losses.confident(weak, 0.)
  weak = jax.lax.stop_gradient(weak).astype(jnp.float32)
  use = losses.cross_entropy(weak, pseudo) <= threshold
  target = jnp.where(hard, jax.nn.one_hot(pseudo, weak.shape[-1]), jax.nn.softmax(weak / temperature))
  return softly_weighted(labeled, label, strong=strong, target=target, weight=use, unlabeled_weight=unlabeled_weight)


def dash_threshold(start, step, *, constant, base, lowest, every_steps):
  """Dash's threshold of the losses: constant base^-i start, and not below `lowest`, where i counts `every_steps`.

  arXiv:2109.00650v1, algorithm 1 (C gamma^-(t-1) rho^); steps and the lowest value as in the authors' code.

  Args:
    start: rho^, f32[] nats, the labeled loss after warming up.
    step: since then, i32[]; before it the first threshold stays.
    constant, base: C > 1 and gamma > 1.
    lowest: nats.
    every_steps: after how many steps the threshold falls again.
  Returns:
    f32[] nats.
  """
  times = jnp.maximum(step, 0) // every_steps
  return jnp.maximum(constant * jnp.power(jnp.float32(base), -times.astype(jnp.float32)) * start, lowest)
