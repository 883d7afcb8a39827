"""FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling (pseudo-label)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.method.memory import Average, write_rows
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling',
             arxiv='2110.08263v3', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  selected: Any  # i32[n], the class of each example, -1 at first


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
  def loss(student, memory, batch, key):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    thresholds = thresholds_of(memory.selected, classes, threshold=threshold)
    value, metrics = flexmatch_loss(labeled, batch['label'], weak=weak, strong=strong, thresholds=thresholds,
                                    unlabeled_weight=unlabeled_weight)
    pseudo, confident = losses.confident(weak, threshold)
    rows = jnp.where(confident, batch['index'], examples)  # a place that no example has
    return value, metrics | {'mean_threshold': jnp.mean(thresholds)}, {'rows': rows, 'pseudo': pseudo}

  return method(BATCH | {'index': 'u'}, classifier(backbone, classes), loss, ema=Average(ema_momentum), encode='ema',
                predict=probabilities, memory=lambda _: Memory(jnp.full(examples, -1, jnp.int32)),
                remember=lambda memory, kept, _: Memory(write_rows(memory.selected, kept['rows'], kept['pseudo'])),
                couples_batch=True)


def flexmatch_loss(labeled, label, *, weak, strong, thresholds, unlabeled_weight):
  """FixMatch with a threshold for each class, f32[k], that of the pseudo-label: arXiv:2110.08263v3, section 3.1.

  Args, returns and errors as `losses.fixmatch`. Deviation: >= the threshold as in the authors' code, where the paper
  has >.
  """
  losses.same_shape('flexmatch', weak=weak.shape, strong=strong.shape)
  losses.same_shape('flexmatch', thresholds=jnp.shape(thresholds), classes=weak.shape[-1:])
  pseudo, _ = losses.confident(weak, 0.)
  return losses.fixmatch(labeled, label, weak=weak, strong=strong, threshold=thresholds[pseudo],
                         unlabeled_weight=unlabeled_weight)


def thresholds_of(selected, classes, *, threshold):
  """A lower threshold for classes that fewer examples were confidently labeled with.

  arXiv:2110.08263v3, section 3: the learning effect sigma, its share beta with the threshold warm-up, and the convex
  mapping x / (2 - x).

  Args:
    selected: int[n], for each unlabeled example the class it was last confidently labeled with, or -1.
    classes: k.
    threshold: tau in [0, 1], of a class learned as well as the best.
  Returns:
    f32[k]; 0 while nothing is selected.
  """
  sigma = jnp.bincount(selected + 1, length=classes + 1)[1:]  # [k]
  beta = sigma / jnp.maximum(jnp.max(sigma), len(selected) - jnp.sum(sigma))
  return threshold * beta / (2 - beta)
