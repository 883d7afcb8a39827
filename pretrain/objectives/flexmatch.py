"""FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling (pseudo-label)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.method.objective import Objective
from pretrain.method.per_example import remember
from pretrain.method.semi_supervised import averaged, classifier, classify


def flexmatch(backbone: Callable, *, classes: Count, threshold: Share, unlabeled_weight: NonNegative,
              ema_momentum: Decay, examples: Count) -> Objective:
  """FixMatch with a threshold for each class, lower while few examples are confidently labeled with it.

  arXiv:2110.08263v3, algorithm 1. Memory holds a class for each example of the unlabeled source, -1 at first.
  Thresholds are those before this batch ('mean_threshold' is their mean over the classes); until an example is
  confident they are 0, and all are used, as in the authors' code. So is the evaluation: with the batch statistics of
  training (TorchSSL/TorchSSL, train_utils.py, and microsoft/Semi-supervised-learning, semilearn/core/utils/misc.py:
  `EMA`).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    threshold: tau in [0, 1]; 0.95 in the paper.
    unlabeled_weight: lambda; 1 in the paper.
    ema_momentum: of the average that encode and predict use; 0.999 in the paper.
    examples: in the unlabeled source.
  """
  net = classifier(backbone, classes)
  shared = averaged(net, lambda _: ema_momentum, 'shared', couples_batch=True,
                    own=lambda: {'selected': jnp.full(examples, -1, jnp.int32)})

  def loss(params, memory, batch, key, step):
    del step
    (labeled, weak, strong), statistics = classify(net, params, memory['statistics'],
                                                   [batch['image'], batch['weak'], batch['strong']], key)
    thresholds = losses.flexmatch_thresholds(memory['selected'], classes, threshold)
    value, metrics = losses.flexmatch(labeled, batch['label'], weak, strong, thresholds, unlabeled_weight)
    pseudo, confident = losses.confident(weak, threshold)
    rows = jnp.where(confident, batch['index'], examples)  # a place that no example has
    carry = {'statistics': statistics, 'rows': rows, 'pseudo': pseudo}
    return value, (carry, metrics | {'mean_threshold': jnp.mean(thresholds)})

  def update(params, memory, carry, step):
    selected = remember(memory['selected'], carry['rows'], carry['pseudo'])
    return shared['update'](params, memory, {'statistics': carry['statistics'], 'selected': selected}, step)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c', 'index': 'u'}, loss=loss,
                   **shared | {'update': update})
