"""Errors of hidden patches and standardised targets against twins in float64: gradients, points by hand, limits."""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import mae as mae_twin

masked_mse, standardize_patches = jax.jit(losses.masked_mse), jax.jit(losses.standardize_patches)


@pytest.mark.parametrize(('b', 'n', 'p'), [(1, 2, 1), (3, 9, 4), (4, 16, 12)])
def test_masked_mse_equals_twin(b, n, p):
  predicted, target = normal(b, b, n, p), normal(n, b, n, p, scale=2)
  mask = np.random.default_rng(p).random((b, n)) < 0.6  # uneven: rows hide different numbers of patches
  mask[0, 0] = True
  loss = masked_mse(predicted, target, mask=mask)
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, mae_twin.masked_mse(predicted, target, mask))


def test_masked_mse_gradient():
  mask = np.array([[True, False, True], [False, False, True]])
  assert_gradient(
    partial(masked_mse, mask=mask), partial(mae_twin.masked_mse, mask=mask), normal(0, 2, 3, 4),
    normal(1, 2, 3, 4),
  )
  gradient = jax.grad(masked_mse)(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=mask)
  assert np.all(np.asarray(gradient)[~mask] == 0) and np.all(np.asarray(gradient)[mask] != 0)


def test_masked_mse_by_hand():
  predicted = np.array([[[1, 3], [9, 9]], [[0, 0], [0, 2]]], np.float32)
  target = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]], np.float32)
  mask = np.array([[True, False], [True, True]])
  assert_close(masked_mse(predicted, target, mask=mask), (2 + 1 + 2) / 3)  # by patch, not by image: (2 + 1.5) / 2


def test_masked_mse_limits_and_invariances():
  predicted, target = normal(0, 3, 4, 5), normal(1, 3, 4, 5)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]], bool)
  loss = masked_mse(predicted, target, mask=mask)
  everything = masked_mse(predicted, target, mask=np.ones((3, 4), bool))
  assert_close(everything, np.mean((predicted - target) ** 2))
  assert_close(masked_mse(target, target, mask=mask), 0, atol=0)
  elsewhere = predicted + 100 * ~mask[..., None]  # what is visible does not matter
  assert_close(masked_mse(elsewhere.astype(np.float32), target, mask=mask), loss)
  order = np.array([2, 0, 3, 1])
  assert_close(masked_mse(predicted[:, order], target[:, order], mask=mask[:, order]), loss)
  assert_close(masked_mse(3 * predicted, 3 * target, mask=mask), 9 * loss)
  assert_close(masked_mse(predicted + 1, target + 1, mask=mask), loss, rtol=1e-4)
  assert_close(masked_mse(target, predicted, mask=mask), loss)
  assert_finite(partial(masked_mse, mask=mask), (1e4 * predicted, -1e4 * target))


@pytest.mark.parametrize(('b', 'n', 'p'), [(1, 1, 2), (2, 3, 12), (2, 4, 48)])
def test_standardize_patches_equals_twin(b, n, p):
  patches = np.random.default_rng(p).random((b, n, p)).astype(np.float32)
  result = standardize_patches(patches)
  assert result.shape == (b, n, p) and result.dtype == jnp.float32
  assert_close(result, mae_twin.standardize_patches(patches), atol=1e-5)


def test_standardize_patches_gradient():
  weights = normal(0, 1, 2, 3)
  assert_gradient(
    lambda x: (weights * standardize_patches(x)).sum(),
    lambda x: (weights * mae_twin.standardize_patches(x)).sum(),
    normal(1, 1, 2, 3),
  )


def test_standardize_patches_by_hand():
  patches = np.array([[[1, 3], [-2, 2], [5, 5]]], np.float32)  # unbiased variances 2, 8 and 0
  side = math.sqrt(1 / 2)  # the biased variance would give 1
  assert_close(standardize_patches(patches), [[[-side, side], [-side, side], [0, 0]]], rtol=1e-5)
  small = np.array([[[0, 1e-3]]], np.float32)  # variance 5e-7: the 1e-6 under the root counts
  assert_close(standardize_patches(small), [[[-5e-4 / math.sqrt(1.5e-6), 5e-4 / math.sqrt(1.5e-6)]]])


def test_standardize_patches_invariances():
  patches = normal(0, 2, 3, 8, scale=10)
  result = standardize_patches(patches)
  assert_close(result.mean(-1), np.zeros((2, 3)))
  assert_close(np.asarray(result).std(-1, ddof=1), np.ones((2, 3)))
  assert_close(standardize_patches(4 * patches + 7), result, atol=1e-5)
  assert_close(standardize_patches(patches + 1e4), result, atol=1e-2)  # float32 holds 1e4 to 1e-3
  flat = np.full((2, 3, 8), 0.5, np.float32)
  assert_finite(lambda x: standardize_patches(x)[..., 0].sum(), (flat,), (1e4 * patches,))


@pytest.mark.parametrize('call', [
  lambda: masked_mse(normal(0, 2, 3, 4), normal(1, 2, 3, 5), mask=np.ones((2, 3), bool)),
  lambda: masked_mse(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=np.ones((2, 5), bool)),
])
def test_sizes_that_do_not_fit_are_refused(call):
  with pytest.raises((ValueError, TypeError)):
    call()


@pytest.mark.parametrize('call', [
    lambda: losses.masked_mse(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 1)), mask=jnp.ones((2, 3), bool)),
    lambda: losses.masked_mse(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)), mask=jnp.ones((1, 3), bool)),
])
def test_a_shape_that_would_broadcast_is_an_error(call):
  with pytest.raises(ValueError, match='wants equal shapes'):
    call()
