"""Losses towards a teacher, of spreading and of hidden patches against their twins in float64, points by hand, limits.

Tolerances as in test_losses.py: values to 1e-5, gradients to 1e-4 of their largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.byol import byol_loss
from pretrain.objectives.ibot import ibot_loss
from pretrain.objectives.simmim import masked_l1 as of_simmim
from pretrain.objectives.simsiam import simsiam_loss
from tests.checks import (
  assert_close,
  assert_finite,
  assert_gradient_in,
  assert_half_precision,
  basis,
  in_order,
  normal,
  rotation,
)
from tests.reference import byol as byol_twin
from tests.reference import ibot as ibot_twin
from tests.reference import koleo as koleo_twin
from tests.reference import simmim as simmim_twin
from tests.reference import simsiam as simsiam_twin
from tests.reference import smooth_l1 as smooth_l1_twin

# Compiled, as in a training step; temperatures and betas are traced.
byol, simsiam, koleo = jax.jit(byol_loss), jax.jit(simsiam_loss), jax.jit(losses.koleo)
ibot, dino, hidden_mean = jax.jit(ibot_loss), jax.jit(losses.dino), jax.jit(losses.hidden_mean)
smooth_l1, masked_l1, masked_mse = jax.jit(losses.smooth_l1), jax.jit(of_simmim), jax.jit(losses.masked_mse)


def at(student: float, teacher: float) -> dict:
  """The temperatures of a loss towards a teacher."""
  return dict(student_temperature=student, teacher_temperature=teacher)


def hidden(seed: int, b: int, n: int):
  """A mask that hides different numbers of patches of the images, at least one."""
  mask = np.random.default_rng(seed).random((b, n)) < 0.5
  mask[0, -1] = True
  return mask


# (loss, twin, the arguments it is differentiated in, all arguments); the other float arrays are constants.
POINTS = [
  (byol, byol_twin.byol, (0,), (normal(0, 1, 3), normal(1, 1, 3))),
  (byol, byol_twin.byol, (0,), (normal(2, 4, 6, scale=3), normal(3, 4, 6, scale=0.1))),
  (simsiam, simsiam_twin.simsiam, (0, 2), (normal(0, 2, 3), normal(1, 2, 3), normal(2, 2, 3), normal(3, 2, 3))),
  (simsiam, simsiam_twin.simsiam, (0, 2),
   (normal(4, 4, 6, scale=3), normal(5, 4, 6), normal(6, 4, 6), normal(7, 4, 6, scale=0.1))),
  (koleo, koleo_twin.koleo, (0,), (normal(0, 2, 3),)),
  (koleo, koleo_twin.koleo, (0,), (normal(1, 6, 4, scale=3),)),
  (koleo, koleo_twin.koleo, (0,), (1 + normal(2, 5, 3, scale=0.1),)),  # close together
  (ibot, ibot_twin.ibot, (0,), (normal(0, 2, 3, 4), normal(1, 2, 3, 4), hidden(2, 2, 3), normal(3, 4), 1.0, 0.5)),
  (ibot, ibot_twin.ibot, (0,), (normal(4, 3, 4, 3, scale=0.3), normal(5, 3, 4, 3, scale=0.3),
                                np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool), normal(6, 3, scale=0.1),
                                0.1, 0.05)),
  (smooth_l1, smooth_l1_twin.smooth_l1, (0, 1), (normal(0, 1, 2, 3), normal(1, 1, 2, 3), hidden(2, 1, 2), 1.0)),
  (smooth_l1, smooth_l1_twin.smooth_l1, (0, 1), (normal(3, 3, 4, 2), normal(4, 3, 4, 2), hidden(5, 3, 4), 2.0)),
  (smooth_l1, smooth_l1_twin.smooth_l1, (0, 1), (normal(6, 2, 3, 4), normal(7, 2, 3, 4), hidden(8, 2, 3), 0.25)),
  (masked_l1, simmim_twin.masked_l1, (0, 1), (normal(0, 1, 2, 3), normal(1, 1, 2, 3), hidden(2, 1, 2))),
  (masked_l1, simmim_twin.masked_l1, (0, 1), (normal(3, 3, 4, 2, scale=3), normal(4, 3, 4, 2), hidden(5, 3, 4))),
]
at_points = pytest.mark.parametrize(('loss', 'twin', 'moving', 'arguments'),
                                    [(in_order(loss), *rest) for loss, *rest in POINTS])


@at_points
def test_equals_twin(loss, twin, moving, arguments):
  del moving
  result = loss(*arguments)
  assert result.shape == () and result.dtype == jnp.float32
  assert_close(result, twin(*arguments))


@at_points
def test_gradient(loss, twin, moving, arguments):
  assert_gradient_in(moving, loss, twin, *arguments)


@at_points
def test_half_precision(loss, twin, moving, arguments):
  del moving
  assert_half_precision(loss, twin, *arguments)


# --- BYOL and SimSiam ----------------------------------------------------------------------------------------------


def test_byol_by_hand():
  z = normal(0, 4, 6)
  assert_close(byol(z, z), 0)
  assert_close(byol(z, -z), 4)
  assert_close(byol(basis(3), basis(3)[[1, 2, 0]]), 2)
  assert_close(byol(np.array([[3, 4]], np.float32), np.array([[2, 0]], np.float32)), 2 - 2 * 0.6)
  assert_close(byol(basis(2), np.array([[1, 0], [0, -1]], np.float32)), 2)  # the mean of 0 and 4


def test_byol_invariances():
  prediction, target = normal(0, 4, 6), normal(1, 4, 6)
  loss = byol(prediction, target)
  order, scales, turn = np.array([2, 0, 3, 1]), np.exp(normal(2, 4, 1)), rotation(3, 6)
  assert_close(byol(target, prediction), loss)
  assert_close(byol(prediction[order], target[order]), loss)
  assert_close(byol(scales * prediction, target / scales), loss)
  assert_close(byol(prediction @ turn, target @ turn), loss)
  assert abs(byol(prediction[order], target) - loss) > 1e-2


def test_simsiam_by_hand():
  one, other = basis(3), basis(3)[[1, 2, 0]]
  assert_close(simsiam(one, other, p2=other, z2=one), -1)  # each prediction equals the other view's projection
  assert_close(simsiam(one, one, p2=other, z2=other), 0)
  assert_close(simsiam(one, other, p2=-other, z2=one), 0)  # the mean of -1 and 1
  assert_close(simsiam(-2 * one, other, p2=-other, z2=3 * one), 1)
  p, z = np.array([[3, 4]], np.float32), np.array([[2, 0]], np.float32)
  assert_close(simsiam(p, p, p2=z, z2=z), -(0.6 + 0.6) / 2)
  assert_close(simsiam(p, z, p2=p, z2=p), -(1 + 0.6) / 2)


def test_simsiam_is_byol_of_both_views():
  p1, z1, p2, z2 = (normal(seed, 4, 6) for seed in range(4))
  loss = simsiam(p1, z1, p2=p2, z2=z2)
  assert_close(loss, (byol(p1, z2) + byol(p2, z1)) / 4 - 1)
  assert_close(simsiam(p2, z2, p2=p1, z2=z1), loss)
  assert abs(simsiam(p1, z2, p2=p2, z2=z1) - loss) > 1e-2


# --- KoLeo ---------------------------------------------------------------------------------------------------------


def test_koleo_by_hand():
  assert_close(koleo(basis(4)), -math.log(math.sqrt(2)))
  assert_close(koleo(np.array([[1, 0], [-1, 0]], np.float32)), -math.log(2))  # opposite; itself is no neighbour
  # at angles of 0, 60 and 180 degrees: nearest at chords 1, 1 and sqrt(3)
  angles = np.radians([0, 60, 180])
  points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
  assert_close(koleo(points), -math.log(math.sqrt(3)) / 3)
  equal = basis(3)[[0, 0]]
  assert_close(koleo(equal), -math.log(1e-8), rtol=1e-4)
  assert np.all(np.asarray(jax.grad(koleo)(equal)) == 0)  # no direction to part in


def test_koleo_limits_and_invariances():
  x = normal(0, 6, 5)
  loss = koleo(x)
  assert_close(koleo(x @ rotation(1, 5)), loss)
  assert_close(koleo(x * np.exp(normal(2, 6, 1))), loss)
  assert_close(koleo(x[[3, 0, 5, 1, 4, 2]]), loss)
  nearer = [koleo(np.concatenate([x, x[:1] + distance * basis(5)[:1]])) for distance in (0.3, 0.1, 0.01, 0.001)]
  assert nearer == sorted(nearer) and nearer[3] > nearer[0] + 1
  # small distances are differences of vectors, not of their inner products
  close = np.array([[1, 0], [1, 1e-3]], np.float32)
  assert_close(koleo(close), koleo_twin.koleo(close))
  # down the gradient the nearest pair parts
  step = x - 0.01 * np.asarray(jax.grad(koleo)(x))
  assert koleo_twin.koleo(step) < koleo_twin.koleo(x) - 1e-3


# --- iBOT ----------------------------------------------------------------------------------------------------------


def test_ibot_by_hand():
  student = np.log(np.array([[[1, 3], [1, 1]], [[1, 3], [9, 9]]], np.float32))  # 1/4, 3/4 and 1/2, 1/2
  teacher = np.log(np.array([[[9, 1], [1, 4]], [[1, 1], [1, 1]]], np.float32))  # 9/10, 1/10; 1/5, 4/5; 1/2, 1/2
  zero = np.zeros(2, np.float32)
  first, half = -(0.9 * math.log(1 / 4) + 0.1 * math.log(3 / 4)), -(math.log(1 / 4) + math.log(3 / 4)) / 2
  both = np.array([[1, 1], [1, 0]], bool)  # by image, not by patch
  assert_close(ibot(student, teacher, mask=both, center=zero, **at(1.0, 1.0)), ((first + math.log(2)) / 2 + half) / 2)
  one = np.array([[1, 0], [0, 0]], bool)  # an image without hidden patches counts 0, but is in the mean
  assert_close(ibot(student, teacher, mask=one, center=zero, **at(1.0, 1.0)), first / 2)
  # a center of log(9), 0 makes the teacher's first patch 1/2, 1/2; half a temperature squares the student's odds
  center = np.log(np.array([9, 1], np.float32))
  assert_close(ibot(student, teacher, mask=one, center=center, **at(1.0, 1.0)), half / 2)
  hot = -(math.log(1 / 10) + math.log(9 / 10)) / 2
  assert_close(ibot(student, teacher, mask=one, center=center, **at(0.5, 1.0)), hot / 2)
  cold = -(81 * math.log(1 / 4) + math.log(3 / 4)) / 82
  assert_close(ibot(student, teacher, mask=one, center=zero, **at(1.0, 0.5)), cold / 2)


def test_ibot_limits_and_invariances():
  student, teacher, center = normal(0, 3, 4, 5), normal(1, 3, 4, 5), normal(2, 5)
  mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
  nothing = np.zeros_like(mask)
  assert_close(ibot(student, teacher, mask=nothing, center=center, **at(0.1, 0.05)), 0, atol=0)
  assert np.all(np.asarray(jax.grad(ibot)(student, teacher, mask=nothing, center=center, **at(0.1, 0.05))) == 0)
  # all hidden: DINO's loss with the patches as examples and the student's view of the same image
  patches = np.stack([0 * student, student]).reshape(2, 12, 5)
  everything = ibot(student, teacher, mask=~nothing, center=center, **at(0.5, 0.25))
  assert_close(everything, dino(patches, teacher.reshape(1, 12, 5), center=center, **at(0.5, 0.25)))
  loss = ibot(student, teacher, mask=mask, center=center, **at(0.5, 0.25))
  elsewhere = student + 100 * ~mask[..., None] * normal(3, 3, 4, 5), teacher - 100 * ~mask[..., None]
  assert_close(ibot(*elsewhere, mask=mask, center=center, **at(0.5, 0.25)), loss)
  order = np.array([2, 0, 3, 1])
  assert_close(ibot(student[:, order], teacher[:, order], mask=mask[:, order], center=center, **at(0.5, 0.25)), loss)
  assert_close(ibot(student[::-1], teacher[::-1], mask=mask[::-1], center=center, **at(0.5, 0.25)), loss)
  assert_close(ibot(student[..., ::-1], teacher[..., ::-1], mask=mask, center=center[::-1], **at(0.5, 0.25)), loss)
  assert_close(ibot(student + 3, teacher + normal(4, 3, 4, 1), mask=mask, center=center, **at(0.5, 0.25)), loss)
  assert_close(ibot(student, teacher + center, mask=mask, center=2 * center, **at(0.5, 0.25)), loss)
  assert_close(ibot(student, teacher, mask=mask, center=center, **at(1e4, 0.25)), 2 / 3 * math.log(5), rtol=1e-3)
  gradient = np.asarray(jax.grad(ibot)(student, teacher, mask=mask, center=center, **at(0.5, 0.25)))
  assert np.all(gradient[~mask] == 0) and np.all(gradient[mask] != 0)


def test_hidden_mean_by_hand():
  values = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
  mask = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
  assert_close(hidden_mean(values, mask), (2 + 0 + 8) / 3)
  assert_close(hidden_mean(values, ~mask), (2 + 5 + 8) / 3)
  assert_close(hidden_mean(values, mask & False), 0, atol=0)
  half = jnp.asarray([[1, 1 + 1 / 128, 1 + 1 / 128]], jnp.bfloat16)  # neighbours in bfloat16, their mean is none
  assert_close(hidden_mean(half, np.ones((1, 3), bool)), 1 + 1 / 192)


# --- data2vec and SimMIM -------------------------------------------------------------------------------------------


def test_smooth_l1_by_hand():
  predicted, target = np.array([[[0.5, 7.0]], [[-3.0, 1.0]]], np.float32), np.ones((2, 1, 2), np.float32)
  mask = np.ones((2, 1), bool)  # errors -1/2, 6, -4 and 0
  assert_close(smooth_l1(predicted, target, mask=mask, beta=1.0), (1 / 8 + 5.5 + 3.5 + 0) / 4)
  assert_close(smooth_l1(predicted, target, mask=mask, beta=4.0), (1 / 32 + 4 + 2 + 0) / 4)
  uneven = np.array([[True], [False]])
  assert_close(smooth_l1(predicted, target, mask=uneven, beta=1.0), (1 / 8 + 5.5) / 2)


def test_smooth_l1_is_smooth_at_beta():
  mask, zero = np.ones((1, 1), bool), np.zeros((1, 1, 1), np.float32)
  for beta in (0.5, 2.0):
    value = [smooth_l1(np.float32(beta * side) + zero, zero, mask=mask, beta=beta) for side in (1 - 1e-4, 1, 1 + 1e-4)]
    assert_close(value, np.array([1 / 2 - 1e-4, 1 / 2, 1 / 2 + 1e-4]) * beta)
    slope = [jax.grad(smooth_l1)(np.float32(beta * side) + zero, zero, mask=mask, beta=beta)[0, 0, 0]
             for side in (-2, -1, -0.5, 0, 0.5, 1, 2)]
    assert_close(slope, [-1, -1, -0.5, 0, 0.5, 1, 1])


def test_smooth_l1_and_masked_l1_limits_and_invariances():
  predicted, target = normal(0, 3, 4, 5), normal(1, 3, 4, 5)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]], bool)
  # between half the square and the absolute error
  assert_close(smooth_l1(predicted, target, mask=mask, beta=1e-6), masked_l1(predicted, target, mask=mask))
  assert_close(1e4 * smooth_l1(predicted, target, mask=mask, beta=1e4), masked_mse(predicted, target, mask=mask) / 2)
  for loss in (partial(smooth_l1, beta=0.5), masked_l1):
    value = loss(predicted, target, mask=mask)
    assert_close(loss(target, target, mask=mask), 0, atol=0)
    elsewhere = predicted + 100 * ~mask[..., None]  # what is visible does not matter
    assert_close(loss(elsewhere.astype(np.float32), target, mask=mask), value)
    order = np.array([2, 0, 3, 1])
    assert_close(loss(predicted[:, order], target[:, order], mask=mask[:, order]), value)
    assert_close(loss(predicted.reshape(1, 12, 5), target.reshape(1, 12, 5), mask=mask.reshape(1, 12)), value)
    assert_close(loss(target, predicted, mask=mask), value)
    assert_close(loss(predicted + 1, target + 1, mask=mask), value, rtol=1e-4)
    gradient = np.asarray(jax.grad(loss)(predicted, target, mask=mask))
    assert np.all(gradient[~mask] == 0) and np.all(gradient[mask] != 0)
    assert abs(loss(predicted, target, mask=~mask) - value) > 1e-2
  assert_close(masked_l1(3 * predicted, 3 * target, mask=mask), 3 * masked_l1(predicted, target, mask=mask))


def test_masked_l1_by_hand():
  predicted = np.array([[[1, 3], [9, 9]], [[0, 0], [0, 5]]], np.float32)
  target = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]], np.float32)
  mask = np.array([[True, False], [True, True]])
  assert_close(masked_l1(predicted, target, mask=mask), (0 + 2 + 1 + 1 + 0 + 5) / 6)  # by patch, not by image
  assert_close(masked_l1(predicted, target, mask=~mask), 9)
  gradient = jax.grad(masked_l1)(predicted + 0.5, target, mask=mask)
  assert_close(gradient, np.array([[[1, 1], [0, 0]], [[-1, -1], [1, 1]]]) / 6)


# --- extremes ------------------------------------------------------------------------------------------------------

SAME, ZERO = np.tile(normal(0, 1, 8), (4, 1)), np.zeros((4, 8), np.float32)
X, Y = normal(1, 4, 8), normal(2, 4, 8)
DEAD = X * (np.arange(4) > 0)[:, None].astype(np.float32)  # one row of zeros


def test_byol_simsiam_and_koleo_are_finite():
  points = [(1e4 * X, 1e4 * Y), (1e-4 * X, 1e-4 * Y), (X, X), (X, -X), (SAME, SAME), (ZERO, ZERO), (DEAD, Y), (X, ZERO)]
  assert_finite(byol, *points)
  assert_finite(lambda p, z: simsiam(p, z, p2=z, z2=p), *points)
  twice = np.concatenate([X[:2], X[:2]])
  assert_finite(koleo, *([x] for x in (1e4 * X, 1e-4 * X, SAME, ZERO, DEAD, twice, twice * np.sign(Y[:, :1]))))


def test_losses_of_patches_are_finite():
  mask = np.array([[1, 0, 0], [0, 0, 0]], bool)
  student, teacher, center = normal(0, 2, 3, 4, scale=1e4), normal(1, 2, 3, 4, scale=1e4), normal(2, 4, scale=1e4)
  points = (student,), (0 * student,), (student[:, :1].repeat(3, 1),)
  assert_finite(lambda x: ibot(x, teacher, mask=mask, center=center, **at(0.01, 0.01)), *points)
  assert_close(ibot(student, teacher, mask=mask, center=center, **at(0.01, 0.01)),
               ibot_twin.ibot(student, teacher, mask, center, 0.01, 0.01))  # about 1e6
  pairs = (student, teacher), (student, student), (1e-4 * student, 0 * student)
  assert_finite(partial(smooth_l1, mask=mask, beta=1e-3), *pairs)
  assert_finite(partial(masked_l1, mask=mask), *pairs)


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: byol(X, normal(0, 1, 8)), ['(4, 8)', '(1, 8)']),
  (lambda: byol(X, normal(0, 4, 1)), ['(4, 8)', '(4, 1)']),
  (lambda: simsiam(X, Y, p2=X, z2=normal(0, 1, 8)), ['(4, 8)', '(1, 8)']),
  (lambda: simsiam(X, normal(0, 4, 1), p2=X, z2=Y), ['(4, 8)', '(4, 1)']),
  (lambda: simsiam(X, X, p2=normal(0, 3, 8), z2=Y), ['(4, 8)', '(3, 8)']),
  (lambda: koleo(X[:1]), ['(1, 8)']),
  (lambda: koleo(normal(0, 4, 2, 3)), ['(4, 2, 3)']),
  (lambda: ibot(normal(0, 2, 3, 4), normal(1, 2, 1, 4), mask=np.ones((2, 3), bool), center=normal(2, 4),
                **at(0.1, 0.1)), ['(2, 3, 4)', '(2, 1, 4)']),
  (lambda: ibot(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=np.ones((2, 1), bool), center=normal(2, 4),
                **at(0.1, 0.1)), ['(2, 3)', '(2, 1)']),
  (lambda: hidden_mean(normal(0, 2, 3), np.ones((1, 3), bool)), ['(2, 3)', '(1, 3)']),
  (lambda: smooth_l1(normal(0, 2, 3, 4), normal(1, 2, 3, 1), mask=np.ones((2, 3), bool), beta=1.0),
   ['(2, 3, 4)', '(2, 3, 1)']),
  (lambda: smooth_l1(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=np.ones((2, 1), bool), beta=1.0),
   ['(2, 3)', '(2, 1)']),
  (lambda: masked_l1(normal(0, 2, 3, 4), normal(1, 2, 3, 1), mask=np.ones((2, 3), bool)), ['(2, 3, 4)', '(2, 3, 1)']),
  (lambda: masked_l1(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=np.ones((1, 3), bool)), ['(2, 3)', '(1, 3)']),
])
def test_shapes_that_do_not_fit_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
