"""Losses towards a teacher, of spreading and of hidden patches that papers share, against their twins in float64."""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import (
  DEAD,
  SAME,
  Z1,
  Z2,
  ZERO,
  Loss,
  assert_close,
  assert_finite,
  assert_gradient,
  basis,
  check_invariances_of_patches,
  check_loss,
  normal,
  rotation,
)
from tests.reference import dino as dino_twin
from tests.reference import koleo as koleo_twin
from tests.reference import smooth_l1 as smooth_l1_twin
from tests.reference import supervised as supervised_twin

# Compiled, as in a training step; temperatures and betas are traced.
koleo, hidden_mean = jax.jit(losses.koleo), jax.jit(losses.hidden_mean)
smooth_l1, masked_mse, dino = map(jax.jit, (losses.smooth_l1, losses.masked_mse, losses.dino))

TWICE = np.concatenate([Z1[:2], Z1[:2]])
ONE = np.array([[1, 0, 0], [0, 0, 0]], bool)
FAR = normal(0, 2, 3, 4, scale=1e4), normal(1, 2, 3, 4, scale=1e4)


def hidden(seed: int, b: int, n: int):
  """A mask that hides different numbers of patches of the images, at least one."""
  mask = np.random.default_rng(seed).random((b, n)) < 0.5
  mask[0, -1] = True
  return mask


KOLEO = Loss(koleo, koleo_twin.koleo, [
    (normal(0, 2, 3),), (normal(1, 6, 4, scale=3),), (1 + normal(2, 5, 3, scale=0.1),)],  # close together
             moving=(0,), extremes=[(x,) for x in (1e4 * Z1, 1e-4 * Z1, SAME, ZERO, DEAD, TWICE,
                                                   TWICE * np.sign(Z2[:, :1]))],
             refused=[((Z1[:1],), ['(1, 8)']), ((normal(0, 4, 2, 3),), ['(4, 2, 3)'])])
SMOOTH_L1 = Loss(
    smooth_l1, smooth_l1_twin.smooth_l1, [
        (normal(0, 1, 2, 3), normal(1, 1, 2, 3), hidden(2, 1, 2), 1.0),
        (normal(3, 3, 4, 2), normal(4, 3, 4, 2), hidden(5, 3, 4), 2.0),
        (normal(6, 2, 3, 4), normal(7, 2, 3, 4), hidden(8, 2, 3), 0.25)],
    extremes=[(*FAR, ONE, 1e-3), (FAR[0], FAR[0], ONE, 1e-3), (1e-4 * FAR[0], 0 * FAR[0], ONE, 1e-3)], refused=[
        ((normal(0, 2, 3, 4), normal(1, 2, 3, 1), np.ones((2, 3), bool), 1.0), ['(2, 3, 4)', '(2, 3, 1)']),
        ((normal(0, 2, 3, 4), normal(1, 2, 3, 4), np.ones((2, 1), bool), 1.0), ['(2, 3)', '(2, 1)'])])


@pytest.mark.parametrize('loss', [KOLEO, SMOOTH_L1], ids=['koleo', 'smooth_l1'])
def test_losses(loss):
  check_loss(loss)


def at(student: float, teacher: float) -> dict:
  """The temperatures of a loss towards a teacher."""
  return dict(student_temperature=student, teacher_temperature=teacher)


# --- DINO ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('g', 'v', 'b', 'k', 'hot', 'cold'), [
  (2, 2, 3, 4, 0.1, 0.04), (2, 5, 2, 6, 0.1, 0.07), (1, 3, 4, 3, 1.0, 1.0), (3, 4, 1, 5, 0.5, 0.2),
])
def test_dino_equals_twin(g, v, b, k, hot, cold):
  student, teacher, center = normal(v, v, b, k, scale=0.3), normal(g, g, b, k, scale=0.3), normal(k, k, scale=0.2)
  loss = dino(student, teacher, center=center, **at(hot, cold))
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, dino_twin.dino(student, teacher, center, hot, cold))


def test_dino_gradient():
  student, teacher, center = normal(0, 3, 2, 4, scale=0.3), normal(1, 2, 2, 4, scale=0.3), normal(2, 4, scale=0.1)
  assert_gradient(
    lambda x: dino(x, teacher, center=center, **at(0.1, 0.05)), lambda x: dino_twin.dino(x, teacher, center, 0.1, 0.05),
    student,
  )
  to_teacher = jax.grad(dino, argnums=1)(student, teacher, center=center, **at(0.1, 0.05))
  assert np.all(np.asarray(to_teacher) == 0)


def test_dino_by_hand():
  k = 6
  flat = np.zeros((2, 3, k), np.float32)
  assert_close(dino(normal(0, 2, 1, 1, scale=5) + flat, flat, center=flat[0, 0], **at(0.1, 0.04)), math.log(k))
  # algorithm 1, two views: H(t1, s2) / 2 + H(t2, s1) / 2, and never H(t1, s1)
  student = np.log(np.array([[[1, 3]], [[1, 1]]], np.float32))  # probabilities 1/4, 3/4 and 1/2, 1/2
  teacher = np.log(np.array([[[9, 1]], [[1, 4]]], np.float32))  # 9/10, 1/10 and 1/5, 4/5
  second_first = -(0.2 * math.log(1 / 4) + 0.8 * math.log(3 / 4))
  zero = np.zeros(2, np.float32)
  assert_close(dino(student, teacher, center=zero, **at(1.0, 1.0)), (math.log(2) + second_first) / 2)
  # a center of log(9), 0 makes the first teacher view 1/2, 1/2 and the second 1/37, 36/37
  centered = -(math.log(1 / 4) + 36 * math.log(3 / 4)) / 37
  center = np.log(np.array([9, 1], np.float32))
  assert_close(dino(student, teacher, center=center, **at(1.0, 1.0)), (math.log(2) + centered) / 2)
  # temperatures: a half squares the probabilities before they are normalised
  hot = -(math.log(1 / 10) + 16 * math.log(9 / 10)) / 17
  assert_close(dino(student, teacher, center=zero, **at(0.5, 0.5)), (math.log(2) + hot) / 2)


def test_dino_limits():
  student, teacher, center = normal(0, 4, 3, 5), normal(1, 2, 3, 5), np.zeros(5, np.float32)
  # a cold teacher is one-hot: the cross-entropy of its largest class
  wanted = []
  for i in range(2):
    for j in range(4):
      if i != j:
        wanted.append(supervised_twin.cross_entropy(student[j] / 0.1, teacher[i].argmax(-1)).mean())
  assert_close(dino(student, teacher, center=center, **at(0.1, 1e-4)), np.mean(wanted))
  assert_close(dino(student, teacher, center=center, **at(1e4, 0.04)), math.log(5), rtol=1e-3)
  # one teacher view that agrees with the student's others: the entropy of the teacher
  views = np.tile(student[:1], (3, 1, 1))
  entropy = supervised_twin.soft_cross_entropy(np.exp(jax.nn.log_softmax(student[0])), student[0]).mean()
  assert_close(dino(views, views[:1], center=center, **at(1.0, 1.0)), entropy)


def test_dino_invariances():
  student, teacher, center = normal(0, 4, 3, 5), normal(1, 2, 3, 5), normal(2, 5)
  loss = dino(student, teacher, center=center, **at(0.5, 0.25))
  examples, classes = np.array([2, 0, 1]), np.array([4, 2, 0, 3, 1])
  assert_close(dino(student[[1, 0, 2, 3]], teacher[::-1], center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[[0, 1, 3, 2]], teacher, center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[:, examples], teacher[:, examples], center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[..., classes], teacher[..., classes], center=center[classes], **at(0.5, 0.25)), loss)
  assert_close(dino(student + normal(3, 4, 3, 1), teacher + normal(4, 2, 3, 1), center=center, **at(0.5, 0.25)), loss)
  move = normal(5, 5)
  assert_close(dino(student, teacher + move, center=center + move, **at(0.5, 0.25)), loss)
  assert_close(dino(2 * student, 2 * teacher, center=2 * center, **at(1.0, 0.5)), loss)
  # what is not invariant
  assert abs(dino(student, teacher[::-1], center=center, **at(0.5, 0.25)) - loss) > 1e-2
  assert abs(dino(student[[2, 1, 0, 3]], teacher, center=center, **at(0.5, 0.25)) - loss) > 1e-2
  assert abs(dino(student + move, teacher, center=center, **at(0.5, 0.25)) - loss) > 1e-2


def test_dino_is_stable():
  student, teacher, center = normal(0, 3, 2, 4, scale=1e4), normal(1, 2, 2, 4, scale=1e4), normal(2, 4, scale=1e4)
  assert_finite(lambda x: dino(x, teacher, center=center, **at(0.01, 0.01)), (student,))
  loss = dino(student, teacher, center=center, **at(0.01, 0.01))  # about 1e6
  assert_close(loss, dino_twin.dino(student, teacher, center, 0.01, 0.01))


@pytest.mark.parametrize('call', [
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 3, 4), center=normal(2, 4), **at(0.1, 0.1)),
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 2, 4), center=normal(2, 5), **at(0.1, 0.1)),
])
def test_sizes_that_do_not_fit_are_refused(call):
  with pytest.raises((ValueError, TypeError)):
    call()


def test_a_shape_that_would_broadcast_is_an_error():
  with pytest.raises(ValueError, match='wants equal shapes'):
    losses.dino(jnp.zeros((2, 3, 4)), jnp.zeros((2, 1, 4)), center=jnp.zeros(4), **at(0.1, 0.1))


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


# --- Hidden patches --------------------------------------------------------------------------------------------------

def test_hidden_mean_by_hand():
  values = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
  mask = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
  assert_close(hidden_mean(values, mask), (2 + 0 + 8) / 3)
  assert_close(hidden_mean(values, ~mask), (2 + 5 + 8) / 3)
  assert_close(hidden_mean(values, mask & False), 0, atol=0)
  half = jnp.asarray([[1, 1 + 1 / 128, 1 + 1 / 128]], jnp.bfloat16)  # neighbours in bfloat16, their mean is none
  assert_close(hidden_mean(half, np.ones((1, 3), bool)), 1 + 1 / 192)
  with pytest.raises(ValueError) as error:
    hidden_mean(normal(0, 2, 3), np.ones((1, 3), bool))
  assert '(2, 3)' in str(error.value) and '(1, 3)' in str(error.value)


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


def test_smooth_l1_limits_and_invariances():
  predicted, target = normal(0, 3, 4, 5), normal(1, 3, 4, 5)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]], bool)
  assert_close(1e4 * smooth_l1(predicted, target, mask=mask, beta=1e4), masked_mse(predicted, target, mask=mask) / 2)
  check_invariances_of_patches(partial(smooth_l1, beta=0.5), predicted, target, mask)
