"""Cross-entropies against their twins in float64: value and gradient, points by hand, limits, extremes."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import supervised as supervised_twin

cross_entropy, soft_cross_entropy = jax.jit(losses.cross_entropy), jax.jit(losses.soft_cross_entropy)


@pytest.mark.parametrize(('b', 'k', 'scale'), [(1, 2, 1.0), (5, 10, 5.0), (7, 3, 0.1)])
def test_cross_entropy_equals_twin(b, k, scale):
  logits = normal(b, b, k, scale=scale)
  label = np.random.default_rng(k).integers(0, k, b, np.int32)
  result = cross_entropy(logits, label)
  assert result.shape == (b,) and result.dtype == jnp.float32
  assert_close(result, supervised_twin.cross_entropy(logits, label))
  one_hot = np.eye(k, dtype=np.float32)[label]
  assert_close(soft_cross_entropy(one_hot, logits), supervised_twin.cross_entropy(logits, label))


@pytest.mark.parametrize('shape', [(4,), (2, 5), (2, 3, 4)])
def test_soft_cross_entropy_equals_twin(shape):
  probabilities = np.random.default_rng(0).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)
  logits = normal(1, *shape, scale=4)
  result = soft_cross_entropy(probabilities, logits)
  assert result.shape == shape[:-1]
  assert_close(result, supervised_twin.soft_cross_entropy(probabilities, logits))


def test_cross_entropy_gradient():
  weights, label = normal(0, 3), np.array([2, 0, 3])
  assert_gradient(
    lambda logits: weights @ cross_entropy(logits, label),
    lambda logits: weights @ supervised_twin.cross_entropy(logits, label),
    normal(1, 3, 4),
  )
  probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 3).astype(np.float32)
  assert_gradient(
    lambda logits: weights @ soft_cross_entropy(probabilities, logits),
    lambda logits: weights @ supervised_twin.soft_cross_entropy(probabilities, logits),
    normal(1, 3, 4),
  )


def test_cross_entropy_by_hand():
  uniform = np.full((2, 7), 3, np.float32)
  assert_close(cross_entropy(uniform, np.array([0, 6])), np.log([7, 7]))
  logits = np.log(np.array([[1, 2, 5]], np.float32))  # probabilities 1/8, 2/8, 5/8
  assert_close(cross_entropy(logits, np.array([1])), [math.log(4)])
  half = np.array([[0.5, 0.5, 0]], np.float32)
  assert_close(soft_cross_entropy(half, logits), [(math.log(8) + math.log(4)) / 2])
  # the least that the soft cross-entropy can be is the entropy of its target
  assert_close(soft_cross_entropy(half, np.array([[0, 0, -1e3]], np.float32)), [math.log(2)])
  # not normalised again: twice the target is twice the loss
  assert_close(soft_cross_entropy(2 * half, logits), [math.log(8) + math.log(4)])


def test_cross_entropy_invariances():
  logits, label, order = normal(0, 4, 5), np.array([0, 4, 2, 2]), np.array([4, 2, 0, 1, 3])
  loss = cross_entropy(logits, label)
  assert_close(cross_entropy(logits + normal(1, 4, 1), label), loss)
  assert_close(cross_entropy(logits[:, order], np.argsort(order)[label]), loss)
  assert_close(cross_entropy(logits[::-1], label[::-1]), loss[::-1])


def test_cross_entropy_is_stable():
  logits, label = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0]], np.float32), np.array([0, 1])
  assert_close(cross_entropy(logits, label), [0, 2e4])
  assert_close(soft_cross_entropy(np.eye(3, dtype=np.float32)[:2], logits), [0, 2e4])
  assert_finite(lambda x: cross_entropy(x, label).mean(), (logits,))
  assert_finite(lambda x: soft_cross_entropy(np.eye(3, dtype=np.float32)[:2], x).mean(), (logits,))


@pytest.mark.parametrize('call', [
  lambda: cross_entropy(normal(0, 3, 4), np.zeros(2, int)),
  lambda: soft_cross_entropy(normal(0, 3, 4), normal(1, 3, 5)),
])
def test_sizes_that_do_not_fit_are_refused(call):
  with pytest.raises((ValueError, TypeError)):
    call()


@pytest.mark.parametrize('call', [
    lambda: losses.cross_entropy(jnp.zeros((3, 4)), jnp.zeros(1, int)),
    lambda: losses.soft_cross_entropy(jnp.ones((1, 4)) / 4, jnp.zeros((3, 4))),
])
def test_a_shape_that_would_broadcast_is_an_error(call):
  with pytest.raises(ValueError, match='wants equal shapes'):
    call()
