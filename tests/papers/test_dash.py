"""Dash as a whole against its twin: arXiv:2109.00650v1, eq. 9 to 11, algorithm 1; selection and targets as in dash.py.

Steps 0 to 2 are the warm-up, of which the last two are averaged; targets are soft until the threshold has fallen.
Below, its loss and its threshold against their twins, by hand, and as limits.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.dash import dash, dash_loss, dash_threshold
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, MOMENTUM, WEIGHT, TEMPERATURE = 4, 6, 3, 0.8, 0.7, 0.6
CONSTANT, BASE, LOWEST, EVERY, WARMUP, ESTIMATE = 1.1, 2.1, 0.4, 2, 3, 2


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strong': rng.uniform(size=(U, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  images = np.concatenate([batch['image'], batch['weak'], batch['strong']])
  statistics = copied(memory['statistics'])
  logits = classifier(params, statistics, images, True, noise)
  weak = classifier(stopped, copied(memory['statistics']), images, True, noise)[B:B + U]
  labeled, strong = logits[:B], logits[B + U:]
  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])
  falls = max(step - WARMUP, 0) // EVERY
  threshold = CONSTANT * BASE ** -falls * memory['start']
  hard, threshold = threshold <= LOWEST, max(threshold, LOWEST)
  used, consistency = 0, 0.
  for i in range(U):
    guess = np.argmax(weak[i])
    if -log_softmax(weak[i])[guess] <= threshold:
      target = np.eye(CLASSES)[guess] if hard else softmax(weak[i] / TEMPERATURE)
      consistency -= target @ log_softmax(strong[i]) / U
      used += 1
  assert step < 5 or 0 < used < U
  assert hard == (step in (0, 1, 8))

  def after(params):
    start = memory['start'] + (supervised / ESTIMATE if WARMUP - ESTIMATE <= step < WARMUP else 0.)
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'start': start}

  return supervised + (0. if step < WARMUP else WEIGHT) * consistency, {
      'supervised': supervised, 'consistency': consistency, 'threshold': threshold, 'use_ratio': used / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, constant=1.0001, base=1.27, lowest=0.05, every_steps=1, warmup_steps=1,
                       estimate_steps=1, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9),
                  fixmatch_views(operations=0), cases.streams)
TWIN = Twin(
    dash(tiny(), classes=CLASSES, constant=CONSTANT, base=BASE, lowest=LOWEST, every_steps=EVERY, warmup_steps=WARMUP,
         estimate_steps=ESTIMATE, temperature=TEMPERATURE, unlabeled_weight=WEIGHT, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.}, steps=(0, 1, 2, 3, 4, 5, 8),
    moves={'label': {'loss', 'supervised'}, 'strong': {'loss', 'supervised', 'consistency', 'use_ratio'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def threshold_twin(start, step, constant, base, lowest, every_steps):
  """C gamma^-(t - 1) rho^, t - 1 = 0, 1, ... one more every n steps, at least the lowest: arXiv:2109.00650v1 alg. 1."""
  threshold = constant * start
  for _ in range(every_steps, step + 1, every_steps):
    threshold /= base
  return max(threshold, lowest)


def loss_twin(labeled, label, weak, strong, threshold, temperature, hard, unlabeled_weight):
  """L_s + weight times the mean over all rows of the losses of those whose loss in the weak view is <= threshold.

  arXiv:2109.00650v1 section 3; the target is the pseudo-label or softmax(weak / temperature).

  Args:
    labeled, label: [b, k] logits, int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold, temperature, unlabeled_weight: floats.
    hard: bool.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  consistency, used = 0.0, 0
  for weak_row, strong_row in zip(weak, strong, strict=True):
    pseudo, logs = slow.largest(weak_row), slow.log_softmax(strong_row)
    if -slow.log_softmax(weak_row)[pseudo] > threshold:
      continue
    used += 1
    soft = slow.log_softmax(np.asarray(weak_row, np.float64) / temperature)
    for c in range(len(logs)):
      consistency -= (float(c == pseudo) if hard else math.exp(soft[c])) * logs[c] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': used / len(weak)}
  return supervised + unlabeled_weight * consistency, terms


jit_loss = jax.jit(dash_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(8, 2, 5, 3), 0.3, 0.5, False, 2.0),
                                  (*few.step(9, 3, 9, 4), 0.4, 0.5, True, 0.5)], moving=(0, 3), halves=(0, 3),
            refused=[((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.9, 0.5, True, 1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_finite(lambda x, w, s: jit_loss(*x, weak=w, strong=s, threshold=0.1, temperature=0.5, hard=False,
                                            unlabeled_weight=1.0))


def test_dash_threshold():
  at = lambda step, lowest=0.05: dash_threshold(2.0, jnp.int32(step), constant=1.0001, base=1.27, lowest=lowest,
                                                every_steps=9)
  assert_close([at(step) for step in (-5, 0, 8, 9, 18)], 1.0001 * 2 / 1.27 ** np.array([0, 0, 0, 1, 2]))
  assert_close([at(9 * 30), at(0, 3.0)], [0.05, 3.0])
  for step in (0, 8, 9, 40, 400):
    assert_close(at(step), threshold_twin(2.0, step, 1.0001, 1.27, 0.05, 9))


def test_dash_by_hand_and_its_limits():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = few.odds([9, 1], [3, 1]), few.odds([1, 3], [1, 9])  # losses 0.105 and 0.288
  of = partial(jit_loss, labeled, label, weak=weak, strong=strong, threshold=0.2, temperature=0.5, unlabeled_weight=3.0)
  loss, terms = of(hard=False)
  wanted = (81 / 82 * math.log(4) + 1 / 82 * math.log(4 / 3)) / 2
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  assert_close(of(hard=True)[1]['consistency'], math.log(4) / 2)
  labels, views = few.named(*few.step(36, 3, 9, 4))
  for threshold in (0.6, 0.9):  # hard targets: FixMatch with the probability of that loss
    got, terms = jit_loss(*labels, **views, threshold=-math.log(threshold), temperature=0.5, hard=True,
                          unlabeled_weight=2.0)
    wanted, wanted_terms = losses.fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert 0 < wanted_terms['use_ratio'] == terms['use_ratio'] < 1
  _, terms = jit_loss(*labels, **views, threshold=100., temperature=0.5, hard=False, unlabeled_weight=2.0)
  assert terms['use_ratio'] == 1


# --- The objective -------------------------------------------------------------------------------------------------

def test_dash_warms_up_on_labels_then_starts_from_their_loss():
  made = dash(few.BACKBONE, classes=few.K, constant=1.0001, base=2., lowest=0.05, every_steps=3, warmup_steps=4,
              estimate_steps=2, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  labeled, thresholds = [], []
  for at in range(12):
    loss, (carry, metrics) = made.loss(params, memory, few.images(at), few.KEY, at)
    assert (float(loss) == float(metrics['supervised'])) == (at < 4 or float(metrics['use_ratio']) == 0)
    _, memory = made.update(params, memory, carry, at)
    labeled.append(float(metrics['supervised']))
    thresholds.append(float(metrics['threshold']))
  start = (labeled[2] + labeled[3]) / 2
  assert_close(memory['start'], start)
  assert_close(thresholds[4:], 1.0001 * start / 2.0 ** (np.arange(8) // 3))


def test_an_estimate_longer_than_the_warm_up_is_refused():
  with pytest.raises(ValueError, match='estimate_steps <= warmup_steps'):
    dash(few.BACKBONE, classes=few.K, constant=1.0001, base=1.27, lowest=0.05, every_steps=2, warmup_steps=4,
         estimate_steps=9, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9)


def test_its_average():
  few.check_average('dash', CASE, 'shared')
