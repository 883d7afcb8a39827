"""Pseudo-Label as a whole against its twin: Lee 2013, the overall loss (eq. 15) and alpha(t) (eq. 16).

Its loss against the twin, by hand, and in its limits.
"""
import math

import jax
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.pseudo_label import pseudo_label, pseudo_label_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, in_order
from tests.reference import supervised as slow
from tests.reference.networks import averaged, classifier, log_softmax, of_average
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, START, END, EMA = 0.7, 1, 4, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch['image'], batch['weak']])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  guessed = logits(stopped, memory, batch, noise)[0]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(B, B + U):
    consistency -= log_softmax(made[i])[guessed[i].argmax()] / U
  alpha = 0. if step < START else WEIGHT if step >= END else WEIGHT * (step - START) / (END - START)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + alpha * consistency, {'supervised': supervised, 'consistency': consistency,
                                            'unlabeled_weight': alpha}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=3., ramp_start_step=0, ramp_end_step=2,
                       ema_momentum=0.9), fixmatch_views(), cases.streams)
TWIN = Twin(
    pseudo_label(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_start_step=START,
                 ramp_end_step=END, ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(0, 2, 3, 5),
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'weak': {'loss', 'supervised', 'consistency'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, label, unlabeled, unlabeled_weight):
  """1/n sum L(y, f) + alpha(t) 1/n' sum L(y', f'), Lee 2013, 'pseudo-label' and overall loss.

  y' is the class of the largest output of the same f'; it is a constant. Lee's networks end in sigmoid units, whose L
  sums a binary cross-entropy over the classes; here L is the cross-entropy of the softmax.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    unlabeled: [u, k] logits.
    unlabeled_weight: float, alpha at this step.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  consistency = 0.0
  for row in unlabeled:
    consistency += -slow.log_softmax(row)[slow.largest(row)] / len(unlabeled)
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}


jit_loss = jax.jit(pseudo_label_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(0, 2, 5, 3)[:3], 1.5), (*few.step(1, 3, 9, 4)[:3], 0.3)], moving=(0, 2),
            refused=[((few.LABELED, few.CLASSES[:1], few.WEAK, 1.0), ['(2,)', '(1,)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(*x, unlabeled=w + s, unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)


def test_pseudo_label_by_hand():
  unlabeled = few.odds([1, 1, 2, 4], [6, 1, 1, 2])  # 1/2 for class 3, 6/10 for class 0
  loss, terms = jit_loss(*few.EVEN, unlabeled=unlabeled, unlabeled_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], (math.log(2) - math.log(0.6)) / 2)
  assert_close(loss, math.log(4) + 3 * (math.log(2) - math.log(0.6)) / 2)
  # the label is a constant, the logits are not: softmax - label; of equals the lowest class
  of = lambda x, weight: jit_loss(*few.EVEN, unlabeled=x, unlabeled_weight=weight)[0]
  gradient = jax.grad(of)(unlabeled, 3.0)
  assert_close(gradient, 1.5 * np.array([[1 / 8, 1 / 8, 1 / 4, -1 / 2], [-0.4, 0.1, 0.1, 0.2]]))
  gradient = jax.grad(of)(np.zeros((2, 4), np.float32), 2.0)
  assert_close(gradient, [[-3 / 4, 1 / 4, 1 / 4, 1 / 4]] * 2)


def test_pseudo_label_limits():
  labeled, label, unlabeled, _ = few.step(20, 3, 9, 4)
  # low density at the boundary: nothing to do
  sure = jit_loss(labeled, label, unlabeled=1e3 * unlabeled, unlabeled_weight=1.0)
  assert_close(sure[1]['consistency'], 0)
  even = jit_loss(labeled, label, unlabeled=1e-6 * unlabeled, unlabeled_weight=1.0)
  assert_close(even[1]['consistency'], math.log(4))
  # the same logits for both views and no threshold: FixMatch's value, but not its gradient alone
  both, _ = losses.fixmatch(labeled, label, weak=unlabeled, strong=unlabeled, threshold=0.0, unlabeled_weight=2.0)
  assert_close(jit_loss(labeled, label, unlabeled=unlabeled, unlabeled_weight=2.0)[0], both)


# --- The objective -------------------------------------------------------------------------------------------------


def test_its_weight_ramps_as_published():
  made = pseudo_label(few.BACKBONE, classes=few.K, unlabeled_weight=3., ramp_start_step=100, ramp_end_step=600,
                      ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  weight = lambda at: float(made.loss(params, memory, few.images(0), few.KEY, at)[1][1]['unlabeled_weight'])
  assert_close([weight(at) for at in (0, 100, 350, 600, 10_000)], [0, 0, 1.5, 3, 3])
  with pytest.raises(ValueError, match='ramp_start_step <= ramp_end_step, got 3 and 2'):
    pseudo_label(few.BACKBONE, classes=few.K, unlabeled_weight=1., ramp_start_step=3, ramp_end_step=2,
                 ema_momentum=0.9)


def test_its_average():
  few.check_average('pseudo_label', CASE, 'shared')
