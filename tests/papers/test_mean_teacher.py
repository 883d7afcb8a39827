"""Mean Teacher as a whole against its twin: arXiv:1703.01780v6, section 2; CuriousAI/mean-teacher, pytorch/main.py.

Its loss against the twin, by hand, and in its limits.
"""
import math

import chex
import jax
import numpy as np

from pretrain.objectives.mean_teacher import mean_teacher, mean_teacher_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, in_order
from tests.reference import supervised as slow
from tests.reference.networks import averaged, classifier, log_softmax, of_average, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, RAMP, MOMENTUM_START, MOMENTUM = 7., 2, 0.6, 0.7


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch['image'], batch['strong']])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  teacher_statistics = copied(memory['teacher_statistics'])
  images = np.concatenate([batch['image'], batch['weak']])
  targets = softmax(classifier(memory['teacher'], teacher_statistics, images, True))[B:]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(U):
    consistency += np.mean((softmax(made[B + i]) - targets[i]) ** 2) / U
  weight = WEIGHT * np.exp(-5 * (1 - min(step / RAMP, 1)) ** 2)

  def after(params):
    alpha = MOMENTUM_START if step < RAMP else MOMENTUM
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics,
                    'teacher': averaged(memory['teacher'], params, alpha)}

  return supervised + weight * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'unlabeled_weight': weight}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=10., ramp_steps=2, momentum_start=0.8, momentum=0.9),
                  fixmatch_views(operations=0, cutout_share=0.), cases.streams)
TWIN = Twin(
    mean_teacher(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_steps=RAMP,
                 momentum_start=MOMENTUM_START, momentum=MOMENTUM), batch, twin,
    **of_average('teacher_statistics', 'teacher'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(0, 1, 2, 3),
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'strong': {'loss', 'supervised', 'consistency'}, 'weak': {'loss', 'consistency'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, label, student, teacher, unlabeled_weight):
  """Classification cost + weight times J, arXiv:1703.01780v6 section 2.

  J is the expected squared distance between the softmax of teacher and of student; the authors' code
  (softmax_mse_loss) divides it by the number of classes.

  Args:
    labeled: [b, k] logits of the student.
    label: int [b].
    student, teacher: [u, k] logits of the same images; the teacher's are constants.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  total, count = 0.0, 0
  for student_row, teacher_row in zip(student, teacher, strict=True):
    for s, t in zip(slow.log_softmax(student_row), slow.log_softmax(teacher_row), strict=True):
      total += (math.exp(s) - math.exp(t)) ** 2
      count += 1
  consistency = total / count
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}


jit_loss = jax.jit(mean_teacher_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(2, 2, 5, 3), 5.0), (*few.step(3, 3, 9, 4), 20.0)], moving=(0, 2),
            refused=[((few.LABELED, few.CLASSES[:1], few.WEAK, few.WEAK, 1.0), ['(2,)', '(1,)']),
                     ((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 1.0), ['(4, 3)', '(1, 3)']),
                     ((few.LABELED, few.CLASSES, few.WEAK, few.WEAK[:, :1], 1.0), ['(4, 3)', '(4, 1)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(*x, student=s, teacher=w, unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)
  large = (*few.large(), 1.0)
  assert_close(in_order(jit_loss)(*large)[0], loss_twin(*large)[0])


def test_mean_teacher_by_hand():
  student = few.odds([1, 1, 2, 4], [3, 1, 2, 4])
  teacher = np.stack([np.zeros(4), student[1] + 7])  # 1/4 each; the same as the student
  loss, terms = jit_loss(*few.EVEN, student=student, teacher=teacher, unlabeled_weight=16.0)
  wanted = ((1 / 8) ** 2 + (1 / 8) ** 2 + (1 / 4) ** 2) / 4 / 2  # the mean over classes and rows
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(4) + 16 * wanted)


def test_mean_teacher_limits():
  labeled, label, student, teacher = few.step(21, 3, 9, 4)
  of = lambda student, teacher: jit_loss(labeled, label, student=student, teacher=teacher, unlabeled_weight=1.0)
  assert_close(of(student, student)[1]['consistency'], 0, atol=0)
  assert_close(of(teacher, student)[0], of(student, teacher)[0])  # but for the gradient
  one = 1e3 * np.eye(4, dtype=np.float32)[np.arange(9) % 4]
  other = np.roll(one, 1, axis=1)
  assert_close(of(one, other)[1]['consistency'], 2 / 4)  # as far as can be


# --- The objective -------------------------------------------------------------------------------------------------

def test_mean_teacher_with_momentum_zero_is_the_students_own_prediction():
  made = mean_teacher(few.BACKBONE, classes=few.K, unlabeled_weight=5., ramp_steps=0, momentum_start=0., momentum=0.)
  params, memory = few.after(made, 3)
  jax.tree.map(lambda teacher, student: assert_close(teacher, student, atol=1e-7), memory['teacher'], params)
  memory |= {'teacher': params}
  _, (_, metrics) = made.loss(params, memory, few.images(0) | {'strong': few.images(0)['weak']}, few.KEY, 5)
  assert float(metrics['consistency']) == 0
  _, (_, other) = made.loss(params, memory, few.images(0), few.KEY, 5)
  assert float(other['consistency']) > 0
  weak = few.images(0)['weak']
  chex.assert_trees_all_equal(made.predict(params, memory, weak), jax.nn.softmax(few.logits_of(params, weak)))


def test_its_weight_ramps_as_published():
  made = mean_teacher(few.BACKBONE, classes=few.K, unlabeled_weight=8., ramp_steps=40, momentum_start=0.99,
                      momentum=0.999)
  params, memory = made.init(few.KEY)
  weight = lambda at: float(made.loss(params, memory, few.images(0), few.KEY, at)[1][1]['unlabeled_weight'])
  assert_close([weight(at) for at in (0, 20, 40, 99)], [8 * np.exp(-5), 8 * np.exp(-1.25), 8, 8])


def test_its_average():
  few.check_average('mean_teacher', CASE, 'own', momentum_start=0.9)
