"""Losses of few labels that papers share, but FixMatch's: against their twins in float64, by hand, limits, extremes.

FixMatch's are in test_losses.py. Tolerances as there: values to 1e-5, gradients to 1e-4 of their largest element.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.pseudo_label import pseudo_label_loss
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, in_order, normal, value_of
from tests.reference import mixmatch as mixmatch_twin
from tests.reference import uda as uda_twin
from tests.reference.align import align as align_twin

uda, align = jax.jit(losses.uda), jax.jit(losses.align)

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
               losses.fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=2.0)[0])  # cold: pseudo-labels
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
