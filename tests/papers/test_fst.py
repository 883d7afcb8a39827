"""FST as a whole against its twin: arXiv:2209.06993v2, section 3, FST-D and FST-W; the loss as in fst_d.py.

Its loss against the twin, by hand, and as a limit; its virtual steps.
"""
import math

import chex
import jax
import numpy as np
import pytest

from pretrain import losses
from pretrain.method.memory import ema
from pretrain.objectives.fst import fst, fst_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, combined, gradient, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, VIRTUAL, RATE, THRESHOLD, WEIGHT, MOMENTUM = 4, 6, 3, 2, 0.5, 0.6, 0.7, 0.6


def batch(rng):
  return {'image': rng.uniform(size=(B, 2, 2, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 2, 2, 1)), 'strong': rng.uniform(size=(U, 2, 2, 1))}


def learn(params, statistics, teacher, teacher_statistics, batch, noise):
  """The loss of the student, who is shown no weak view, with the teacher's labels, and its three parts."""
  weak = softmax(classifier(teacher, teacher_statistics, batch['weak'], True))
  logits = classifier(params, statistics, np.concatenate([batch['image'], batch['strong']]), True, noise)
  b, u = len(batch['image']), len(batch['weak'])
  sure = np.mean([row.max() >= THRESHOLD for row in weak])
  supervised = -sum(log_softmax(logits[i])[batch['label'][i]] for i in range(b)) / b
  consistency = -sum(sure * log_softmax(logits[b + i])[weak[i].argmax()] for i in range(u)) / u
  return supervised + WEIGHT * consistency, {'supervised': supervised, 'consistency': consistency, 'use_ratio': sure}


def twins(variant):
  def twin(params, stopped, memory, batch, draws, step):
    del step
    *virtual_noises, noise = [noise for _, noise in draws]

    def stepped(student, teacher, batch, noise):
      slopes = gradient(lambda p: learn(p, copied(memory['statistics']), teacher, copied(memory['teacher_statistics']),
                                        batch, noise)[0], student)
      return combined(lambda p, g: p - RATE * g, student, slopes)

    student, teacher = stopped, memory['teacher']
    if variant == 'deep':
      for virtual_noise in virtual_noises:
        student = stepped(student, teacher, batch, virtual_noise)
        teacher = averaged(teacher, student, MOMENTUM)
    else:
      students = [stepped(student, teacher, {k: x[n::VIRTUAL] for k, x in batch.items()}, virtual_noise)
                  for n, virtual_noise in enumerate(virtual_noises)]
      teacher = averaged(teacher, combined(lambda one, other: (one + other) / 2, *students), MOMENTUM)
    statistics, own = copied(memory['statistics']), copied(memory['teacher_statistics'])
    loss, metrics = learn(params, statistics, teacher, own, batch, noise)
    assert 0 < metrics['use_ratio'] < 1

    def after(params):
      return params, {'statistics': statistics, 'teacher_statistics': own, 'teacher': teacher}

    return loss, metrics, after

  return twin


ALL = {'loss', 'supervised', 'consistency', 'use_ratio'}
CASES = {variant: Twin(
    fst(tiny(pixels=4, width=4, hidden=5), classes=CLASSES, variant=variant, virtual=VIRTUAL, rate=RATE,
        threshold=THRESHOLD, unlabeled_weight=WEIGHT, momentum=MOMENTUM), batch, twins(variant),
    encode=lambda _, memory, x: Tiny(memory['teacher']['backbone'], memory['teacher_statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['teacher'], memory['teacher_statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 2, 2, 1)), grown={'head/linear/kernel': 60.}, steps=(0, 1),
    moves={'label': ALL, 'weak': ALL - {'supervised'}, 'strong': ALL, 'image': ALL}) for variant in ('deep', 'wide')}
CASE = cases.Case(dict(classes=cases.CLASSES, variant='wide', virtual=2, rate=0.1, threshold=0.26, unlabeled_weight=1.,
                       momentum=0.9), cases.either(fixmatch_views(operations=0)), cases.streams)
TWIN = CASES['wide']


@pytest.mark.parametrize('variant', CASES)
def test_its_twin(variant):
  check(CASES[variant])


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, label, teacher, strong, threshold, unlabeled_weight):
  """Cross-entropy + weight times the confident share times the mean cross-entropy, arXiv:2209.06993v2 section 3.

  The share is the authors' code's (of pixels there, of images here).

  Args:
    labeled, label: [b, k] logits, int [b].
    teacher, strong: [u, k] logits; the teacher's are constants.
    threshold, unlabeled_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  total, used = 0.0, 0
  for teacher_row, strong_row in zip(teacher, strong, strict=True):
    pseudo = slow.largest(teacher_row)
    used += math.exp(slow.log_softmax(teacher_row)[pseudo]) >= threshold
    total -= slow.log_softmax(strong_row)[pseudo] / len(teacher)
  share = used / len(teacher)
  terms = {'supervised': supervised, 'consistency': share * total, 'use_ratio': share}
  return supervised + unlabeled_weight * share * total, terms


jit_loss = jax.jit(fst_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(12, 2, 5, 3), 0.85, 2.0)], moving=(0, 3), halves=(0, 3),
            refused=[((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.9, 1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_finite(lambda x, w, s: jit_loss(*x, teacher=w, strong=s, threshold=0.9, unlabeled_weight=1.0))


def test_fst_by_hand_and_its_limit():
  teacher, strong = few.odds([9, 1], [3, 2]), few.odds([1, 3], [1, 1])
  loss, terms = jit_loss(np.zeros((1, 2), np.float32), np.array([1]), teacher=teacher, strong=strong, threshold=0.8,
                         unlabeled_weight=3.0)
  wanted = (math.log(4) + math.log(2)) / 2 / 2  # all, times the share of one half
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  labels, views = few.named(*few.step(39, 3, 9, 4))
  value, _ = jit_loss(*labels, teacher=views['weak'], strong=views['strong'], threshold=0.0, unlabeled_weight=2.0)
  assert_close(value, losses.fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=2.0)[0])


# --- The objective -------------------------------------------------------------------------------------------------

def fst_of(**changes):
  return fst(few.BACKBONE, **dict(classes=few.K, variant='deep', virtual=1, rate=0.1, threshold=0.35,
                                  unlabeled_weight=1., momentum=0.7) | changes)


def test_fst_without_virtual_steps_is_a_mean_teacher_that_is_updated_first():
  made = fst_of(rate=0.)
  params, memory = few.after(fst_of(), 2)
  teacher = ema(memory['teacher'], params, 0.7)
  _, (carry, metrics) = made.loss(params, memory, few.images(1), few.KEY, 2)
  chex.assert_trees_all_equal(carry['teacher'], teacher)
  moved = jax.tree.map(lambda p: p + 1, params)
  after, new = made.update(moved, memory, carry, 2)
  chex.assert_trees_all_equal(after, moved)
  chex.assert_trees_all_equal(new['teacher'], teacher)  # and it waits for the next step to follow
  z = [few.logits_of(p, few.images(1)[name]) for p, name in ((params, 'image'), (teacher, 'weak'), (params, 'strong'))]
  _, wanted = fst_loss(z[0], few.images(1)['label'], teacher=z[1], strong=z[2], threshold=0.35, unlabeled_weight=1.)
  assert_close(metrics['consistency'], wanted['consistency'])


def test_fst_looks_deep_by_steps_and_wide_by_students():
  params, memory = few.after(fst_of(), 2)
  images = few.images(1)

  def loss(student, teacher, images):
    z = [few.logits_of(p, images[name]) for p, name in ((student, 'image'), (teacher, 'weak'), (student, 'strong'))]
    return fst_loss(z[0], images['label'], teacher=z[1], strong=z[2], threshold=0.35, unlabeled_weight=1.)[0]

  def step(student, teacher, images):
    return jax.tree.map(lambda p, g: p - 0.1 * g, student, jax.grad(loss)(student, teacher, images))

  student, teacher = params, memory['teacher']
  for _ in range(2):
    student = step(student, teacher, images)
    teacher = ema(teacher, student, 0.7)
  carried = lambda **kwargs: fst_of(**kwargs).loss(params, memory, images, few.KEY, 2)[1][0]['teacher']
  close = lambda a, b: jax.tree.map(lambda x, y: assert_close(x, y, atol=1e-6), a, b)
  close(carried(virtual=2), teacher)
  parts = [step(params, memory['teacher'], jax.tree.map(lambda x, i=i: x[i::2], images)) for i in range(2)]
  close(carried(variant='wide', virtual=2),
        ema(memory['teacher'], jax.tree.map(lambda a, b: (a + b) / 2, *parts), 0.7))
  close(carried(variant='wide'), carried())
  with pytest.raises(ValueError, match='virtual=3 to divide the batch, got 4'):
    carried(variant='wide', virtual=3)


def test_its_average():
  few.check_average('fst', CASE, 'own')
