"""Distillation of a teacher's probabilities, stored for each example, into a student (pseudo-label)."""
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import classifier, probabilities

PAPER = None  # the loss of three: noisy_student, simclr_v2, ssld


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
  apart = jensen_shannon if divergence == 'js' else distill_loss

  def loss(student, batch, key):
    logits = student.head(student.backbone(batch['image'], train=True, key=key))  # [b, k]
    weight = batch['weight'] if weighted else 1.
    value = jnp.mean(weight * apart(batch['probabilities'], logits, temperature=temperature))
    return value, {'agreement': jnp.mean(logits.argmax(-1) == batch['probabilities'].argmax(-1))}

  wanted = {'image': 'b h w c', 'probabilities': f'b {classes}'} | ({'weight': 'b'} if weighted else {})
  return method(wanted, classifier(backbone, classes), loss, predict=probabilities)


def distill_loss(probabilities, logits, *, temperature):
  """Cross-entropy of the student's probabilities with a teacher's, both at a temperature.

  arXiv:2006.10029v2, eq. 2 (there summed over the data set), P(y|x; tau) = exp(f[y] / tau) / sum exp(f[y'] / tau). The
  teacher's logits are not needed: its probabilities to the power 1 / tau are proportional to exp(f / tau).

  Args:
    probabilities: [..., k], the teacher's at temperature 1; no gradient.
    logits: [..., k], the student's.
    temperature: tau > 0, of both.
  Returns:
    f32[...], nats.
  Raises:
    ValueError: the shapes differ.
  """
  tiny = jnp.finfo(jnp.float32).tiny
  teacher = jnp.log(jnp.maximum(jax.lax.stop_gradient(probabilities).astype(jnp.float32), tiny))
  return losses.soft_cross_entropy(jax.nn.softmax(teacher / temperature), logits.astype(jnp.float32) / temperature)


def jensen_shannon(probabilities, logits, *, temperature):
  """Jensen-Shannon divergence of the student's probabilities from a teacher's, both at a temperature.

  arXiv:2103.05959 (SSLD; only the authors' documentation was seen, not the paper): KL(p | m) / 2 + KL(q | m) / 2 with
  m = (p + q) / 2, symmetric, 0 only where p = q. Deviation: what the authors' code calls by this name is
  (KL(p | q) + KL(q | p)) / 2, which has no bound.

  Args:
    probabilities: [..., k], the teacher's at temperature 1; no gradient.
    logits: [..., k], the student's.
    temperature: > 0, of both; 1 in the paper.
  Returns:
    f32[...] in [0, log 2], nats.
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('jensen_shannon', probabilities=probabilities.shape, logits=logits.shape)
  tiny = jnp.finfo(jnp.float32).tiny
  teacher = jnp.log(jnp.maximum(jax.lax.stop_gradient(probabilities).astype(jnp.float32), tiny))
  logp, logq = (jax.nn.log_softmax(x / temperature) for x in (teacher, logits.astype(jnp.float32)))
  logm = jnp.logaddexp(logp, logq) - jnp.log(2.)
  return jnp.sum(jnp.exp(logp) * (logp - logm) + jnp.exp(logq) * (logq - logm), -1) / 2
