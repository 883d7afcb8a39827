"""Losses of few labels that papers share: against their twins in float64, by hand, limits, extremes."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.pseudo_label import pseudo_label_loss
from tests import few_labels as few
from tests.checks import Loss, assert_close, assert_finite, assert_gradient, check_loss, in_order, normal, value_of
from tests.reference import fixmatch as fixmatch_twin
from tests.reference import mixmatch as mixmatch_twin
from tests.reference import supervised as supervised_twin
from tests.reference import uda as uda_twin
from tests.reference.align import align as align_twin

confident, fixmatch, uda, align = map(jax.jit, (losses.confident, losses.fixmatch, losses.uda, losses.align))


# --- FixMatch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('u', 'k', 'threshold'), [(1, 2, 0.5), (9, 4, 0.6), (20, 3, 0.95), (6, 10, 0.0)])
def test_confident_equals_twin(u, k, threshold):
  weak = normal(u, u, k, scale=3)
  pseudo, use = confident(weak, threshold)
  wanted_pseudo, wanted_use = fixmatch_twin.confident(weak, threshold)
  assert pseudo.shape == (u,) and jnp.issubdtype(pseudo.dtype, jnp.integer)
  assert use.shape == (u,) and use.dtype == bool
  np.testing.assert_array_equal(pseudo, wanted_pseudo)
  np.testing.assert_array_equal(use, wanted_use)


def test_confident_by_hand():
  logits = np.log(np.array([[6, 3, 1], [1, 1, 8], [1, 2, 1]], np.float32))  # 0.6, 0.8, 0.5 at most
  pseudo, use = confident(logits, 0.7)
  assert list(pseudo) == [0, 2, 1] and list(use) == [False, True, False]
  for k in (2, 4):  # exactly the threshold is confident; ties go to the lowest class
    pseudo, use = confident(np.zeros((2, k), np.float32), 1 / k)
    assert list(pseudo) == [0, 0] and list(use) == [True, True]
  assert np.all(confident(normal(0, 5, 3), 0.0)[1])
  assert not np.any(confident(normal(0, 5, 3), 1.1)[1])
  pseudo, use = confident(np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32), 0.95)
  assert list(pseudo) == [0, 1] and list(use) == [True, True]
  shifted = confident(logits + 100, 0.7)
  assert list(shifted[0]) == [0, 2, 1] and list(shifted[1]) == [False, True, False]


@pytest.mark.parametrize(('b', 'u', 'k', 'threshold', 'weight'), [
  (1, 7, 3, 0.95, 1.0), (4, 12, 10, 0.6, 2.5), (8, 3, 2, 0.8, 0.1),
])
def test_fixmatch_equals_twin(b, u, k, threshold, weight):
  arrays = labeled, label, weak, strong = few.step(u, b, u, k, scale=3)
  loss, terms = fixmatch(labeled, label, weak=weak, strong=strong, threshold=threshold, unlabeled_weight=weight)
  wanted, wanted_terms = fixmatch_twin.fixmatch(*arrays, threshold, weight)
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, wanted)
  for name, value in wanted_terms.items():
    assert_close(terms[name], value)


def test_fixmatch_gradient():
  labeled, label, weak, strong = few.step(1, 2, 6, 3, scale=3)
  assert 0 < fixmatch_twin.fixmatch(labeled, label, weak, strong, 0.8, 2.0)[1]['use_ratio'] < 1
  assert_gradient(
    lambda x, y: fixmatch(x, label, weak=weak, strong=y, threshold=0.8, unlabeled_weight=2.0)[0],
    lambda x, y: fixmatch_twin.fixmatch(x, label, weak, y, 0.8, 2.0)[0],
    labeled, strong,
  )
  consistent = lambda w, s: fixmatch(labeled, label, weak=w, strong=s, threshold=0.8, unlabeled_weight=2.0)[0]
  to_weak, to_strong = jax.grad(consistent, (0, 1))(weak, strong)
  _, use = fixmatch_twin.confident(weak, 0.8)
  assert np.all(np.asarray(to_weak) == 0)
  assert np.all(np.asarray(to_strong)[~use] == 0) and np.all(np.asarray(to_strong)[use] != 0)
  # also through a network that makes both
  shared = jax.grad(lambda w: consistent(w * weak, strong))(1.0)
  assert shared == 0


def test_fixmatch_by_hand():
  labeled, label = np.zeros((2, 4), np.float32), np.array([0, 3])
  weak = np.zeros((5, 4), np.float32)
  weak[1, 2] = 50  # the only confident one of five
  strong = np.log(np.tile(np.array([1, 1, 2, 4], np.float32), (5, 1)))  # 1/4 for class 2
  loss, terms = fixmatch(labeled, label, weak=weak, strong=strong, threshold=0.95, unlabeled_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], math.log(4) / 5)  # over all five, not over the one
  assert_close(terms['use_ratio'], 1 / 5)
  assert_close(loss, math.log(4) * (1 + 3 / 5))


def test_fixmatch_limits_and_invariances():
  labeled, label, weak, strong = few.step(3, 4, 8, 5, scale=3)
  labels, views = (labeled, label), {'weak': weak, 'strong': strong}
  loss, terms = fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=1.5)
  assert 0 < terms['use_ratio'] < 1
  alone, _ = fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=0.0)
  assert_close(alone, supervised_twin.cross_entropy(labeled, label).mean())
  nobody, empty = fixmatch(*labels, **views, threshold=1.1, unlabeled_weight=1.5)
  assert_close(nobody, alone)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  _, everybody = fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=1.5)
  assert_close(everybody['consistency'], supervised_twin.cross_entropy(strong, weak.argmax(-1)).mean())
  order, classes = np.random.default_rng(0).permutation(8), np.array([4, 2, 0, 1, 3])
  value = lambda x, y, w, s: fixmatch(x, y, weak=w, strong=s, threshold=0.7, unlabeled_weight=1.5)[0]
  assert_close(value(labeled[::-1], label[::-1], weak[order], strong[order]), loss)
  assert_close(value(labeled[:, classes], np.argsort(classes)[label], weak[:, classes], strong[:, classes]), loss)
  assert_close(value(labeled, label, weak + normal(9, 8, 1), strong - 3), loss)
  assert_close(value(labeled, label, np.concatenate([weak, weak]), np.concatenate([strong, strong])), loss)
  assert abs(value(labeled, label, weak[order], strong) - loss) > 1e-2


def test_fixmatch_is_stable():
  labeled, label, weak, strong = few.step(0, 2, 6, 3, scale=3)
  value = lambda x, y: fixmatch(x, label, weak=1e4 * weak, strong=y, threshold=0.95, unlabeled_weight=1.0)[0]
  assert_finite(value, (1e4 * labeled, -1e4 * strong))
  wanted, _ = fixmatch_twin.fixmatch(1e4 * labeled, label, 1e4 * weak, -1e4 * strong, 0.95, 1.0)
  assert_close(value(1e4 * labeled, -1e4 * strong), wanted)


def test_fixmatch_refuses_views_of_other_shapes():
  with pytest.raises((ValueError, TypeError)):
    fixmatch(normal(0, 2, 3), np.zeros(2, int), weak=normal(1, 4, 3), strong=normal(2, 5, 3), threshold=0.9,
             unlabeled_weight=1.0)
  with pytest.raises(ValueError, match='wants equal shapes'):
    losses.fixmatch(jnp.zeros((3, 4)), jnp.zeros(3, int), weak=jnp.zeros((5, 4)), strong=jnp.zeros((1, 4)),
                    threshold=0.9, unlabeled_weight=1.)


# --- UDA -----------------------------------------------------------------------------------------------------------

UDA = Loss(uda, uda_twin.uda, [(*few.step(4, 2, 5, 3), 0.85, 0.4, 2.0), (*few.step(5, 3, 9, 4), 0.8, 0.9, 0.5)],
           moving=(0, 3), halves=(0, 2, 3), refused=[
               ((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.8, 0.4, 1.0), ['(4, 3)', '(1, 3)']),
               ((few.LABELED, few.CLASSES, few.ONE, few.WEAK, 0.8, 0.4, 1.0), ['(4, 3)', '(1, 3)']),
               # a threshold for all or for each example
               ((few.LABELED, few.CLASSES, few.WEAK, few.WEAK, few.THREE, 0.5, 1.0), ['(3,)', '(4,)'])])


def test_uda():
  check_loss(UDA)
  few.check_invariances(in_order(uda), *UDA.points[1])
  of = lambda x, w, s: uda(*x, weak=w, strong=s, threshold=0.8, temperature=0.4, unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)
  large = (*few.large(), 0.8, 0.4, 1.0)
  assert_close(in_order(uda)(*large)[0], uda_twin.uda(*large)[0])


def test_uda_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  # sharpened 81/82, used; sharpened 0.9, but 0.75 before: not used
  weak, strong = few.odds([9, 1], [3, 1]), few.odds([1, 3], [1, 9])
  at = lambda strong: uda(labeled, label, weak=weak, strong=strong, threshold=0.8, temperature=0.5,
                          unlabeled_weight=3.0)
  loss, terms = at(strong)
  divergence = 81 / 82 * math.log(81 / 82 * 4) + 1 / 82 * math.log(1 / 82 * 4 / 3)
  assert_close(terms['consistency'], divergence / 2)  # over both, not over the one
  assert_close(terms['use_ratio'], 1 / 2)
  assert_close(loss, math.log(2) + 3 * divergence / 2)
  gradient = jax.grad(value_of(at))(strong)
  assert_close(gradient, 1.5 * np.array([[1 / 4 - 81 / 82, 3 / 4 - 1 / 82], [0, 0]]))


def test_uda_limits():
  labeled, label, weak, strong = few.step(22, 3, 9, 4)
  labels, views = few.named(labeled, label, weak, strong)
  alone, empty = uda(*labels, **views, threshold=1.1, temperature=0.5, unlabeled_weight=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  assert_close(alone, pseudo_label_loss(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  assert uda(*labels, **views, threshold=0.0, temperature=0.5, unlabeled_weight=2.0)[1]['use_ratio'] == 1
  _, same = uda(labeled, label, weak=weak, strong=weak, threshold=0.0, temperature=1.0, unlabeled_weight=1.0)
  assert_close(same['consistency'], 0)  # KL, not cross-entropy
  assert_close(uda(*labels, **views, threshold=0.7, temperature=1e-4, unlabeled_weight=2.0)[0],
               fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=2.0)[0])  # cold: pseudo-labels
  # hot: KL(uniform || strong)
  wanted = -np.log(4) - np.asarray(jax.nn.log_softmax(strong), np.float64).mean()
  _, hot = uda(*labels, **views, threshold=0.0, temperature=1e5, unlabeled_weight=2.0)
  assert_close(hot['consistency'], wanted, rtol=1e-4)


# --- Alignment, sharpened probabilities, MixUp ---------------------------------------------------------------------

@pytest.mark.parametrize(('u', 'k'), [(1, 3), (6, 5)])
def test_align_equals_twin(u, k):
  rows = np.stack([few.distribution(seed, k) for seed in range(u)])
  target, average = few.distribution(30, k), few.distribution(31, k)
  result = align(rows, target, average=average)
  assert result.shape == (u, k) and result.dtype == jnp.float32
  assert_close(result, align_twin(rows, target, average))
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


def test_sharpen_and_mixup():
  p = few.probabilities(0, 4, 5)
  for temperature in (0.5, 1.0, 2.0):
    wanted = [mixmatch_twin.sharpen(row, temperature) for row in p]
    assert_close(losses.sharpen(p, temperature), wanted)
  assert_close(losses.sharpen(np.array([[0.75, 0.25, 0]], np.float32), 0.5), [[0.9, 0.1, 0]])
  assert_close(losses.sharpen(p, 1e-3), np.eye(5)[p.argmax(-1)])
  x, order, share = normal(1, 3, 2, 2, 1), np.array([2, 0, 1]), np.array([1, 0.75, 0.5], np.float32)
  assert_close(losses.mixup(x, order, share=share), mixmatch_twin.mixup(x, order, share))
  assert_close(losses.mixup(x, order, share=share)[0], x[0], atol=0)
  assert_close(losses.mixup(x, order, share=share)[1], 0.75 * x[1] + 0.25 * x[0])


# --- Thresholds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: losses.fixmatch(few.LABELED, few.CLASSES, weak=few.WEAK, strong=few.WEAK, threshold=few.THREE,
                           unlabeled_weight=1.0), ['(3,)', '(4,)']),
  (lambda: losses.confident(few.WEAK, few.WEAK[:, :1]), ['(4, 1)', '(4,)']),
])
def test_thresholds_of_another_shape_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
