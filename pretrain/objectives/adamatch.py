"""AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation (pseudo-label)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.losses.semi_supervised import probabilities_of, weighted
from pretrain.method.memory import Average, ema, enqueue
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import cosine
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation',
             arxiv='2106.04732v2', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  labeled: Any  # f32[k], running mean of the labeled predictions
  unlabeled: Any  # f32[window, k], mean predictions of the last unlabeled batches


def adamatch(backbone: Callable, *, classes: Count, threshold: Share, unlabeled_weight: NonNegative,
             labeled_momentum: Decay, window: Count, ema_momentum: Decay, steps: Count) -> Objective:
  """FixMatch with aligned pseudo-labels, a threshold relative to the labeled confidence, and interpolated logits.

  arXiv:2106.04732v2, section 3, for the semi-supervised setting, where labeled and unlabeled images come from one
  distribution; constants and running means as in the authors' code. The labeled logits are drawn, entry by entry,
  between those of a pass with the unlabeled images and those of a pass without: they differ by batch statistics (and
  drop path) alone. Evaluation is by moving averages of the parameters and of the batch statistics, as in that code
  (google/objax, `ExponentialMovingAverageModule`; deviation: theirs start at 0, these as the network).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    threshold: tau in [0, 1]; 0.9 in the paper.
    unlabeled_weight: mu at its end: it grows on half a cosine until the middle of the run; 1 in the paper.
    labeled_momentum: of the mean labeled prediction; 0.999 in the authors' code.
    window: over how many batches the unlabeled predictions are averaged; 128 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
    steps: of the run.
  """
  weight = cosine(0., unlabeled_weight, max(1, steps // 2))

  def start(_):
    uniform = jnp.full((window, classes), 1 / classes, jnp.float32)
    return Memory(labeled=uniform[0], unlabeled=uniform)

  def means(memory, kept, step):
    """The running means with this batch, of its probabilities [b, k] and [u, k]."""
    return Memory(labeled=ema(memory.labeled, jnp.mean(kept['labeled'], 0), labeled_momentum),
                  unlabeled=enqueue(memory.unlabeled, jnp.mean(kept['weak'], 0, keepdims=True), step))

  def loss(student, memory, batch, key, step):
    path_key, joint_key, between_key = jax.random.split(key, 3)
    images = [batch['image'], batch['image_strong']]
    alone = jnp.stack(classify(student.at(student.params), images, path_key))  # [2, b, k], as `joint`
    *joint, weak, strong = classify(student, [*images, batch['weak'], batch['strong']], joint_key)
    joint = jnp.stack(joint)
    labeled, labeled_strong = joint + jax.random.uniform(between_key, alone.shape) * (alone - joint)
    p = {'labeled': jax.nn.softmax(labeled), 'weak': jax.nn.softmax(weak)}
    now = jax.lax.stop_gradient(means(memory, p, step))
    value, metrics = adamatch_loss(
      labeled, labeled_strong, label=batch['label'], weak=weak, strong=strong, threshold=threshold,
      labeled_average=now.labeled, unlabeled_average=jnp.mean(now.unlabeled, 0), unlabeled_weight=weight(step))
    return value, metrics | {'unlabeled_weight': weight(step)}, p

  return method(BATCH | {'image_strong': 'b h w c'}, classifier(backbone, classes), loss,
                ema=Average(ema_momentum, 'averaged'), encode='ema', predict=probabilities, memory=start,
                remember=means, couples_batch=True)


def adamatch_loss(labeled, labeled_strong, *, label, weak, strong, threshold, labeled_average, unlabeled_average,
                  unlabeled_weight):
  """Both views of the labeled, and FixMatch with aligned pseudo-labels and a threshold relative to the labeled ones.

  arXiv:2106.04732v2, section 3. As in the authors' code, the labeled losses of the two views are averaged (the paper:
  summed) and the pseudo-labels are hard.

  Args:
    labeled, labeled_strong, label: [b, k], [b, k] logits after the random interpolation, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: tau in [0, 1], a share of the mean confidence in the weakly augmented labeled examples.
    labeled_average, unlabeled_average: f32[k], running means of the probabilities of both weak views.
    unlabeled_weight: mu(t) >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio', 'relative_threshold'}.
  """
  losses.same_shape('adamatch', weak=weak.shape, strong=strong.shape)
  losses.same_shape('adamatch', labeled=labeled.shape, labeled_strong=labeled_strong.shape)
  relative = threshold * jnp.mean(probabilities_of(labeled).max(-1))
  aligned = losses.align(probabilities_of(weak), labeled_average, average=unlabeled_average)
  both, twice = jnp.concatenate([labeled, labeled_strong]), jnp.concatenate([label, label])
  value, metrics = weighted(both, twice, strong=strong, pseudo=aligned.argmax(-1), weight=aligned.max(-1) >= relative,
                            unlabeled_weight=unlabeled_weight)
  return value, metrics | {'relative_threshold': relative}
