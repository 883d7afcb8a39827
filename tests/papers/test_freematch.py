"""FreeMatch as a whole against its twin: arXiv:2205.07246v3, eq. 4 to 12; microsoft/Semi-supervised-learning,
semilearn/algorithms/freematch.

Its loss, its fairness and its running means against their twins, by hand, and as limits.
"""
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.freematch import fairness, freematch, freematch_loss, freematch_statistics
from pretrain.objectives.pseudo_label import pseudo_label_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import (
  Loss,
  assert_close,
  assert_finite,
  assert_gradient_in,
  assert_half_precision,
  check_loss,
  in_order,
  normal,
)
from tests.reference import supervised as slow
from tests.reference.flexmatch import masked_cross_entropy
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
MOMENTUM, WEIGHT, FAIRNESS, EMA = 0.8, 0.7, 0.3, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = softmax(one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U])
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  confidence, mean, counts = 0., np.zeros(K), np.zeros(K)
  for q in weak:
    confidence += q.max() / U
    mean += q / U
    counts[q.argmax()] += 1 / U
  threshold = MOMENTUM * memory['threshold'] + (1 - MOMENTUM) * confidence
  probability = MOMENTUM * memory['probability'] + (1 - MOMENTUM) * mean
  histogram = MOMENTUM * memory['histogram'] + (1 - MOMENTUM) * counts
  used, mean, counts = [], np.zeros(K), np.zeros(K)
  for i in range(U):
    c = weak[i].argmax()
    used.append(weak[i].max() >= probability[c] / probability.max() * threshold)
    if used[-1]:
      strong = made[B + U + i]
      consistency -= log_softmax(strong)[c] / U
      mean = mean + softmax(strong) / U
      counts[strong.argmax()] += 1
  assert 0 < sum(used) < U, used
  wanted = probability / histogram
  had = np.array([mean[c] / counts[c] if counts[c] else 0. * mean[c] for c in range(K)])
  fairness = 0.
  for c in range(K):
    fairness += wanted[c] / wanted.sum() * np.log(had[c] / had.sum() + 1e-12)

  def after(params):
    return params, {'statistics': statistics, 'threshold': threshold, 'probability': probability,
                    'histogram': histogram, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency + FAIRNESS * fairness, {
      'supervised': supervised, 'consistency': consistency, 'fairness': fairness, 'threshold': threshold,
      'use_ratio': sum(used) / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, momentum=0.9, unlabeled_weight=1., fairness_weight=0.5, ema_momentum=0.9),
                  cases.either(fixmatch_views()), cases.streams)
TWIN = Twin(
    freematch(tiny(width=5, hidden=9), classes=K, momentum=MOMENTUM, unlabeled_weight=WEIGHT,
              fairness_weight=FAIRNESS, ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    memory=lambda rng, memory: memory | {'threshold': 0.85, 'probability': rng.dirichlet(np.full(K, 5.)),
                                         'histogram': rng.dirichlet(np.full(K, 5.))},
    moves={'label': {'loss', 'supervised'},
           'weak': {'loss', 'supervised', 'consistency', 'fairness', 'threshold', 'use_ratio'}} | {
               key: {'loss', 'supervised', 'consistency', 'fairness', 'threshold'} for key in ('image', 'strong')})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def statistics_twin(weak, threshold, probability, histogram, momentum):
  """The three running means after a batch, arXiv:2205.07246v3 sections 4.1 and 4.2.

  Global threshold tau: of the largest probability (eq. 5); local p~: of the probabilities (eq. 6); h~: of the shares of
  the pseudo-labels. Each is momentum old + (1 - momentum) of the batch.

  Args:
    weak: [u, k] logits.
    threshold: float.
    probability, histogram: [k].
    momentum: float, the paper's lambda.

  Returns:
    {'threshold': float, 'probability': float64 [k], 'histogram': float64 [k]}.
  """
  u, k = weak.shape
  confidence, mean, share = 0.0, [0.0] * k, [0.0] * k
  for row in weak:
    logs = slow.log_softmax(row)
    confidence += math.exp(max(logs)) / u
    share[slow.largest(logs)] += 1 / u
    for c in range(k):
      mean[c] += math.exp(logs[c]) / u
  return {
    'threshold': momentum * float(threshold) + (1 - momentum) * confidence,
    'probability': np.array([momentum * float(probability[c]) + (1 - momentum) * mean[c] for c in range(k)]),
    'histogram': np.array([momentum * float(histogram[c]) + (1 - momentum) * share[c] for c in range(k)]),
  }


def sum_norm_of_quotient(values, shares):
  """values / shares, 0 where a share is 0, divided by their sum: [k], [k] -> list of k floats."""
  quotients = [float(v) / float(s) if s > 0 else 0.0 for v, s in zip(values, shares, strict=True)]
  return [quotient / sum(quotients) for quotient in quotients]


def fairness_twin(strong, use, probability, histogram):
  """L_f = -H(SumNorm(p~ / h~), SumNorm(p- / h-)), arXiv:2205.07246v3 section 4.2.

  H is the cross-entropy, so L_f = + sum target log mean, with 1e-12 in the logarithm and 0 for a quotient by zero as in
  the authors' code. p- and h- are the mean probabilities and the shares of the classes of the used rows' strong views.

  Args:
    strong: [u, k] logits.
    use: bool [u].
    probability, histogram: [k], constants.

  Returns:
    float; 0 without any used row.
  """
  k = strong.shape[1]
  used = [row for row, wanted in zip(strong, use, strict=True) if wanted]
  if not used:
    return 0.0
  mean, share = [0.0] * k, [0.0] * k
  for row in used:
    logs = slow.log_softmax(row)
    share[slow.largest(logs)] += 1 / len(used)
    for c in range(k):
      mean[c] += math.exp(logs[c]) / len(used)
  target, got = sum_norm_of_quotient(probability, histogram), sum_norm_of_quotient(mean, share)
  return sum(target[c] * math.log(got[c] + 1e-12) for c in range(k))


def loss_twin(labeled, label, weak, strong, threshold, probability, histogram, unlabeled_weight, fairness_weight):
  """L_s + w_u L_u + w_f L_f, arXiv:2205.07246v3 section 4.

  The threshold of class c is p~(c) / max p~ of the global one (4.1).

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold: float, the global threshold, of this batch already.
    probability, histogram: [k], of this batch already.
    unlabeled_weight, fairness_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'fairness', 'use_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  thresholds = [float(threshold) * float(p) / float(max(probability)) for p in probability]
  consistency, use = masked_cross_entropy(weak, strong, thresholds)
  fair = fairness_twin(strong, use, probability, histogram)
  terms = {'supervised': supervised, 'consistency': consistency, 'fairness': fair, 'use_ratio': sum(use) / len(use)}
  return supervised + unlabeled_weight * consistency + fairness_weight * fair, terms


jit_loss, fairness_of, statistics_of = map(jax.jit, (freematch_loss, fairness, freematch_statistics))
LOSS = Loss(jit_loss, loss_twin, [
    (*few.step(8, 2, 5, 3), 0.9, few.distribution(8, 3), few.distribution(9, 3), 2.0, 0.5),
    (*few.step(18, 3, 9, 4), 0.9, few.distribution(18, 4), few.distribution(19, 4), 0.5, 3.0)],
            moving=(0, 3), halves=(0, 2, 3), refused=[
                ((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.9, few.THREE, few.THREE, 1.0, 1.0),
                 ['(4, 3)', '(1, 3)']),
                ((few.LABELED, few.CLASSES, few.ONE, few.WEAK, 0.9, few.THREE, few.THREE, 1.0, 1.0),
                 ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(*x, weak=w, strong=s, threshold=0.9, probability=few.uniform(w),
                                histogram=few.uniform(w), unlabeled_weight=1.0, fairness_weight=0.5)
  few.check_one_class(of)
  few.check_finite(of)
  large = (*few.large(), 0.9, few.distribution(41, 3), few.distribution(42, 3), 1.0, 0.5)
  assert_close(in_order(jit_loss)(*large)[0], loss_twin(*large)[0])


@pytest.mark.parametrize(('u', 'k', 'momentum'), [(1, 3, 0.9), (6, 4, 0.999), (9, 2, 0.0)])
def test_freematch_statistics_equal_twin(u, k, momentum):
  old = 0.4, few.distribution(u, k), few.distribution(u + 1, k)
  weak = normal(u, u, k, scale=2)
  of = in_order(statistics_of)
  result = of(weak, *old, momentum)
  wanted = statistics_twin(weak, *old, momentum)
  assert result.keys() == wanted.keys()
  for name in wanted:
    assert result[name].dtype == jnp.float32 and result[name].shape == np.shape(wanted[name])
    assert_close(result[name], wanted[name])
  gradient = jax.grad(lambda x: sum(jnp.sum(v) for v in of(x, *old, momentum).values()))(weak)
  assert np.all(np.asarray(gradient) == 0)


def test_freematch_statistics_by_hand():
  weak = few.odds([3, 1], [1, 1], [1, 7], [5, 3])  # classes 0, 0 (of equals the lowest), 1, 0
  half = np.array([0.5, 0.5], np.float32)
  result = statistics_of(weak, 0.25, probability=half, histogram=np.array([0, 1], np.float32), momentum=0.75)
  assert_close(result['threshold'], 0.75 * 0.25 + 0.25 * (6 + 4 + 7 + 5) / 32)
  assert_close(result['probability'], [0.375 + 0.25 * 16 / 32, 0.375 + 0.25 * 16 / 32])
  assert_close(result['histogram'], [0.25 * 3 / 4, 0.75 + 0.25 * 1 / 4])
  kept = statistics_of(weak, 0.25, probability=half, histogram=half, momentum=1.0)
  assert_close(kept['threshold'], 0.25)
  assert_close(kept['probability'], half)


@pytest.mark.parametrize(('u', 'k', 'seed'), [(4, 3, 0), (9, 5, 1)])
def test_fairness_equals_twin(u, k, seed):
  arguments = normal(seed, u, k), np.arange(u) % 3 > 0, few.distribution(seed, k), few.distribution(seed + 5, k)
  of = in_order(fairness_of)
  result = of(*arguments)
  assert result.shape == () and result.dtype == jnp.float32
  assert_close(result, fairness_twin(*arguments))
  assert_gradient_in((0,), of, fairness_twin, *arguments)
  assert_half_precision(lambda x: of(x, *arguments[1:]), lambda x: fairness_twin(x, *arguments[1:]),
                        arguments[0])
  for gradient in jax.grad(of, (2, 3))(*arguments):
    assert np.all(np.asarray(gradient) == 0)


def test_fairness_by_hand():
  strong = few.odds([3, 1], [1, 3], [1, 3], [99, 1])  # the last is not used: means 5/12, 7/12; shares 1/3, 2/3
  use = np.array([True, True, True, False])
  probability, histogram = np.array([0.6, 0.4], np.float32), np.array([0.2, 0.8], np.float32)
  wanted = 6 / 7 * math.log(10 / 17) + 1 / 7 * math.log(7 / 17)  # targets 3 : 1/2, quotients 5/4 : 7/8
  assert_close(fairness_of(strong, use, probability=probability, histogram=histogram), wanted)
  # a class without share has no quotient
  one_share = np.array([0, 1], np.float32)
  assert_close(fairness_of(strong, use, probability=probability, histogram=one_share), math.log(7 / 17))
  one = np.array([True, False, False, False])
  assert_close(fairness_of(strong, one, probability=probability, histogram=histogram), 1 / 7 * math.log(1e-12))
  # one predicted class: nothing to move
  gradient = jax.grad(fairness_of)(strong, one, probability=probability, histogram=histogram)
  assert_close(gradient, np.zeros((4, 2)))
  none = np.zeros(4, bool)
  assert_close(fairness_of(strong, none, probability=probability, histogram=histogram), 0, atol=0)
  assert np.all(np.asarray(jax.grad(fairness_of)(strong, none, probability=probability, histogram=histogram)) == 0)


def test_fairness_is_least_where_unfair():
  """It is minus a cross-entropy: largest, minus the target's entropy, where the two distributions are equal."""
  use, even = np.ones(4, bool), np.full(2, 0.5, np.float32)
  equal = fairness_of(few.odds([3, 1], [1, 3], [3, 1], [1, 3]), use, probability=even, histogram=even)
  unequal = fairness_of(few.odds([9, 1], [4, 6], [9, 1], [4, 6]), use, probability=even, histogram=even)
  assert_close(equal, -math.log(2))
  assert unequal < equal - 1e-2


def test_freematch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = few.odds([9, 1], [4, 6], [6, 4]), few.odds([1, 3], [1, 4], [3, 2])
  probability, histogram = np.array([0.6, 0.4], np.float32), np.array([0.5, 0.5], np.float32)
  # thresholds 0.8 and 0.8 2/3 = 0.533: the first two are used
  of = partial(jit_loss, labeled, label, strong=strong, histogram=histogram, unlabeled_weight=3.0, fairness_weight=0.5)
  loss, terms = of(weak=weak, threshold=0.8, probability=probability)
  assert_close(terms['use_ratio'], 2 / 3)
  consistency = (math.log(4) + math.log(5 / 4)) / 3
  assert_close(terms['consistency'], consistency)
  fair = 0.6 * math.log(1e-12)  # both strong views are of class 1: all of the mean is there
  assert_close(terms['fairness'], fair)
  assert_close(loss, math.log(2) + 3 * consistency + 0.5 * fair)
  # a confidence of exactly the threshold counts
  assert_close(of(weak=100 * weak, threshold=1.0, probability=histogram)[1]['use_ratio'], 1)


def test_freematch_limits():
  labeled, label, weak, strong = few.step(24, 3, 9, 4)
  labels, views = few.named(labeled, label, weak, strong)
  even = np.full(4, 0.25, np.float32)
  of = partial(jit_loss, *labels, weak=weak, probability=even, histogram=even, unlabeled_weight=2.0)
  for threshold in (0.0, 0.6, 0.9):
    got, terms = of(strong=strong, threshold=threshold, fairness_weight=0.0)  # equal for all classes, no fairness
    wanted, wanted_terms = losses.fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert_close(terms['use_ratio'], wanted_terms['use_ratio'], atol=0)
    _, use = losses.confident(weak, threshold)
    # of the used strong views
    assert_close(terms['fairness'], fairness_of(strong, use, probability=even, histogram=even))
  nobody, empty = of(strong=strong, threshold=1.1, fairness_weight=0.5)
  assert empty['consistency'] == 0 and empty['fairness'] == 0 and empty['use_ratio'] == 0
  assert_close(nobody, pseudo_label_loss(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  gradient = jax.grad(lambda strong: of(strong=strong, threshold=1.1, fairness_weight=0.5)[0])(strong)
  assert np.all(np.asarray(gradient) == 0)


def test_statistics_of_the_extremes_are_finite():
  weak, even = np.tile(np.array([[1e4, 0, -1e4]], np.float32), (4, 1)), np.full(3, 1 / 3, np.float32)
  for logits in (weak, 0 * weak):
    new = statistics_of(logits, 1 / 3, probability=even, histogram=even, momentum=0.0)
    chex.assert_tree_all_finite(new)
  # all sure of the same class: the other shares are 0; the loss stays finite
  new = statistics_of(weak, 1 / 3, probability=even, histogram=even, momentum=0.0)
  assert new['histogram'][1] == 0
  assert_finite(lambda s: jit_loss(weak, label=np.zeros(4, int), weak=weak, strong=s, **new, unlabeled_weight=1.0,
                                   fairness_weight=0.5)[0], (weak,), (-weak,))


# --- The objective -------------------------------------------------------------------------------------------------

def test_freematch_at_rest_with_a_uniform_prediction_is_fixmatch_with_the_global_threshold():
  (labels, views), uniform = few.named(*few.step(7, scale=3)), jnp.full(few.K, 1 / few.K)
  got, metrics = freematch_loss(*labels, **views, threshold=jnp.float32(0.8), probability=uniform, histogram=uniform,
                                unlabeled_weight=1.5, fairness_weight=0.0)
  chex.assert_trees_all_equal(got, losses.fixmatch(*labels, **views, threshold=0.8, unlabeled_weight=1.5)[0])
  _, use = losses.confident(views['weak'], 0.8)
  assert_close(metrics['fairness'], fairness(views['strong'], use, probability=uniform, histogram=uniform))
  assert float(fairness(views['strong'], np.zeros(few.U, bool), probability=uniform, histogram=uniform)) == 0


def test_its_running_means_follow_the_predictions():
  p, memory = few.first_batch(freematch(few.BACKBONE, classes=few.K, momentum=0.75, unlabeled_weight=1.,
                                        fairness_weight=0.1, ema_momentum=0.9))
  assert_close(memory['threshold'], 0.75 / few.K + 0.25 * p.max(-1).mean())
  assert_close(memory['probability'], 0.75 / few.K + 0.25 * p.mean(0))
  assert_close(memory['histogram'], 0.75 / few.K + 0.25 * np.bincount(p.argmax(-1), minlength=few.K) / few.U)


def test_its_average():
  few.check_average('freematch', CASE, 'shared')
