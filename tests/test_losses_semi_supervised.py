"""Losses with few labels against their twins in float64, points by hand, limits, extremes.

FixMatch's are in test_losses.py. Tolerances as there: values to 1e-5, gradients to 1e-4 of their largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives import freematch as freematch_file
from pretrain.objectives import softmatch as softmatch_file
from pretrain.objectives.adamatch import adamatch_loss
from pretrain.objectives.flexmatch import flexmatch_loss, thresholds_of
from pretrain.objectives.mean_teacher import mean_teacher_loss
from pretrain.objectives.pseudo_label import pseudo_label_loss
from tests.checks import (
  assert_close,
  assert_finite,
  assert_gradient_in,
  assert_half_precision,
  in_order,
  is_array,
  normal,
)
from tests.reference import adamatch as adamatch_twin
from tests.reference import flexmatch as flexmatch_twin
from tests.reference import freematch as freematch_twin
from tests.reference import mean_teacher as mean_teacher_twin
from tests.reference import pseudo_label as pseudo_label_twin
from tests.reference import softmatch as softmatch_twin
from tests.reference import uda as uda_twin

# Compiled, as in a training step; thresholds, temperatures and weights are traced.
pseudo_label, mean_teacher, uda = jax.jit(pseudo_label_loss), jax.jit(mean_teacher_loss), jax.jit(losses.uda)
flexmatch, flexmatch_thresholds = jax.jit(flexmatch_loss), jax.jit(thresholds_of, static_argnames='classes')
freematch, fairness = jax.jit(freematch_file.freematch_loss), jax.jit(freematch_file.fairness)
freematch_statistics = jax.jit(freematch_file.freematch_statistics)
softmatch, softmatch_statistics = jax.jit(softmatch_file.softmatch_loss), jax.jit(softmatch_file.softmatch_statistics)
adamatch, fixmatch = jax.jit(adamatch_loss), jax.jit(losses.fixmatch)
align, truncated_gaussian = jax.jit(losses.align), jax.jit(softmatch_file.truncated_gaussian)


def logits(*rows):
  """Logits whose softmax is the rows, which need not sum to 1."""
  return np.log(np.array(rows, np.float32))


def distribution(seed: int, k: int):
  """k positive numbers that sum to 1, float32."""
  weights = np.exp(normal(seed, k))
  return weights / weights.sum()


def batch(seed: int, b: int, u: int, k: int):
  """(labeled, label, weak, strong): logits and classes of a step, some of the weak ones confident."""
  label = np.random.default_rng(seed).integers(0, k, b, np.int32)
  return normal(seed, b, k), label, normal(seed + 1, u, k, scale=2), normal(seed + 2, u, k)


def named(labeled, label, weak, strong):
  """Those that losses take by place, and those that they take by name."""
  return (labeled, label), {'weak': weak, 'strong': strong}


def adamatch_batch(seed: int, b: int, u: int, k: int):
  labeled, label, weak, strong = batch(seed, b, u, k)
  return labeled, normal(seed + 3, b, k), label, weak, strong


def vectors(seed: int, k: int):
  return distribution(seed, k), distribution(seed + 1, k)


# (loss, twin, the arguments it is differentiated in, all arguments); the other float arrays are constants. The sizes of
# each first point come back in the tests of extremes, those of each second one in the limits: what is compiled, stays.
POINTS = [
  (pseudo_label, pseudo_label_twin.pseudo_label, (0, 2), (*batch(0, 2, 5, 3)[:3], 1.5)),
  (pseudo_label, pseudo_label_twin.pseudo_label, (0, 2), (*batch(1, 3, 9, 4)[:3], 0.3)),
  (mean_teacher, mean_teacher_twin.mean_teacher, (0, 2), (*batch(2, 2, 5, 3), 5.0)),
  (mean_teacher, mean_teacher_twin.mean_teacher, (0, 2), (*batch(3, 3, 9, 4), 20.0)),
  (uda, uda_twin.uda, (0, 3), (*batch(4, 2, 5, 3), 0.85, 0.4, 2.0)),
  (uda, uda_twin.uda, (0, 3), (*batch(5, 3, 9, 4), 0.8, 0.9, 0.5)),
  (flexmatch, flexmatch_twin.flexmatch, (0, 3), (*batch(6, 2, 5, 3), np.array([0.95, 0.5, 0.7], np.float32), 2.0)),
  (flexmatch, flexmatch_twin.flexmatch, (0, 3), (*batch(7, 3, 9, 4), 0.9 * distribution(7, 4) + 0.4, 0.5)),
  (freematch, freematch_twin.freematch, (0, 3), (*batch(8, 2, 5, 3), 0.9, *vectors(8, 3), 2.0, 0.5)),
  (freematch, freematch_twin.freematch, (0, 3), (*batch(18, 3, 9, 4), 0.9, *vectors(18, 4), 0.5, 3.0)),
  (softmatch, softmatch_twin.softmatch, (0, 3), (*batch(12, 2, 5, 3), 0.9, 0.05, distribution(12, 3), 2.0, 2.0)),
  (softmatch, softmatch_twin.softmatch, (0, 3), (*batch(13, 3, 9, 4), 0.9, 0.03, distribution(13, 4), 1.0, 0.5)),
  (adamatch, adamatch_twin.adamatch, (0, 1, 4), (*adamatch_batch(14, 2, 5, 3), 0.95, *vectors(14, 3), 2.0)),
  (adamatch, adamatch_twin.adamatch, (0, 1, 4), (*adamatch_batch(16, 3, 9, 4), 1.1, *vectors(16, 4), 0.5)),
]
POINTS = [(in_order(loss), *rest) for loss, *rest in POINTS]  # called as the twins are
of_points = partial(pytest.mark.parametrize, ('loss', 'twin', 'moving', 'arguments'))


def total(loss):
  return lambda *arguments: loss(*arguments)[0]


@of_points(POINTS)
def test_equals_twin(loss, twin, moving, arguments):
  del moving
  result, terms = loss(*arguments)
  wanted, wanted_terms = twin(*arguments)
  assert terms.keys() == wanted_terms.keys()
  assert 0.05 < wanted_terms.get('use_ratio', 0.5) < 0.95, 'the point uses none or all'
  for got, value in [(result, wanted), *((terms[name], wanted_terms[name]) for name in terms)]:
    assert got.shape == () and got.dtype == jnp.float32
    assert_close(got, value)


@of_points(POINTS[::2])
def test_gradient(loss, twin, moving, arguments):
  assert_gradient_in(moving, total(loss), total(twin), *arguments)


@of_points(POINTS[1::2])
def test_half_precision(loss, twin, moving, arguments):
  """Of logits in bfloat16; the running means stay in float32."""
  del moving
  matrices = [i for i, x in enumerate(arguments) if is_array(x) and x.ndim == 2]

  def at(function):
    return lambda *moved: function(*(moved[matrices.index(i)] if i in matrices else x
                                     for i, x in enumerate(arguments)))[0]

  assert_half_precision(at(loss), at(twin), *(arguments[i] for i in matrices))


@of_points(POINTS[1::2])
def test_invariances(loss, twin, moving, arguments):
  del moving
  value, terms = loss(*arguments)
  matrices = [i for i, x in enumerate(arguments) if is_array(x) and x.ndim == 2]
  label = next(i for i, x in enumerate(arguments) if isinstance(x, np.ndarray) and not is_array(x))
  unlabeled = [i for i in matrices if i > label]
  u, k = arguments[unlabeled[0]].shape

  def changed(**functions):
    """The loss with functions of unlabeled logits, all logits, vectors of classes and labels applied."""
    result = list(arguments)
    for i, x in enumerate(arguments):
      names = ['unlabeled'] * (i in unlabeled) + ['logits'] * (i in matrices) + ['label'] * (i == label)
      names += ['vector'] * (is_array(x) and x.ndim == 1)
      for name in names:
        result[i] = functions.get(name, lambda x: x)(result[i])
    return loss(*result)[0]

  order, classes = np.random.default_rng(0).permutation(u), np.random.default_rng(1).permutation(k)[::-1]
  inverse = np.argsort(classes)
  assert_close(changed(unlabeled=lambda x: x[order]), value)
  assert_close(changed(logits=lambda x: x[:, classes], vector=lambda x: x[classes], label=lambda y: inverse[y]), value)
  assert_close(changed(logits=lambda x: x + 3 * np.arange(len(x), dtype=np.float32)[:, None]), value)
  assert_close(changed(unlabeled=lambda x: np.concatenate([x, x])), value)  # means, not sums
  fair = twin is freematch_twin.freematch
  weight, unfair = arguments[-2 if fair else -1], arguments[-1] * terms['fairness'] if fair else 0
  assert_close(value, terms['supervised'] + weight * terms['consistency'] + unfair)


# --- Pseudo-Label and Mean Teacher ---------------------------------------------------------------------------------

ZERO, LABEL = np.zeros((2, 4), np.float32), np.array([0, 3])


def test_pseudo_label_by_hand():
  unlabeled = logits([1, 1, 2, 4], [6, 1, 1, 2])  # 1/2 for class 3, 6/10 for class 0
  loss, terms = pseudo_label(ZERO, LABEL, unlabeled=unlabeled, unlabeled_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], (math.log(2) - math.log(0.6)) / 2)
  assert_close(loss, math.log(4) + 3 * (math.log(2) - math.log(0.6)) / 2)
  # the label is a constant, the logits are not: softmax - label; of equals the lowest class
  of = lambda x, weight: pseudo_label(ZERO, LABEL, unlabeled=x, unlabeled_weight=weight)[0]
  gradient = jax.grad(of)(unlabeled, 3.0)
  assert_close(gradient, 1.5 * np.array([[1 / 8, 1 / 8, 1 / 4, -1 / 2], [-0.4, 0.1, 0.1, 0.2]]))
  gradient = jax.grad(of)(ZERO, 2.0)
  assert_close(gradient, [[-3 / 4, 1 / 4, 1 / 4, 1 / 4]] * 2)


def test_pseudo_label_limits():
  labeled, label, unlabeled, _ = batch(20, 3, 9, 4)
  # low density at the boundary: nothing to do
  sure = pseudo_label(labeled, label, unlabeled=1e3 * unlabeled, unlabeled_weight=1.0)
  assert_close(sure[1]['consistency'], 0)
  even = pseudo_label(labeled, label, unlabeled=1e-6 * unlabeled, unlabeled_weight=1.0)
  assert_close(even[1]['consistency'], math.log(4))
  # the same logits for both views and no threshold: FixMatch's value, but not its gradient alone
  both, _ = fixmatch(labeled, label, weak=unlabeled, strong=unlabeled, threshold=0.0, unlabeled_weight=2.0)
  assert_close(pseudo_label(labeled, label, unlabeled=unlabeled, unlabeled_weight=2.0)[0], both)


def test_mean_teacher_by_hand():
  student = logits([1, 1, 2, 4], [3, 1, 2, 4])
  teacher = np.stack([ZERO[0], student[1] + 7])  # 1/4 each; the same as the student
  loss, terms = mean_teacher(ZERO, LABEL, student=student, teacher=teacher, unlabeled_weight=16.0)
  wanted = ((1 / 8) ** 2 + (1 / 8) ** 2 + (1 / 4) ** 2) / 4 / 2  # the mean over classes and rows
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(4) + 16 * wanted)


def test_mean_teacher_limits():
  labeled, label, student, teacher = batch(21, 3, 9, 4)
  of = lambda student, teacher: mean_teacher(labeled, label, student=student, teacher=teacher, unlabeled_weight=1.0)
  assert_close(of(student, student)[1]['consistency'], 0, atol=0)
  assert_close(of(teacher, student)[0], of(student, teacher)[0])  # but for the gradient
  one = 1e3 * np.eye(4, dtype=np.float32)[np.arange(9) % 4]
  other = np.roll(one, 1, axis=1)
  assert_close(of(one, other)[1]['consistency'], 2 / 4)  # as far as can be


# --- UDA -----------------------------------------------------------------------------------------------------------


def test_uda_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  # sharpened 81/82, used; sharpened 0.9, but 0.75 before: not used
  weak, strong = logits([9, 1], [3, 1]), logits([1, 3], [1, 9])
  at = lambda strong: uda(labeled, label, weak=weak, strong=strong, threshold=0.8, temperature=0.5,
                          unlabeled_weight=3.0)
  loss, terms = at(strong)
  divergence = 81 / 82 * math.log(81 / 82 * 4) + 1 / 82 * math.log(1 / 82 * 4 / 3)
  assert_close(terms['consistency'], divergence / 2)  # over both, not over the one
  assert_close(terms['use_ratio'], 1 / 2)
  assert_close(loss, math.log(2) + 3 * divergence / 2)
  gradient = jax.grad(total(at))(strong)
  assert_close(gradient, 1.5 * np.array([[1 / 4 - 81 / 82, 3 / 4 - 1 / 82], [0, 0]]))


def test_uda_limits():
  labeled, label, weak, strong = batch(22, 3, 9, 4)
  labels, views = named(labeled, label, weak, strong)
  alone, empty = uda(*labels, **views, threshold=1.1, temperature=0.5, unlabeled_weight=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  assert_close(alone, pseudo_label(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  assert uda(*labels, **views, threshold=0.0, temperature=0.5, unlabeled_weight=2.0)[1]['use_ratio'] == 1
  _, same = uda(labeled, label, weak=weak, strong=weak, threshold=0.0, temperature=1.0, unlabeled_weight=1.0)
  assert_close(same['consistency'], 0)  # KL, not cross-entropy
  assert_close(uda(*labels, **views, threshold=0.7, temperature=1e-4, unlabeled_weight=2.0)[0],
               fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=2.0)[0])  # cold: pseudo-labels
  # hot: KL(uniform || strong)
  wanted = -np.log(4) - np.asarray(jax.nn.log_softmax(strong), np.float64).mean()
  _, hot = uda(*labels, **views, threshold=0.0, temperature=1e5, unlabeled_weight=2.0)
  assert_close(hot['consistency'], wanted, rtol=1e-4)


# --- FlexMatch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('n', 'k', 'low', 'threshold'), [(7, 3, -1, 0.95), (30, 5, -1, 0.8), (20, 4, 0, 1.0)])
def test_flexmatch_thresholds_equal_twin(n, k, low, threshold):
  selected = np.random.default_rng(n).integers(low, k, n, np.int32)
  selected[: n // 3 * -low] = -1
  result = flexmatch_thresholds(selected, k, threshold=threshold)
  assert result.shape == (k,) and result.dtype == jnp.float32
  wanted = flexmatch_twin.flexmatch_thresholds(selected, k, threshold)
  assert len(set(wanted)) > 1
  assert_close(result, wanted)
  assert_close(flexmatch_thresholds(selected[::-1], k, threshold=threshold), wanted)


def test_flexmatch_thresholds_by_hand():
  def of(*selected):
    return flexmatch_thresholds(np.array(selected), 3, threshold=0.9)

  assert_close(of(0, 0, 0, 0, 1, 1, -1, -1, -1, -1), [0.9, 0.9 / 3, 0])  # beta 1, 1/2, 0
  assert_close(of(0, 1, 0, 1, 0, 0, *[-1] * 6), [0.9 / 2, 0.9 / 5, 0])  # beta 4/6, 2/6: six are not used
  assert_close(of(-1, -1), [0, 0, 0], atol=0)
  assert_close(of(2, 2), [0, 0, 0.9], atol=0)
  assert_close(of(2, -1, -1, -1), [0, 0, 0.9 / 5])  # one of the four
  assert_close(of(0, 1, 2), [0.9, 0.9, 0.9])
  assert_close(of(0, 1, 2, -1, -1), [0.9 / 3, 0.9 / 3, 0.9 / 3])
  assert_close(flexmatch_thresholds(np.array([0, 0, 0, -1]), 1, threshold=0.8), [0.8])


def test_flexmatch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = logits([6, 4], [4, 6], [1, 9]), logits([1, 3], [1, 4], [3, 2])
  of = partial(flexmatch, labeled, label, strong=strong, unlabeled_weight=3.0)
  loss, terms = of(weak=weak, thresholds=np.array([0.5, 0.7], np.float32))
  wanted = (math.log(4) + math.log(5 / 2)) / 3  # the second is of class 1: 0.6 < 0.7
  assert_close(terms['consistency'], wanted)
  assert_close(terms['use_ratio'], 2 / 3)
  assert_close(loss, math.log(2) + 3 * wanted)
  ones = np.ones(2, np.float32)  # a confidence of exactly the threshold counts
  assert_close(of(weak=100 * weak, thresholds=ones)[1]['use_ratio'], 1)


def test_flexmatch_limits():
  labeled, label, weak, strong = batch(23, 3, 9, 4)
  labels, views = named(labeled, label, weak, strong)
  for threshold in (0.0, 0.6, 0.9, 1.1):  # equal for all classes
    got, terms = flexmatch(*labels, **views, thresholds=np.full(4, threshold, np.float32), unlabeled_weight=2.0)
    wanted, wanted_terms = fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert_close(terms['use_ratio'], wanted_terms['use_ratio'], atol=0)
  # only the threshold of the predicted class matters
  first = weak.copy()
  first[:, 0] = weak.max(-1) + 1
  of = partial(flexmatch, labeled, label, weak=first, strong=strong, unlabeled_weight=2.0)
  used = of(thresholds=np.array([0, 2, 2, 2], np.float32))[1]['use_ratio']
  unused = of(thresholds=np.array([2, 0, 0, 0], np.float32))[1]['use_ratio']
  assert used == 1 and unused == 0


# --- FreeMatch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('u', 'k', 'momentum'), [(1, 3, 0.9), (6, 4, 0.999), (9, 2, 0.0)])
def test_freematch_statistics_equal_twin(u, k, momentum):
  old = 0.4, distribution(u, k), distribution(u + 1, k)
  weak = normal(u, u, k, scale=2)
  of = in_order(freematch_statistics)
  result = of(weak, *old, momentum)
  wanted = freematch_twin.freematch_statistics(weak, *old, momentum)
  assert result.keys() == wanted.keys()
  for name in wanted:
    assert result[name].dtype == jnp.float32 and result[name].shape == np.shape(wanted[name])
    assert_close(result[name], wanted[name])
  gradient = jax.grad(lambda x: sum(jnp.sum(v) for v in of(x, *old, momentum).values()))(weak)
  assert np.all(np.asarray(gradient) == 0)


def test_freematch_statistics_by_hand():
  weak = logits([3, 1], [1, 1], [1, 7], [5, 3])  # classes 0, 0 (of equals the lowest), 1, 0
  half = np.array([0.5, 0.5], np.float32)
  result = freematch_statistics(weak, 0.25, probability=half, histogram=np.array([0, 1], np.float32), momentum=0.75)
  assert_close(result['threshold'], 0.75 * 0.25 + 0.25 * (6 + 4 + 7 + 5) / 32)
  assert_close(result['probability'], [0.375 + 0.25 * 16 / 32, 0.375 + 0.25 * 16 / 32])
  assert_close(result['histogram'], [0.25 * 3 / 4, 0.75 + 0.25 * 1 / 4])
  kept = freematch_statistics(weak, 0.25, probability=half, histogram=half, momentum=1.0)
  assert_close(kept['threshold'], 0.25)
  assert_close(kept['probability'], half)


@pytest.mark.parametrize(('u', 'k', 'seed'), [(4, 3, 0), (9, 5, 1)])
def test_fairness_equals_twin(u, k, seed):
  arguments = normal(seed, u, k), np.arange(u) % 3 > 0, distribution(seed, k), distribution(seed + 5, k)
  of = in_order(fairness)
  result = of(*arguments)
  assert result.shape == () and result.dtype == jnp.float32
  assert_close(result, freematch_twin.fairness(*arguments))
  assert_gradient_in((0,), of, freematch_twin.fairness, *arguments)
  assert_half_precision(lambda x: of(x, *arguments[1:]), lambda x: freematch_twin.fairness(x, *arguments[1:]),
                        arguments[0])
  for gradient in jax.grad(of, (2, 3))(*arguments):
    assert np.all(np.asarray(gradient) == 0)


def test_fairness_by_hand():
  strong = logits([3, 1], [1, 3], [1, 3], [99, 1])  # the last is not used: means 5/12, 7/12; shares 1/3, 2/3
  use = np.array([True, True, True, False])
  probability, histogram = np.array([0.6, 0.4], np.float32), np.array([0.2, 0.8], np.float32)
  wanted = 6 / 7 * math.log(10 / 17) + 1 / 7 * math.log(7 / 17)  # targets 3 : 1/2, quotients 5/4 : 7/8
  assert_close(fairness(strong, use, probability=probability, histogram=histogram), wanted)
  # a class without share has no quotient
  assert_close(fairness(strong, use, probability=probability, histogram=np.array([0, 1], np.float32)), math.log(7 / 17))
  one = np.array([True, False, False, False])
  assert_close(fairness(strong, one, probability=probability, histogram=histogram), 1 / 7 * math.log(1e-12))
  # one predicted class: nothing to move
  gradient = jax.grad(fairness)(strong, one, probability=probability, histogram=histogram)
  assert_close(gradient, np.zeros((4, 2)))
  none = np.zeros(4, bool)
  assert_close(fairness(strong, none, probability=probability, histogram=histogram), 0, atol=0)
  assert np.all(np.asarray(jax.grad(fairness)(strong, none, probability=probability, histogram=histogram)) == 0)


def test_fairness_is_least_where_unfair():
  """It is minus a cross-entropy: largest, minus the target's entropy, where the two distributions are equal."""
  use, even = np.ones(4, bool), np.full(2, 0.5, np.float32)
  equal = fairness(logits([3, 1], [1, 3], [3, 1], [1, 3]), use, probability=even, histogram=even)
  unequal = fairness(logits([9, 1], [4, 6], [9, 1], [4, 6]), use, probability=even, histogram=even)
  assert_close(equal, -math.log(2))
  assert unequal < equal - 1e-2


def test_freematch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = logits([9, 1], [4, 6], [6, 4]), logits([1, 3], [1, 4], [3, 2])
  probability, histogram = np.array([0.6, 0.4], np.float32), np.array([0.5, 0.5], np.float32)
  # thresholds 0.8 and 0.8 2/3 = 0.533: the first two are used
  of = partial(freematch, labeled, label, strong=strong, histogram=histogram, unlabeled_weight=3.0, fairness_weight=0.5)
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
  labeled, label, weak, strong = batch(24, 3, 9, 4)
  labels, views = named(labeled, label, weak, strong)
  even = np.full(4, 0.25, np.float32)
  of = partial(freematch, *labels, weak=weak, probability=even, histogram=even, unlabeled_weight=2.0)
  for threshold in (0.0, 0.6, 0.9):
    got, terms = of(strong=strong, threshold=threshold, fairness_weight=0.0)  # equal for all classes, no fairness
    wanted, wanted_terms = fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert_close(terms['use_ratio'], wanted_terms['use_ratio'], atol=0)
    _, use = losses.confident(weak, threshold)
    assert_close(terms['fairness'], fairness(strong, use, probability=even, histogram=even))  # of the used strong views
  nobody, empty = of(strong=strong, threshold=1.1, fairness_weight=0.5)
  assert empty['consistency'] == 0 and empty['fairness'] == 0 and empty['use_ratio'] == 0
  assert_close(nobody, pseudo_label(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  gradient = jax.grad(lambda strong: of(strong=strong, threshold=1.1, fairness_weight=0.5)[0])(strong)
  assert np.all(np.asarray(gradient) == 0)


# --- SoftMatch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('u', 'k'), [(1, 3), (6, 5)])
def test_align_equals_twin(u, k):
  rows = np.stack([distribution(seed, k) for seed in range(u)])
  target, average = distribution(30, k), distribution(31, k)
  result = align(rows, target, average=average)
  assert result.shape == (u, k) and result.dtype == jnp.float32
  assert_close(result, adamatch_twin.align(rows, target, average))
  assert_close(result.sum(-1), np.ones(u))


def test_align_by_hand():
  even, rows = np.array([0.5, 0.5], np.float32), np.array([[0.6, 0.4], [0.9, 0.1]], np.float32)
  aligned = align(rows, even, average=np.array([0.75, 0.25], np.float32))  # 0.4 : 0.8 and 0.6 : 0.2
  assert_close(aligned, [[1 / 3, 2 / 3], [3 / 4, 1 / 4]])
  assert_close(align(rows, rows[0], average=rows[0]), rows)
  # what is never predicted is lifted by 1e-6 only
  never = align(even[None], even, average=np.array([1, 0], np.float32))
  assert_close(never, [[1e-6, 1 - 1e-6]], rtol=1e-4, atol=0)
  absent = align(even[None], np.array([1, 0], np.float32), average=even)
  assert_close(absent, [[1 - 1e-6, 1e-6]], rtol=1e-4, atol=0)


def test_truncated_gaussian_by_hand():
  confidence = np.array([0.2, 0.5, 0.6, 0.61, 0.9], np.float32)
  one, two = (truncated_gaussian(confidence, 0.6, variance=0.08, sigmas=sigmas) for sigmas in (1.0, 2.0))
  assert_close(one, [math.exp(-1), math.exp(-1 / 16), 1, 1, 1])
  assert_close(two, [math.exp(-4), math.exp(-1 / 4), 1, 1, 1])
  assert_close(truncated_gaussian(confidence, 0.6, variance=math.inf, sigmas=2.0), np.ones(5), rtol=0, atol=0)
  for variance in (1e-12, 0.0):  # a threshold; 0: of a batch with equal confidences
    assert_close(truncated_gaussian(confidence, 0.6, variance=variance, sigmas=1.0), [0, 0, 1, 1, 1], atol=0)
  wanted = softmatch_twin.truncated_gaussian(confidence, 0.55, 0.01, 1.5)
  assert_close(truncated_gaussian(confidence, 0.55, variance=0.01, sigmas=1.5), wanted)


@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize(('u', 'k', 'momentum'), [(2, 3, 0.9), (6, 4, 0.999), (9, 2, 0.0)])
def test_softmatch_statistics_equal_twin(u, k, momentum, first):
  old = 0.4, 0.3, np.zeros(k, np.float32) if first else distribution(u, k)
  weak = normal(u, u, k, scale=2)
  of = in_order(softmatch_statistics)
  result = of(weak, *old, momentum)
  wanted = softmatch_twin.softmatch_statistics(weak, *old, momentum)
  assert result.keys() == wanted.keys()
  for name in wanted:
    assert result[name].dtype == jnp.float32 and result[name].shape == np.shape(wanted[name])
    assert_close(result[name], wanted[name])
  gradient = jax.grad(lambda x: sum(jnp.sum(v) for v in of(x, *old, momentum).values()))(weak)
  assert np.all(np.asarray(gradient) == 0)


def test_softmatch_statistics_by_hand():
  weak = logits([3, 1], [1, 1])
  old = np.array([0.6, 0.4], np.float32)
  result = softmatch_statistics(weak, 0.5, variance=1.0, probability=old, momentum=0.0)
  assert_close(result['probability'], [5 / 8, 3 / 8])
  # aligned by the new mean: 6/5 : 2/3 and 4/5 : 4/3
  assert_close(result['mean'], (9 / 14 + 5 / 8) / 2)
  assert_close(result['variance'], (9 / 14 - 5 / 8) ** 2 / 2, rtol=1e-3, atol=0)  # over u - 1 = 1
  slow = softmatch_statistics(weak, 0.5, variance=1.0, probability=old, momentum=1.0)
  assert_close(slow['mean'], 0.5)
  assert_close(slow['variance'], 1)
  assert_close(slow['probability'], old)


def test_softmatch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = logits([6, 4], [9, 1], [1, 1]), logits([1, 3], [1, 4], [3, 2])
  probability = np.array([0.75, 0.25], np.float32)  # aligned 1/3 : 2/3, 3/4 : 1/4, 1/4 : 3/4
  loss, terms = softmatch(labeled, label, weak=weak, strong=strong, mean=0.75, variance=1 / 288,
                          probability=probability, sigmas=2.0, unlabeled_weight=3.0)
  weight = math.exp(-4)  # (1/12)^2 4 / (2 / 288)
  assert_close(terms['use_ratio'], (weight + 2) / 3)
  consistency = (weight * math.log(4) + math.log(5) + math.log(5 / 3)) / 3  # class 0 for all: not aligned
  assert_close(terms['consistency'], consistency, rtol=1e-4)
  assert_close(loss, math.log(2) + 3 * consistency, rtol=1e-4)


def test_softmatch_limits():
  labeled, label, weak, strong = batch(25, 3, 9, 4)
  labels, views = named(labeled, label, weak, strong)
  of = partial(softmatch, *labels, **views, probability=np.full(4, 0.25, np.float32), unlabeled_weight=2.0)
  hard = lambda threshold: fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)[0]
  assert_close(of(mean=0.7, variance=math.inf, sigmas=2.0)[0], hard(0.0))  # all count
  assert_close(of(mean=0.7, variance=1e-12, sigmas=2.0)[0], hard(0.7))  # a threshold
  assert_close(of(mean=0.0, variance=1e-12, sigmas=2.0)[1]['use_ratio'], 1, atol=0)
  nobody, empty = of(mean=1.1, variance=1e-12, sigmas=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  assert_close(nobody, pseudo_label(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  narrow, wide = (of(mean=0.7, variance=0.1, sigmas=sigmas)[1]['use_ratio'] for sigmas in (2.0, 1.0))
  assert narrow < wide - 1e-2


# --- AdaMatch ------------------------------------------------------------------------------------------------------


def test_adamatch_by_hand():
  labeled, labeled_strong, label = logits([8, 2], [4, 6]), logits([1, 1], [3, 1]), np.array([0, 1])
  weak, strong = logits([6, 4], [9, 1], [55, 45]), logits([1, 3], [1, 4], [3, 2])
  target, average = np.array([0.5, 0.5], np.float32), np.array([0.75, 0.25], np.float32)
  of = partial(adamatch, label=label, strong=strong, labeled_average=target, unlabeled_weight=3.0)
  loss, terms = of(labeled, labeled_strong, weak=weak, threshold=0.98, unlabeled_average=average)
  supervised = (-(math.log(0.8) + math.log(0.6)) / 2 + (math.log(2) + math.log(4)) / 2) / 2
  assert_close(terms['supervised'], supervised)
  assert_close(terms['relative_threshold'], 0.98 * 0.7)  # of the weak labeled views
  # aligned 1/3 : 2/3 < 0.686, 3/4 : 1/4 of class 0, 11/15 : 27/15 of class 1
  consistency = (math.log(5) + math.log(5 / 2)) / 3
  assert_close(terms['use_ratio'], 2 / 3)
  assert_close(terms['consistency'], consistency)
  assert_close(loss, supervised + 3 * consistency)
  # a confidence of exactly the threshold counts
  _, sure = of(100 * labeled, labeled_strong, weak=100 * weak, threshold=1.0, unlabeled_average=target)
  assert_close(sure['relative_threshold'], 1, atol=0)
  assert_close(sure['use_ratio'], 1, atol=0)


def test_adamatch_limits():
  labeled, labeled_strong, label, weak, strong = adamatch_batch(26, 3, 9, 4)
  even, averages = np.full(4, 0.25, np.float32), ('labeled_average', 'unlabeled_average')
  of = partial(adamatch, label=label, weak=weak, strong=strong, **dict.fromkeys(averages, even))
  nobody, empty = of(labeled, labeled_strong, threshold=9.0, unlabeled_weight=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  swapped = of(labeled_strong, labeled, threshold=0.0, unlabeled_weight=0.0)
  assert_close(swapped[0], nobody)
  assert of(labeled, labeled_strong, threshold=0.0, unlabeled_weight=2.0)[1]['use_ratio'] == 1
  # averages that are equal align nothing
  equal = dict.fromkeys(averages, distribution(26, 4))
  _, terms = of(labeled, labeled, threshold=0.9, unlabeled_weight=2.0, **equal)
  _, wanted = fixmatch(labeled, label, weak=weak, strong=strong, threshold=terms['relative_threshold'],
                       unlabeled_weight=2.0)
  for name in wanted:
    assert_close(terms[name], wanted[name])
  assert 0 < wanted['use_ratio'] < 1


# --- one class, extremes -------------------------------------------------------------------------------------------

TOTALS = [
  ('pseudo_label', lambda x, w, s: pseudo_label(*x, unlabeled=w + s, unlabeled_weight=1.0)),
  ('mean_teacher', lambda x, w, s: mean_teacher(*x, student=s, teacher=w, unlabeled_weight=1.0)),
  ('uda', lambda x, w, s: uda(*x, weak=w, strong=s, threshold=0.8, temperature=0.4, unlabeled_weight=1.0)),
  ('flexmatch', lambda x, w, s: flexmatch(*x, weak=w, strong=s, thresholds=jnp.full(w.shape[1], 0.9),
                                          unlabeled_weight=1.0)),
  ('freematch', lambda x, w, s: freematch(*x, weak=w, strong=s, threshold=0.9, probability=uniform(w),
                                          histogram=uniform(w), unlabeled_weight=1.0, fairness_weight=0.5)),
  ('softmatch', lambda x, w, s: softmatch(*x, weak=w, strong=s, mean=0.9, variance=0.1, probability=uniform(w),
                                          sigmas=2.0, unlabeled_weight=1.0)),
  ('adamatch', lambda x, w, s: adamatch(x[0], x[0], label=x[1], weak=w, strong=s, threshold=0.9,
                                        labeled_average=uniform(w), unlabeled_average=uniform(w),
                                        unlabeled_weight=1.0)),
]
totals = pytest.mark.parametrize('function', [function for _, function in TOTALS], ids=[name for name, _ in TOTALS])


def uniform(weak):
  return jnp.full(weak.shape[1], 1 / weak.shape[1])


@totals
def test_one_class_is_no_loss(function):
  one = normal(0, 3, 1)
  loss, terms = function((one, np.zeros(3, int)), 2 * one, -one)
  assert_close(loss, 0)
  assert_close(terms.get('use_ratio', 1), 1)


@totals
def test_finite_at_extreme_logits(function):
  labeled, label, weak, strong = batch(40, 2, 5, 3)
  first = np.tile(np.array([[1, 0, 0]], np.float32), (5, 1))
  points = [
    (1e4 * labeled, 1e4 * weak, 1e4 * strong), (1e4 * labeled, 1e4 * weak, -1e4 * weak),
    (labeled, 1e4 * weak, 1e-4 * strong), (0 * labeled, 0 * weak, 0 * strong),
    (labeled, 1e4 * first, 1e4 * first), (labeled, 1e4 * first, -1e4 * first),  # one class for all
  ]
  assert_finite(lambda x, w, s: function((x, label), w, s)[0], *points)


def test_extreme_values_equal_the_twins():
  labeled, label, weak, strong = batch(41, 2, 5, 3)
  large = 1e4 * labeled, label, 1e4 * weak, 1e4 * strong
  for loss, twin, arguments in [
    (uda, uda_twin.uda, (*large, 0.8, 0.4, 1.0)),
    (mean_teacher, mean_teacher_twin.mean_teacher, (*large, 1.0)),
    (freematch, freematch_twin.freematch, (*large, 0.9, distribution(41, 3), distribution(42, 3), 1.0, 0.5)),
    (softmatch, softmatch_twin.softmatch, (*large, 0.9, 0.1, distribution(41, 3), 2.0, 1.0)),
  ]:
    assert_close(in_order(loss)(*arguments)[0], twin(*arguments)[0])


def test_statistics_are_finite():
  weak = np.tile(np.array([[1e4, 0, -1e4]], np.float32), (4, 1))
  even = np.full(3, 1 / 3, np.float32)
  for logits_ in (weak, 0 * weak):
    for statistics in (freematch_statistics(logits_, 1 / 3, probability=even, histogram=even, momentum=0.0),
                       softmatch_statistics(logits_, 1 / 3, variance=1.0, probability=even, momentum=0.0)):
      for value in statistics.values():
        assert np.all(np.isfinite(np.asarray(value)))
  # all sure of the same class: shares and variance are 0; the losses stay finite
  new = freematch_statistics(weak, 1 / 3, probability=even, histogram=even, momentum=0.0)
  soft = softmatch_statistics(weak, 1 / 3, variance=1.0, probability=even, momentum=0.0)
  both = {'label': np.zeros(4, int), 'weak': weak, 'unlabeled_weight': 1.0}
  assert soft['variance'] == 0 and new['histogram'][1] == 0
  assert_finite(lambda s: freematch(weak, strong=s, **new, **both, fairness_weight=0.5)[0], (weak,), (-weak,))
  assert_finite(lambda s: softmatch(weak, strong=s, **soft, **both, sigmas=2.0)[0], (weak,), (-weak,))


# --- shapes --------------------------------------------------------------------------------------------------------

LABELED, CLASSES, WEAK, _ = batch(50, 2, 4, 3)
ONE, THREE = normal(0, 1, 3), np.full(3, 0.5, np.float32)
UDA = dict(threshold=0.8, temperature=0.4, unlabeled_weight=1.0)
FREE = dict(threshold=0.9, probability=THREE, histogram=THREE, unlabeled_weight=1.0, fairness_weight=1.0)
SOFT = dict(mean=0.9, variance=0.1, probability=THREE, sigmas=2.0, unlabeled_weight=1.0)
ADA = dict(threshold=0.9, labeled_average=THREE, unlabeled_average=THREE, unlabeled_weight=1.0)


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: pseudo_label(LABELED, CLASSES[:1], unlabeled=WEAK, unlabeled_weight=1.0), ['(2,)', '(1,)']),
  (lambda: mean_teacher(LABELED, CLASSES[:1], student=WEAK, teacher=WEAK, unlabeled_weight=1.0), ['(2,)', '(1,)']),
  (lambda: mean_teacher(LABELED, CLASSES, student=WEAK, teacher=ONE, unlabeled_weight=1.0), ['(4, 3)', '(1, 3)']),
  (lambda: mean_teacher(LABELED, CLASSES, student=WEAK, teacher=WEAK[:, :1], unlabeled_weight=1.0),
   ['(4, 3)', '(4, 1)']),
  (lambda: uda(LABELED, CLASSES, weak=WEAK, strong=ONE, **UDA), ['(4, 3)', '(1, 3)']),
  (lambda: uda(LABELED, CLASSES, weak=ONE, strong=WEAK, **UDA), ['(4, 3)', '(1, 3)']),
  (lambda: flexmatch(LABELED, CLASSES, weak=WEAK, strong=ONE, thresholds=THREE, unlabeled_weight=1.0),
   ['(4, 3)', '(1, 3)']),
  (lambda: flexmatch(LABELED, CLASSES, weak=WEAK[:, :2], strong=WEAK, thresholds=THREE, unlabeled_weight=1.0),
   ['(4, 2)', '(4, 3)']),
  (lambda: freematch(LABELED, CLASSES, weak=WEAK, strong=ONE, **FREE), ['(4, 3)', '(1, 3)']),
  (lambda: freematch(LABELED, CLASSES, weak=ONE, strong=WEAK, **FREE), ['(4, 3)', '(1, 3)']),
  (lambda: softmatch(LABELED, CLASSES, weak=WEAK, strong=ONE, **SOFT), ['(4, 3)', '(1, 3)']),
  (lambda: softmatch(LABELED, CLASSES, weak=ONE, strong=WEAK, **SOFT), ['(4, 3)', '(1, 3)']),
  (lambda: adamatch(LABELED, LABELED, label=CLASSES, weak=WEAK, strong=ONE, **ADA), ['(4, 3)', '(1, 3)']),
  (lambda: adamatch(LABELED, LABELED[:1], label=CLASSES, weak=WEAK, strong=WEAK, **ADA), ['(2, 3)', '(1, 3)']),
])
def test_shapes_that_do_not_fit_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
