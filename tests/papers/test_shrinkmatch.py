"""ShrinkMatch as a whole against its twin: arXiv:2308.06777v1, section 3, eq. 1 to 8; CIFAR/shrinkmatch.py.

Its loss and its space of classes against their twins, by hand, and as limits.
"""
import math
from functools import partial

import jax
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.shrinkmatch import shrinkmatch, shrinkmatch_loss, shrunk_space
from pretrain.objectives.uda import uda
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, normal, value_of
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, linear, log_softmax, mlp, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, WINDOW, THRESHOLD, SHARE, WEIGHT, MOMENTUM = 4, 8, 4, 2, 0.72, 0.7, 0.6, 0.8


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 3]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strong': rng.uniform(size=(U, 4, 4, 1))}


def memory(rng, memory):
  """What step 0 writes first, the first row of the window and the share, is not empty."""
  return memory | {'certain': 0.4, 'window': np.stack([rng.dirichlet(np.full(CLASSES, 5.)), np.zeros(CLASSES)])}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  images = np.concatenate([batch['image'], batch['weak'], batch['strong']])
  statistics = copied(memory['statistics'])
  h = Tiny(params['backbone'], statistics['backbone'])(images, True, noise)
  logits = linear(params['head']['linear'], h)
  labeled, strong = logits[:B], logits[B + U:]
  auxiliary = mlp(params['auxiliary'], statistics['auxiliary'], h[B + U:], True, leaky)
  weak = softmax(classifier(stopped, copied(memory['statistics']), images, True, noise)[B:B + U])
  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])

  window = np.array(memory['window'])
  window[step % WINDOW] = weak.mean(0)
  p = weak / (window[:step + 1].mean(0) + 1e-6)  # as `losses.align` says
  p /= p.sum(1, keepdims=True)

  consistency, shrunk, certain, reached = 0., 0., 0, 0
  for i in range(U):
    order = np.argsort(-p[i])
    first = order[0]
    if p[i, first] >= THRESHOLD:
      consistency -= p[i] @ log_softmax(strong[i]) / U
      certain += 1
      continue
    for removed in range(1, CLASSES - 1):  # at least one class goes, one other stays
      kept = [first, *order[1 + removed:]]
      if p[i, first] / p[i, kept].sum() >= THRESHOLD:
        shrunk -= p[i, first] * log_softmax(auxiliary[i, kept])[0] / U
        reached += 1
        break
  assert certain and reached and (step != 2 or reached < U - certain)
  share = certain / U if step == 0 else SHARE * memory['certain'] + (1 - SHARE) * certain / U
  shrunk *= share

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'window': window,
                    'certain': share}

  return supervised + WEIGHT * (consistency + shrunk), {
      'supervised': supervised, 'consistency': consistency, 'shrunk': shrunk, 'use_ratio': certain / U,
      'shrunk_ratio': reached / U, 'certain': share}, after


def leaky(x):
  return np.where(x < 0, 0.1 * x, x)


ALL = {'loss', 'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio', 'certain'}  # one pass
CASE = cases.Case(dict(classes=cases.CLASSES, hidden=(64,), threshold=0.26, momentum=0.9, window=2, unlabeled_weight=1.,
                       ema_momentum=0.9), cases.either(fixmatch_views(operations=0)), cases.streams)
TWIN = Twin(
    shrinkmatch(tiny(), classes=CLASSES, hidden=(8,), threshold=THRESHOLD, momentum=SHARE, window=WINDOW,
                unlabeled_weight=WEIGHT, ema_momentum=MOMENTUM), batch, twin, memory=memory, steps=(0, 1, 2, 3),
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': ALL, 'weak': ALL,
           'strong': ALL - {'use_ratio', 'shrunk_ratio', 'certain'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def space_twin(row, threshold):
  """The classes kept of one row of probabilities, and whether the first is then confident: arXiv:2308.06777v1 3.2.

  Removes the second most probable class, then the third, ..., while at least one class besides the first is left.
  """
  order = sorted(range(len(row)), key=lambda c: -float(row[c]))
  first, rest = order[0], order[1:]
  for gone in range(1, len(rest)):
    stay = rest[gone:]
    if float(row[first]) / (float(row[first]) + math.fsum(float(row[c]) for c in stay)) >= threshold:
      return sorted([first, *stay]), True
  return list(range(len(row))), False


def loss_twin(labeled, label, probabilities, strong, auxiliary, threshold, certain, unlabeled_weight):
  """L_x + weight (L_u + certain L_shrink), arXiv:2308.06777v1 section 3.

  Args:
    labeled, label: [b, k] logits, int [b].
    probabilities: [u, k] of the weak view, constants.
    strong, auxiliary: [u, k] logits.
    threshold, certain, unlabeled_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  u, consistency, shrunk, used, found = len(strong), 0.0, 0.0, 0, 0
  for p, strong_row, auxiliary_row in zip(probabilities, strong, auxiliary, strict=True):
    if max(p) >= threshold:
      used += 1
      consistency -= sum(float(q) * log for q, log in zip(p, slow.log_softmax(strong_row), strict=True)) / u
      continue
    kept, reached = space_twin(p, threshold)
    if reached:
      found += 1
      logs = slow.log_softmax([auxiliary_row[c] for c in kept])
      shrunk -= certain * float(max(p)) * logs[kept.index(int(np.argmax(p)))] / u
  terms = {'supervised': supervised, 'consistency': consistency, 'shrunk': shrunk, 'use_ratio': used / u,
           'shrunk_ratio': found / u}
  return supervised + unlabeled_weight * (consistency + shrunk), terms


jit_loss = jax.jit(shrinkmatch_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.soft(11, 2, 7, 4), normal(20, 7, 4), 0.8, 0.6, 2.0),
                                  (*few.soft(22, 3, 9, 6), normal(21, 9, 6), 0.9, 0.3, 0.5)],
            moving=(0, 3, 4), halves=(0, 3, 4),
            refused=[((few.LABELED, few.CLASSES, few.WEAK, few.WEAK, few.ONE, 0.9, 0.5, 1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_finite(lambda x, w, s: jit_loss(*x, probabilities=jax.nn.softmax(w), strong=s, auxiliary=s, threshold=0.9,
                                            certain=0.5, unlabeled_weight=1.0))


@pytest.mark.parametrize('k', [1, 2, 3, 4, 7])
def test_shrunk_space_is_the_smallest_removal_that_makes_the_first_confident(k):
  p = few.probabilities(k, 40, k, scale=1.5)
  kept, reached = jax.jit(shrunk_space)(p, 0.8)
  for row, got, certain in zip(p, kept, reached, strict=True):
    wanted, possible = space_twin(row, 0.8)
    assert sorted(np.flatnonzero(got)) == wanted and bool(certain) == possible
    assert got[np.argmax(row)]
  assert k < 3 or 0 < np.mean(reached) <= 1
  assert k != 2 or not np.any(reached)


def test_shrinkmatch_by_hand():
  p = np.array([[0.9, 0.06, 0.04, 0], [0.5, 0.35, 0.1, 0.05], [0.3, 0.3, 0.2, 0.2]], np.float32)
  strong, auxiliary = np.zeros((3, 4), np.float32), few.odds([1, 1, 1, 1], [1, 5, 2, 1], [1, 1, 1, 1])
  at = lambda auxiliary: jit_loss(np.zeros((1, 4), np.float32), np.array([1]), probabilities=p, strong=strong,
                                  auxiliary=auxiliary, threshold=0.75, certain=0.5, unlabeled_weight=2.0)
  loss, terms = at(auxiliary)
  # the second: without class 1 it is 0.5 / 0.65 = 0.77; 1 of 1 + 2 + 1. The third: 0.3 / 0.5 at most
  shrunk = 0.5 * 0.5 * math.log(4) / 3
  assert_close(terms['shrunk'], shrunk)
  assert_close([terms['use_ratio'], terms['shrunk_ratio']], [1 / 3, 1 / 3])
  assert_close(terms['consistency'], math.log(4) / 3)
  assert_close(loss, math.log(4) + 2 * (math.log(4) / 3 + shrunk))
  gradient = jax.grad(value_of(at))(auxiliary)
  assert_close(gradient, 2 * 0.25 / 3 * np.array([[0] * 4, [1 / 4 - 1, 0, 1 / 2, 1 / 4], [0] * 4]))
  assert gradient[1, 1] == 0, 'a removed class has a gradient'


def test_shrinkmatch_where_all_are_certain_is_fixmatch():
  labeled, label, weak, strong = few.step(37, 3, 9, 4)
  sure = 1e3 * weak
  of = partial(jit_loss, labeled, label, strong=strong, auxiliary=normal(38, 9, 4), unlabeled_weight=2.0)
  got, terms = of(probabilities=jax.nn.softmax(sure), threshold=0.95, certain=1.0)
  assert terms['shrunk'] == 0 and terms['use_ratio'] == 1
  assert_close(got, losses.fixmatch(labeled, label, weak=sure, strong=strong, threshold=0.95, unlabeled_weight=2.0)[0])
  _, terms = of(probabilities=jax.nn.softmax(weak), threshold=0.9, certain=0.0)
  assert terms['shrunk'] == 0 and terms['shrunk_ratio'] > 0  # nobody was certain so far: no weight


# --- The objective -------------------------------------------------------------------------------------------------

def test_shrinkmatch_without_rivals_to_remove_is_softly_labeled_fixmatch():
  """At threshold 0 every example is certain; what is left is UDA without sharpening, but for a constant."""
  made = shrinkmatch(few.BACKBONE, classes=few.K, hidden=(8,), threshold=0., momentum=0.9, window=0,
                     unlabeled_weight=1.5, ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  _, (carry, metrics) = made.loss(params, memory, few.images(0), few.KEY, 0)
  assert float(metrics['shrunk']) == 0 and float(metrics['use_ratio']) == 1 == float(carry['certain'])
  other = uda(few.BACKBONE, classes=few.K, threshold=0., temperature=1., unlabeled_weight=1.5, ema_momentum=0.9)
  got, wanted = (jax.grad(lambda p, f=f, m=m: f.loss(p, m, few.images(0), few.KEY, 0)[0])(p)['head'] for f, p, m in (
    (made, params, memory), (other, {n: params[n] for n in ('backbone', 'head')}, other.init(few.KEY)[1])))
  jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-4), got, wanted)


def test_its_threshold_and_its_average():
  few.check_threshold(shrinkmatch, hidden=(8,), momentum=0.9, window=2)
  few.check_average('shrinkmatch', CASE, 'shared')
