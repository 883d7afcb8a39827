"""Distillation of a teacher's probabilities, stored for each example, into a student (pseudo-label)."""
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, plain
from pretrain.method.semi_supervised import classifier


def distill(backbone: Callable, *, classes: Count, temperature: Positive, weighted: bool = False,
            divergence: Literal['cross_entropy', 'js'] = 'cross_entropy') -> Objective:
  """A classifier learns the probabilities that a teacher gave; no label is used.

  arXiv:2006.10029v2, section 2 and eq. 2, with alpha = 1; at temperature 1 also the soft pseudo labels of Noisy Student
  (arXiv:1911.04252v4, algorithm 1). Deviation: the teacher saw the unaugmented image once (`python -m pretrain label`),
  not the student's view; a source `pseudo_labeled` with soft=True brings its probabilities.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    temperature: tau > 0, of teacher and student.
    weighted: batches hold the examples' weights; the loss is the mean of weight times divergence.
    divergence: 'js' is the Jensen-Shannon divergence of arXiv:2103.05959 (SSLD), there at temperature 1.
  """
  apart = losses.jensen_shannon if divergence == 'js' else losses.distill
  net = classifier(backbone, classes)

  def loss(params, memory, batch, key, step):
    del step
    logits, statistics = net.apply(params, memory['statistics'], lambda m: m.head(
        m.backbone(batch['image'], train=True, key=key)))
    weight = batch['weight'] if weighted else 1.
    value = jnp.mean(weight * apart(batch['probabilities'], logits, temperature))
    agreement = jnp.mean(logits.argmax(-1) == batch['probabilities'].argmax(-1))
    return value, ({'statistics': statistics}, {'agreement': agreement})

  def predict(params, memory, images):
    return jax.nn.softmax(net.apply(params, memory['statistics'], lambda m: m.head(m.backbone(images)))[0])

  wanted = {'image': 'b h w c', 'probabilities': f'b {classes}'} | ({'weight': 'b'} if weighted else {})
  return Objective(wanted, loss=loss, predict=predict, **plain(net))
