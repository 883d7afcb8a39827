"""Losses towards a teacher, of spreading and of hidden patches that papers share, against their twins in float64.

DINO's is in test_losses.py. Tolerances as there: values to 1e-5, gradients to 1e-4 of their largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import Loss, assert_close, basis, check_invariances_of_patches, check_loss, normal, rotation
from tests.reference import koleo as koleo_twin
from tests.reference import smooth_l1 as smooth_l1_twin

# Compiled, as in a training step; temperatures and betas are traced.
koleo, hidden_mean = jax.jit(losses.koleo), jax.jit(losses.hidden_mean)
smooth_l1, masked_mse = jax.jit(losses.smooth_l1), jax.jit(losses.masked_mse)

EQUAL, ZERO = np.tile(normal(0, 1, 8), (4, 1)), np.zeros((4, 8), np.float32)
X, Y = normal(1, 4, 8), normal(2, 4, 8)
DEAD = X * (np.arange(4) > 0)[:, None].astype(np.float32)  # one row of zeros
TWICE = np.concatenate([X[:2], X[:2]])
ONE = np.array([[1, 0, 0], [0, 0, 0]], bool)
FAR = normal(0, 2, 3, 4, scale=1e4), normal(1, 2, 3, 4, scale=1e4)


def hidden(seed: int, b: int, n: int):
  """A mask that hides different numbers of patches of the images, at least one."""
  mask = np.random.default_rng(seed).random((b, n)) < 0.5
  mask[0, -1] = True
  return mask


KOLEO = Loss(koleo, koleo_twin.koleo, [
    (normal(0, 2, 3),), (normal(1, 6, 4, scale=3),), (1 + normal(2, 5, 3, scale=0.1),)],  # close together
             moving=(0,), extremes=[(x,) for x in (1e4 * X, 1e-4 * X, EQUAL, ZERO, DEAD, TWICE,
                                                   TWICE * np.sign(Y[:, :1]))],
             refused=[((X[:1],), ['(1, 8)']), ((normal(0, 4, 2, 3),), ['(4, 2, 3)'])])
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
