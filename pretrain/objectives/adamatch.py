"""AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation (pseudo-label)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.method.objective import Objective, cosine, ema
from pretrain.method.queue import enqueue
from pretrain.method.semi_supervised import averaged, classifier, classify


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
  net = classifier(backbone, classes)
  weight = cosine(0., unlabeled_weight, max(1, steps // 2))

  def own():
    uniform = jnp.full((window, classes), 1 / classes, jnp.float32)
    return {'labeled': uniform[0], 'unlabeled': uniform}

  shared = averaged(net, lambda _: ema_momentum, 'averaged', own=own, couples_batch=True)

  def means(memory, labeled, weak, step):
    """The running means with this batch, of its probabilities [b, k] and [u, k]."""
    return {'labeled': ema(memory['labeled'], jnp.mean(labeled, 0), labeled_momentum),
            'unlabeled': enqueue(memory['unlabeled'], jnp.mean(weak, 0, keepdims=True), step)}

  def loss(params, memory, batch, key, step):
    path_key, joint_key, between_key = jax.random.split(key, 3)
    images = [batch['image'], batch['image_strong']]
    alone, _ = classify(net, params, memory['statistics'], images, path_key)
    (*joint, weak, strong), statistics = classify(net, params, memory['statistics'],
                                                  [*images, batch['weak'], batch['strong']], joint_key)
    share = jax.random.uniform(between_key, (2, *alone[0].shape))
    labeled, labeled_strong = jnp.stack(joint) + share * (jnp.stack(alone) - jnp.stack(joint))
    p = {'labeled': jax.nn.softmax(labeled), 'weak': jax.nn.softmax(weak)}
    now = jax.lax.stop_gradient(means(memory, **p, step=step))
    value, metrics = losses.adamatch(labeled, labeled_strong, batch['label'], weak, strong, threshold, now['labeled'],
                                     jnp.mean(now['unlabeled'], 0), weight(step))
    return value, (p | {'statistics': statistics}, metrics | {'unlabeled_weight': weight(step)})

  def update(params, memory, carry, step):
    now = means(memory, carry['labeled'], carry['weak'], step)
    return shared['update'](params, memory, now | {'statistics': carry['statistics']}, step)

  return Objective({'image': 'b h w c', 'image_strong': 'b h w c', 'label': 'b', 'weak': 'u h w c',
                    'strong': 'u h w c'}, loss=loss, **shared | {'update': update})
