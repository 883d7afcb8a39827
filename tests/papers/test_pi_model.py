"""The Pi-model as a whole against its twin: arXiv:1610.02242v3, algorithm 1: both passes are differentiated.

Its loss against the twin, by hand, and as a limit.
"""
import math

import jax
import numpy as np

from pretrain.objectives.mean_teacher import mean_teacher_loss
from pretrain.objectives.pi_model import pi_model, pi_model_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss
from tests.reference import supervised as slow
from tests.reference.networks import averaged, classifier, log_softmax, of_average, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, RAMP, EMA = 7., 3, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (
      ('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch[key] for key in ('image', 'weak', 'image_strong', 'strong')])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(B + U):
    consistency += np.mean((softmax(made[i]) - softmax(made[B + U + i])) ** 2) / (B + U)
  weight = WEIGHT * np.exp(-5 * (1 - min(step / RAMP, 1)) ** 2)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + weight * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'unlabeled_weight': weight}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=10., ramp_steps=2, ema_momentum=0.9),
                  fixmatch_views(operations=0, cutout_share=0., labeled_strong=True), cases.streams)
TWIN = Twin(
    pi_model(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_steps=RAMP,
             ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(1, 2, 4), moves={'label': {'loss', 'supervised'}} | {
        key: {'loss', 'supervised', 'consistency'} for key in ('image', 'image_strong', 'weak', 'strong')})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, label, first, second, unlabeled_weight):
  """Cross-entropy + w(t) / (C |B|) sum |z - z~|^2, arXiv:1610.02242v3 algorithm 1.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    first, second: [n, k] logits; both move.
    unlabeled_weight: float, w(t).

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  total = 0.0
  for x, y in zip(first, second, strict=True):
    for p, q in zip(slow.log_softmax(x), slow.log_softmax(y), strict=True):
      total += (math.exp(p) - math.exp(q)) ** 2
  consistency = total / (len(first) * len(first[0]))
  supervised = slow.supervised_mean(labeled, label)
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}


jit_loss = jax.jit(pi_model_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(0, 2, 5, 3), 5.0)], moving=(0, 2, 3), halves=(0, 2, 3),
            refused=[((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_finite(lambda x, w, s: jit_loss(*x, first=w, second=s, unlabeled_weight=1.0))


def test_pi_model_by_hand_and_its_limit():
  first, second = few.odds([1, 1, 2, 4], [3, 1, 2, 4]), np.stack([np.zeros(4), few.odds([3, 1, 2, 4])[0] + 7])
  loss, terms = jit_loss(*few.EVEN, first=first, second=second, unlabeled_weight=16.0)
  wanted = ((1 / 8) ** 2 + (1 / 8) ** 2 + (1 / 4) ** 2) / 4 / 2  # the mean over classes and rows
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(4) + 16 * wanted)
  # Mean Teacher's loss, but with a gradient to both
  labeled, label, one, other = few.step(30, 3, 9, 4)
  here = lambda first, second: jit_loss(labeled, label, first=first, second=second, unlabeled_weight=2.0)[0]
  there = lambda first, second: mean_teacher_loss(labeled, label, student=first, teacher=second,
                                                  unlabeled_weight=2.0)[0]
  assert_close(here(one, other), there(one, other))
  both = jax.grad(here, (0, 1))(one, other)
  assert_close(both[0], jax.grad(there)(one, other))
  assert_close(both[1], jax.grad(here)(other, one))


# --- The objective -------------------------------------------------------------------------------------------------

def test_two_equal_views_are_consistent():
  same = few.images(0) | {'image_strong': few.images(0)['image'], 'strong': few.images(0)['weak']}
  made = pi_model(few.BACKBONE, classes=few.K, unlabeled_weight=5., ramp_steps=0, ema_momentum=0.)
  terms = lambda batch: made.loss(*made.init(few.KEY), batch, few.KEY, 9)[1][1]
  assert float(terms(same)['consistency']) == 0 < float(terms(few.images(0))['consistency'])


def test_its_average():
  few.check_average('pi_model', CASE, 'shared')
