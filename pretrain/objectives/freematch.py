"""FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning (pseudo-label)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative
from pretrain.losses.semi_supervised import probabilities_of
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning',
             arxiv='2205.07246v3', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  threshold: Any  # f32[], running mean of the confidence
  probability: Any  # f32[k], of the predictions
  histogram: Any  # f32[k], of the pseudo-labels' classes


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
  def start(_):
    uniform = jnp.full(classes, 1 / classes, jnp.float32)
    return Memory(threshold=uniform[0], probability=uniform, histogram=uniform)

  def loss(student, memory, batch, key):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    now = freematch_statistics(weak, **memory._asdict(), momentum=momentum)
    value, metrics = freematch_loss(labeled, batch['label'], weak=weak, strong=strong, **now,
                                    unlabeled_weight=unlabeled_weight, fairness_weight=fairness_weight)
    return value, metrics | {'threshold': now['threshold']}, now

  return method(BATCH, classifier(backbone, classes), loss, ema=Average(ema_momentum), encode='ema',
                predict=probabilities, memory=start, couples_batch=True)


def freematch_loss(labeled, label, *, weak, strong, threshold, probability, histogram, unlabeled_weight,
                   fairness_weight):
  """FixMatch with self-adaptive thresholds, plus fairness of the predictions for the strong view.

  arXiv:2205.07246v3, section 4: thresholds MaxNorm(p~_t) tau_t, and the overall objective.

  Args:
    labeled, label, weak, strong: as `losses.fixmatch`.
    threshold, probability, histogram: f32[], f32[k], f32[k]: what `freematch_statistics` gives, this batch included.
    unlabeled_weight, fairness_weight: w_u, w_f >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'fairness', 'use_ratio'}.
  """
  losses.same_shape('freematch', weak=weak.shape, strong=strong.shape)
  losses.same_shape('freematch', probability=probability.shape, classes=weak.shape[-1:])
  thresholds = threshold * probability / jnp.max(probability)  # [k]
  pseudo, _ = losses.confident(weak, 0.)
  _, use = losses.confident(weak, thresholds[pseudo])
  value, metrics = losses.fixmatch(labeled, label, weak=weak, strong=strong, threshold=thresholds[pseudo],
                                   unlabeled_weight=unlabeled_weight)
  unfair = fairness(strong, use, probability=probability, histogram=histogram)
  return value + fairness_weight * unfair, metrics | {'fairness': unfair}


def freematch_statistics(weak, threshold, *, probability, histogram, momentum):
  """The running means of FreeMatch with one more batch.

  arXiv:2205.07246v3, section 4: the global threshold tau_t, the local p~_t and the histogram h~_t of fairness.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold, probability, histogram: f32[], f32[k], f32[k], so far.
    momentum: lambda, the share that they keep of themselves.
  Returns:
    {'threshold', 'probability', 'histogram'}: of the highest probability, of the probabilities and of the classes.
  """
  p = probabilities_of(weak)
  new = {'threshold': jnp.mean(p.max(-1)), 'probability': jnp.mean(p, 0),
         'histogram': jnp.mean(jax.nn.one_hot(p.argmax(-1), p.shape[-1]), 0)}
  old = {'threshold': threshold, 'probability': probability, 'histogram': histogram}
  return {name: momentum * old[name] + (1 - momentum) * new[name] for name in new}


def fairness(strong, use, *, probability, histogram):
  """Self-adaptive fairness: minus the cross-entropy of two mean predictions, each divided by its histogram.

  arXiv:2205.07246v3, section 4, the fairness objective L_f. Classes that a histogram lacks count 0, as in the
  authors' code.

  Args:
    strong: [u, k] logits.
    use: bool[u], which of them enter the batch's mean and histogram.
    probability, histogram: f32[k], the running means p~_t and h~_t; no gradient.
  Returns:
    f32[] nats, <= 0; 0 where no example is used.
  """
  def share(x, counts):
    ratio = jnp.where(counts > 0, x / jnp.where(counts > 0, counts, 1), 0)
    return ratio / jnp.maximum(jnp.sum(ratio), 1e-12)

  p = jax.nn.softmax(strong.astype(jnp.float32))
  used = jnp.maximum(jnp.sum(use), 1)
  mean = jnp.sum(p * use[:, None], 0) / used  # [k]
  counts = jnp.sum(jax.nn.one_hot(p.argmax(-1), p.shape[-1]) * use[:, None], 0) / used
  target = jax.lax.stop_gradient(share(probability, histogram))
  return jnp.where(jnp.any(use), jnp.sum(target * jnp.log(share(mean, counts) + 1e-12)), 0.)
