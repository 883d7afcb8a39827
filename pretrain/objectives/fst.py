"""FST: Learning from Future, A Novel Self-Training Framework for Semantic Segmentation (pseudo-label)."""
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.losses.semi_supervised import total
from pretrain.method.memory import Average, ema
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Learning from Future: A Novel Self-Training Framework for Semantic Segmentation',
             arxiv='2209.06993v2', family='pseudo-labels', modality='image')


def fst(backbone: Callable, *, classes: Count, variant: Literal['deep', 'wide'], virtual: Count, rate: NonNegative,
        threshold: Share, unlabeled_weight: NonNegative, momentum: Decay) -> Objective:
  """The student takes virtual steps, the teacher follows them, and only then labels the images of the real step.

  arXiv:2209.06993v2, section 3: FST-D looks several steps ahead, FST-W averages students that take one step on
  different images. Here for images with one class; the paper's are of segmentation. The virtual steps are of plain
  gradient descent at a constant rate (the authors' code: of the run's optimizer) and leave no trace but in the teacher;
  all see one strong view (theirs: another one each); a wide student has a part of the batch (theirs: a batch of its
  own); the teacher follows the virtual students alone (theirs also the real one, once a step); the momentum is the same
  from the start (theirs grows as 1 - 1 / (step + 1) up to it); labeled and strong images pass together, and images are
  not mixed (theirs: ClassMix). The teacher has the batch statistics of its own passes, as in that code (usr922/FST,
  mmseg/models/uda/fst_d.py: `_update_ema` moves the parameters alone), but for those of the virtual steps.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    variant: 'deep' (FST-D) or 'wide' (FST-W).
    virtual: K steps ahead, or N students; N divides the batches; 3 in the authors' settings.
    rate: learning rate of the virtual steps.
    threshold: in [0, 1], of the confidence that weights the pseudo-labels; 0.968 in the authors' settings.
    unlabeled_weight: 1 in the authors' code.
    momentum: mu of the teacher, which encode and predict use; 0.999 in the authors' settings.
  Raises:
    ValueError: when traced, students that do not divide the batch.
  """
  def study(student, teacher, batch, key):
    weak, = classify(teacher, [batch['weak']])
    labeled, strong = classify(student, [batch['image'], batch['strong']], key)
    return fst_loss(labeled, batch['label'], teacher=weak, strong=strong, threshold=threshold,
                    unlabeled_weight=unlabeled_weight)

  def loss(student, teacher, batch, key):
    def ahead(p, q, batch, key):
      """A virtual student's step from parameters p, with the labels of a teacher q."""
      slopes, _ = jax.grad(lambda p: study(student.at(p), teacher.at(q), batch, key), has_aux=True)(p)
      return jax.tree.map(lambda p, g: p - rate * g, p, slopes)

    key, *keys = jax.random.split(key, virtual + 1)
    p, q = jax.lax.stop_gradient(student.params), teacher.params
    if variant == 'deep':
      for k in keys:  # no scan: on CPUs three steps took 3.5 times as long in a loop
        p = ahead(p, q, batch, k)
        q = ema(q, p, momentum)
    else:
      students = [ahead(p, q, part, k) for part, k in zip(shares(batch, virtual), keys, strict=True)]
      q = ema(q, jax.tree.map(lambda *x: sum(x) / virtual, *students), momentum)
    future = teacher.at(q)
    value, metrics = study(student, future, batch, key)
    return value, metrics, {'teacher': q, 'teacher_statistics': future.moved}

  return method(BATCH, classifier(backbone, classes), loss, teacher=Average(momentum, 'own'), encode='teacher',
                predict=probabilities, couples_batch=True)


def fst_loss(labeled, label, *, teacher, strong, threshold, unlabeled_weight):
  """Cross-entropy of all strong views with the teacher's classes, times the share that the teacher is confident of.

  The loss of the student in arXiv:2209.06993v2, section 3, with the weight of the authors' code, of images instead of
  pixels.

  Args:
    labeled, label: [b, k] logits of the student, int[b].
    teacher, strong: [u, k] logits of the weak view by the teacher, of the strong one by the student.
    threshold: in [0, 1].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  losses.same_shape('fst', teacher=teacher.shape, strong=strong.shape)
  pseudo, use = losses.confident(teacher, threshold)
  share = jnp.mean(use.astype(jnp.float32))
  return total(labeled, label, consistency=share * jnp.mean(losses.cross_entropy(strong, pseudo)),
               unlabeled_weight=unlabeled_weight, use_ratio=share)


def shares(batch, n: int) -> list[dict]:
  """n batches, of every n-th row; raises ValueError unless n divides each of them."""
  for name, x in batch.items():
    if len(x) % n:
      raise ValueError(f"fst wants virtual={n} to divide the batch, got {len(x)} of {name!r}")
  return [{name: x.reshape(-1, n, *x.shape[1:])[:, i] for name, x in batch.items()} for i in range(n)]
