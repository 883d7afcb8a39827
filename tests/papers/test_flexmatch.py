"""FlexMatch as a whole against its twin: arXiv:2110.08263v3, algorithm 1, eq. 5 to 9;
microsoft/Semi-supervised-learning, semilearn/algorithms/flexmatch/utils.py. Rows 1
and 2 of each batch are the same example, and so are rows 4 and 5: the last that is sure stays.

Its loss and its thresholds against their twins, by hand, and as limits; what it remembers of each example.
"""
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.method.semi_supervised import classifier
from pretrain.models.functional import functional
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.flexmatch import flexmatch, flexmatch_loss, thresholds_of
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, in_order
from tests.reference import supervised as slow
from tests.reference.flexmatch import masked_cross_entropy
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
EXAMPLES, THRESHOLD, WEIGHT, EMA = 10, 0.7, 0.7, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B), 'index': rng.permutation(EXAMPLES)[[0, 1, 1, 2, 3, 3]]}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  counts, unused = [0] * K, 0
  for status in memory['selected']:
    if status == -1:
      unused += 1
    else:
      counts[status] += 1
  assert (unused > max(counts)) == (step == 0), 'both cases of eq. 9 come'
  thresholds = []
  for c in range(K):
    beta = counts[c] / max(*counts, unused)
    thresholds.append(beta / (2 - beta) * THRESHOLD)
  used, sure, selected = [], [], memory['selected'].copy()
  for i in range(U):
    q = softmax(weak[i])
    used.append(q.max() >= thresholds[q.argmax()])
    if used[-1]:
      consistency -= log_softmax(made[B + U + i])[q.argmax()] / U
    sure.append(q.max() >= THRESHOLD)
    if sure[-1]:
      selected[batch['index'][i]] = q.argmax()
  assert step == 0 or sum(used) < U, used
  assert (sure[1], sure[2]) == ((False, True), (True, False), (True, True))[step], 'who is sure of the same example'

  def after(params):
    return params, {'statistics': statistics, 'selected': selected, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency, {
      'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(used) / U,
      'mean_threshold': sum(thresholds) / K}, after


CASE = cases.Case(dict(classes=cases.CLASSES, threshold=0.3, unlabeled_weight=1., ema_momentum=0.9),
                  cases.either(fixmatch_views()), cases.streams)
TWIN = Twin(
    flexmatch(tiny(width=5, hidden=9), classes=K, threshold=THRESHOLD, unlabeled_weight=WEIGHT,
              ema_momentum=EMA, examples=EXAMPLES), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    memory=lambda _, memory: memory | {'selected': np.array([-1, 1, -1, 0, 1, 2, -1, 1, -1, -1])},
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'}, 'index': set(),
           'strong': {'loss', 'supervised', 'consistency'}, 'weak': {'loss', 'supervised', 'consistency'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def thresholds_twin(selected, classes, threshold):
  """One threshold a class, arXiv:2110.08263v3 sections 3.1 to 3.3.

  sigma(c): how many examples were last confident of class c (3.1). beta(c) = sigma(c) / max(max sigma, N - sum sigma):
  examples never confident are one more class (3.2). T(c) = M(beta(c)) threshold, M(x) = x / (2 - x) (3.3).

  Args:
    selected: int [n], the class, or -1.
    classes: int, k.
    threshold: float, tau.

  Returns:
    float64 [k].
  """
  sigma = [0] * classes
  for c in selected:
    if c >= 0:
      sigma[int(c)] += 1
  unused = len(selected) - sum(sigma)
  result = []
  for c in range(classes):
    beta = sigma[c] / max(max(sigma), unused)
    result.append(threshold * beta / (2 - beta))
  return np.array(result)


def loss_twin(labeled, label, weak, strong, thresholds, unlabeled_weight):
  """L_s + unlabeled_weight L_u, arXiv:2110.08263v3 section 3.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    thresholds: [k].
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  consistency, use = masked_cross_entropy(weak, strong, thresholds)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(use) / len(use)}
  return supervised + unlabeled_weight * consistency, terms


jit_loss, thresholds_by = jax.jit(flexmatch_loss), jax.jit(thresholds_of, static_argnames='classes')
LOSS = Loss(jit_loss, loss_twin, [(*few.step(6, 2, 5, 3), np.array([0.95, 0.5, 0.7], np.float32), 2.0),
                                  (*few.step(7, 3, 9, 4), 0.9 * few.distribution(7, 4) + 0.4, 0.5)],
            moving=(0, 3), halves=(0, 2, 3), refused=[
                ((few.LABELED, few.CLASSES, few.WEAK, few.ONE, few.THREE, 1.0), ['(4, 3)', '(1, 3)']),
                ((few.LABELED, few.CLASSES, few.WEAK[:, :2], few.WEAK, few.THREE, 1.0), ['(4, 2)', '(4, 3)']),
                # one threshold for each class, not for all, as in FixMatch
                ((few.LABELED, few.CLASSES, few.WEAK, few.WEAK, few.THREE[:2], 1.0), ['(2,)', '(3,)']),
                ((few.LABELED, few.CLASSES, few.WEAK, few.WEAK, 0.9, 1.0), ['()', '(3,)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(*x, weak=w, strong=s, thresholds=jnp.full(w.shape[1], 0.9), unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)


@pytest.mark.parametrize(('n', 'k', 'low', 'threshold'), [(7, 3, -1, 0.95), (30, 5, -1, 0.8), (20, 4, 0, 1.0)])
def test_flexmatch_thresholds_equal_twin(n, k, low, threshold):
  selected = np.random.default_rng(n).integers(low, k, n, np.int32)
  selected[: n // 3 * -low] = -1
  result = thresholds_by(selected, k, threshold=threshold)
  assert result.shape == (k,) and result.dtype == jnp.float32
  wanted = thresholds_twin(selected, k, threshold)
  assert len(set(wanted)) > 1
  assert_close(result, wanted)
  assert_close(thresholds_by(selected[::-1], k, threshold=threshold), wanted)


def test_flexmatch_thresholds_by_hand():
  def of(*selected):
    return thresholds_by(np.array(selected), 3, threshold=0.9)

  assert_close(of(0, 0, 0, 0, 1, 1, -1, -1, -1, -1), [0.9, 0.9 / 3, 0])  # beta 1, 1/2, 0
  assert_close(of(0, 1, 0, 1, 0, 0, *[-1] * 6), [0.9 / 2, 0.9 / 5, 0])  # beta 4/6, 2/6: six are not used
  assert_close(of(-1, -1), [0, 0, 0], atol=0)
  assert_close(of(2, 2), [0, 0, 0.9], atol=0)
  assert_close(of(2, -1, -1, -1), [0, 0, 0.9 / 5])  # one of the four
  assert_close(of(0, 1, 2), [0.9, 0.9, 0.9])
  assert_close(of(0, 1, 2, -1, -1), [0.9 / 3, 0.9 / 3, 0.9 / 3])
  assert_close(thresholds_by(np.array([0, 0, 0, -1]), 1, threshold=0.8), [0.8])


def test_flexmatch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = few.odds([6, 4], [4, 6], [1, 9]), few.odds([1, 3], [1, 4], [3, 2])
  of = partial(jit_loss, labeled, label, strong=strong, unlabeled_weight=3.0)
  loss, terms = of(weak=weak, thresholds=np.array([0.5, 0.7], np.float32))
  wanted = (math.log(4) + math.log(5 / 2)) / 3  # the second is of class 1: 0.6 < 0.7
  assert_close(terms['consistency'], wanted)
  assert_close(terms['use_ratio'], 2 / 3)
  assert_close(loss, math.log(2) + 3 * wanted)
  ones = np.ones(2, np.float32)  # a confidence of exactly the threshold counts
  assert_close(of(weak=100 * weak, thresholds=ones)[1]['use_ratio'], 1)


def test_flexmatch_limits():
  labeled, label, weak, strong = few.step(23, 3, 9, 4)
  labels, views = few.named(labeled, label, weak, strong)
  for threshold in (0.0, 0.6, 0.9, 1.1):  # equal for all classes
    got, terms = jit_loss(*labels, **views, thresholds=np.full(4, threshold, np.float32), unlabeled_weight=2.0)
    wanted, wanted_terms = losses.fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert_close(terms['use_ratio'], wanted_terms['use_ratio'], atol=0)
  # only the threshold of the predicted class matters
  first = weak.copy()
  first[:, 0] = weak.max(-1) + 1
  of = partial(jit_loss, labeled, label, weak=first, strong=strong, unlabeled_weight=2.0)
  used = of(thresholds=np.array([0, 2, 2, 2], np.float32))[1]['use_ratio']
  unused = of(thresholds=np.array([2, 0, 0, 0], np.float32))[1]['use_ratio']
  assert used == 1 and unused == 0


# --- The objective -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(('selected', 'share'), [([0, 1, 2] * 4, 1.0), ([0, 1, 2, -1, -1, -1], 1 / 5), ([-1] * 6, 0.0)])
def test_flexmatch_with_equal_statuses_is_fixmatch_with_the_mapped_threshold(selected, share):
  """beta is 1, 1 / 3 and 0 of every class, which beta / (2 - beta) maps to `share` of the threshold."""
  thresholds = thresholds_of(jnp.asarray(selected), few.K, threshold=0.9)
  assert_close(thresholds, [share * 0.9] * few.K)
  labels, views = few.named(*few.step(0, scale=3))
  chex.assert_trees_all_equal(flexmatch_loss(*labels, **views, thresholds=thresholds, unlabeled_weight=2.0),
                              losses.fixmatch(*labels, **views, threshold=thresholds[0], unlabeled_weight=2.0))


def test_flexmatch_that_has_labeled_every_class_equally_is_fixmatch():
  made = flexmatch(few.BACKBONE, classes=few.K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9, examples=18)
  other = fixmatch(few.BACKBONE, classes=few.K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  full = memory | {'selected': jnp.arange(18) % few.K}
  assert float(few.value(made, params, full)) == float(few.value(other, params, memory))
  assert float(few.value(made, params, memory)) != float(few.value(other, params, memory))  # at first all are used


def test_flexmatch_remembers_the_last_confident_class_of_each_example():
  images = few.images(0)
  weak = few.logits_of(functional(classifier(few.BACKBONE, few.K)).init(few.KEY)[0], images['weak'])
  threshold = float(np.sort(jax.nn.softmax(weak).max(-1))[few.U // 2]) - 1e-6
  pseudo, use = losses.confident(weak, threshold)
  assert use.sum() == few.U // 2
  made = flexmatch(few.BACKBONE, classes=few.K, threshold=threshold, unlabeled_weight=1., ema_momentum=0.9,
                   examples=few.EXAMPLES)
  params, memory = made.init(few.KEY)
  chex.assert_trees_all_equal(memory['selected'], np.full(few.EXAMPLES, -1))
  before = jnp.full(few.EXAMPLES, 7)
  _, (carry, _) = made.loss(params, memory, images, few.KEY, 0)
  _, after = made.update(params, memory | {'selected': before}, carry, 0)
  wanted = np.full(few.EXAMPLES, 7)
  wanted[np.asarray(images['index'])[np.asarray(use)]] = np.asarray(pseudo)[np.asarray(use)]
  chex.assert_trees_all_equal(after['selected'], wanted)


def test_its_threshold_and_its_average():
  few.check_threshold(flexmatch, examples=9)
  few.check_average('flexmatch', CASE, 'shared')


def test_flexmatch_remembers_the_last_row_of_an_example_that_comes_twice():
  made = flexmatch(cases.VIT, **CASE.kwargs, examples=5)
  memory = {'statistics': {}, 'ema': {}, 'selected': jnp.full(5, -1)}
  carry = {'statistics': {}, 'rows': jnp.array([2, 0, 2, 5, 0]), 'pseudo': jnp.array([3, 1, 2, 0, 0])}  # one not sure
  _, after = made.update({}, memory, carry, 0)
  np.testing.assert_array_equal(after['selected'], [0, -1, 2, -1, -1])
