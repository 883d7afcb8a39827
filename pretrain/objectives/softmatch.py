"""SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning (pseudo-label)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Positive
from pretrain.losses.semi_supervised import probabilities_of, weighted
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning',
             arxiv='2301.10921v2', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  mean: Any  # f32[], of the confidence
  variance: Any  # f32[], of the confidence
  probability: Any  # f32[k], mean prediction, 0 at first


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
  def loss(student, memory, batch, key):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    now = softmatch_statistics(weak, **memory._asdict(), momentum=momentum)
    value, metrics = softmatch_loss(labeled, batch['label'], weak=weak, strong=strong, **now, sigmas=sigmas,
                                    unlabeled_weight=unlabeled_weight)
    return value, metrics | {'confidence_mean': now['mean'], 'confidence_variance': now['variance']}, now

  return method(BATCH, classifier(backbone, classes), loss, ema=Average(ema_momentum), encode='ema',
                predict=probabilities, couples_batch=True,
                memory=lambda _: Memory(jnp.float32(1 / classes), jnp.float32(1), jnp.zeros(classes)))


def softmatch_loss(labeled, label, *, weak, strong, mean, variance, probability, sigmas, unlabeled_weight):
  """FixMatch with a weight between 0 and 1 where FixMatch has a threshold.

  arXiv:2301.10921v2, section 3: weights of the aligned probabilities, pseudo-labels of those before alignment.

  Args:
    labeled, label, weak, strong: as `losses.fixmatch`.
    mean, variance, probability: f32[], f32[], f32[k]: what `softmatch_statistics` gives, this batch included.
    sigmas: as in `truncated_gaussian`.
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}, the last the mean weight.
  """
  losses.same_shape('softmatch', weak=weak.shape, strong=strong.shape)
  p = probabilities_of(weak)
  weight = truncated_gaussian(uniformly_aligned(p, probability), mean, variance=variance, sigmas=sigmas)
  return weighted(labeled, label, strong=strong, pseudo=p.argmax(-1), weight=weight, unlabeled_weight=unlabeled_weight)


def softmatch_statistics(weak, mean, *, variance, probability, momentum):
  """The running means of SoftMatch with one more batch.

  arXiv:2301.10921v2, section 3; of the aligned confidences, as in the authors' code.

  Args:
    weak: [u, k] logits, u >= 2; no gradient flows back.
    mean, variance, probability: f32[], f32[], f32[k], so far; a probability of zeros is none yet, and becomes that of
      this batch.
    momentum: m, the share that they keep of themselves.
  Returns:
    {'mean', 'variance', 'probability'}; the variance of a batch is the unbiased one.
  """
  p = probabilities_of(weak)
  kept = jnp.where(jnp.any(probability > 0), momentum, 0.)
  probability = kept * probability + (1 - kept) * jnp.mean(p, 0)
  confidence = uniformly_aligned(p, probability)
  return {'mean': momentum * mean + (1 - momentum) * jnp.mean(confidence),
          'variance': momentum * variance + (1 - momentum) * jnp.var(confidence, ddof=1), 'probability': probability}


def truncated_gaussian(confidence, mean, *, variance, sigmas):
  """SoftMatch's weight of an example: 1 from the mean confidence on, below it a Gaussian's share of its maximum.

  arXiv:2301.10921v2, section 3, with lambda_max = 1.

  Args:
    confidence: f32[u].
    mean, variance: f32[].
    sigmas: how many of its widths the standard deviation is; 1 in the paper's formula, 2 in the authors' code.
  """
  variance = jnp.maximum(variance, jnp.finfo(jnp.float32).tiny)  # 0 is a threshold, not 0 / 0
  return jnp.exp(-jnp.square(jnp.minimum(confidence - mean, 0) * sigmas) / (2 * variance))


def uniformly_aligned(p, probability):
  """The highest of each row's probabilities f32[u] after alignment from the running mean f32[k] to uniform."""
  return losses.align(p, jnp.full_like(probability, 1 / len(probability)), average=probability).max(-1)
