"""iSogCLR: the loss against its twin, limits, and what the objective remembers of each example."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.models.vit import vit
from pretrain.objectives.dcl import dcl_loss
from pretrain.objectives.isogclr import isogclr as objective
from pretrain.objectives.isogclr import isogclr_loss
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import isogclr as twin
from tests.reference import numeric

isogclr = jax.jit(isogclr_loss)


def positive(seed: int, n: int, low: float, high: float):
  return np.random.default_rng(seed).uniform(low, high, n).astype(np.float32)


def value_only(f, **kwargs):
  return lambda *arrays: f(*arrays, **kwargs)[0]


@pytest.mark.parametrize(('b', 'd', 'rho', 'rate'), [(2, 3, 0.4, 0.8), (5, 4, 0.0, 0.3), (8, 16, 6.0, 1.0)])
def test_value_averages_and_slopes_equal_the_twins(b, d, rho, rate):
  z1, z2 = normal(b, b, d, scale=3), normal(b + 100, b, d)
  average, temperature = positive(b, b, 0.1, 9), positive(b + 1, b, 0.05, 1)
  average[0] = 0  # not met yet
  value, new = isogclr(z1, z2, average=average, temperature=temperature, rho=rho, average_rate=rate)
  wanted, averages, slopes = twin.isogclr(z1, z2, average, temperature, rho, rate)
  assert value.shape == () and value.dtype == jnp.float32
  assert_close(value, wanted, rtol=2e-5)
  assert_close(new['average'], averages, rtol=2e-5)
  assert_close(new['temperature_gradient'], slopes, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_value_over_the_rate():
  z1, z2, temperature = normal(0, 3, 4), normal(1, 3, 4), positive(2, 3, 0.1, 1)
  for average, rate in ((np.zeros(3, np.float32), 0.3), (positive(3, 3, 0.5, 2), 1.0)):  # rate 1, both
    options = dict(average=average, temperature=temperature, rho=0.4, average_rate=rate)
    assert_gradient(value_only(isogclr_loss, **options), value_only(twin.isogclr, **options), z1, z2)
  options['average_rate'] = 0.3
  gradient = jax.grad(value_only(isogclr_loss, **options))(z1, z2)
  wanted = numeric.gradient(lambda x: twin.isogclr(x, z2, **options)[0], z1) / 0.3
  assert_close(gradient, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_the_slope_is_the_derivative_in_the_temperature():
  z1, z2, temperature = normal(0, 4, 5), normal(1, 4, 5), positive(2, 4, 0.1, 1)
  _, new = isogclr(z1, z2, average=np.zeros(4, np.float32), temperature=temperature, rho=0.4, average_rate=1.0)
  mean = lambda t: twin.isogclr(z1, z2, np.zeros(4), t, 0.4, 1.0)[0]
  assert_close(new['temperature_gradient'], 4 * numeric.gradient(mean, temperature), rtol=1e-4, atol=1e-5)


def test_with_one_temperature_and_no_memory_it_is_the_temperature_times_dcl():
  z1, z2, nothing = normal(0, 6, 5), normal(1, 6, 5), np.zeros(6, np.float32)
  for t in (0.1, 0.5):
    got = isogclr(z1, z2, average=nothing, temperature=np.full(6, t, np.float32), rho=0.3, average_rate=0.5)[0]
    assert_close(got, t * (dcl_loss(z1, z2, temperature=t) - np.log(10) + 0.3), rtol=1e-4)
    gradient = jax.grad(lambda z, t=t: isogclr_loss(z, z2, average=nothing, temperature=jnp.full(6, t), rho=0.3,
                                                    average_rate=0.5)[0])(z1)
    assert_close(gradient, t * jax.grad(dcl_loss)(z1, z2, temperature=t), rtol=1e-4, atol=1e-6)


def test_the_slope_is_rho_less_the_divergence_of_the_weights_from_uniform():
  z1, z2 = normal(0, 5, 4), normal(1, 5, 4)
  for t in (0.05, 0.3):
    _, new = isogclr(z1, z2, average=np.zeros(5, np.float32), temperature=np.full(5, t, np.float32), rho=0.7,
                     average_rate=1.0)
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    divergence = np.zeros(5)
    for i, row in enumerate(z @ z.T / t):
      row = np.delete(row, [i, (i + 5) % 10])
      w = np.exp(row - row.max())
      w /= w.sum()
      divergence[i % 5] += (w * np.log(np.maximum(w, 1e-300) * len(w))).sum() / 2
    assert_close(new['temperature_gradient'], 0.7 - divergence, rtol=1e-4, atol=1e-5)


def test_isogclr_is_finite_and_refuses_other_shapes():
  one = np.ones((3, 4), np.float32)
  options = dict(average=np.zeros(3, np.float32), temperature=np.full(3, 0.05, np.float32), rho=0.4, average_rate=0.8)
  assert_finite(value_only(partial(isogclr_loss, **options)), (one, one), (one, -one), (0 * one, one))
  with pytest.raises(ValueError, match='isogclr'):
    isogclr_loss(one, one, average=np.zeros(2), temperature=np.ones(3), rho=0.4, average_rate=0.8)
  with pytest.raises(ValueError, match='b >= 2'):
    isogclr_loss(one[:1], one[:1], average=np.zeros(1), temperature=np.ones(1), rho=0.4, average_rate=0.8)


def test_only_the_rows_of_the_batch_are_remembered():
  backbone = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  made = objective(backbone, hidden=(16,), dim=8, temperature=0.1, temperature_range=(0.05, 1.0), temperature_rate=0.5,
                   gradient_rate=0.5, rho=0.4, average_rate=0.8, examples=20)
  params, memory = made.init(jax.random.key(0))
  views = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 2, 8, 8, 1)), jnp.float32)
  at = jnp.array([7, 3, 19, 0])
  _, (carry, metrics) = made.loss(params, memory, {'views': views, 'index': at}, jax.random.key(1), 0)
  _, after = made.update(params, memory, carry, 0)
  assert_close(metrics['temperature'], 0.1)
  others = np.setdiff1d(np.arange(20), at)
  for name in ('average', 'velocity', 'temperature'):
    np.testing.assert_array_equal(after[name][others], memory[name][others])
    assert np.all(after[name][at] != memory[name][at]), name
  assert np.all(after['temperature'] >= 0.05) and np.all(after['temperature'] <= 1)
  z = made.halves[0](params, memory, {'views': views, 'index': at}, jax.random.key(1), 0)[0]
  assert z.shape == (4, 2, 16)
  with pytest.raises(ValueError, match='temperature_range'):
    objective(backbone, hidden=(16,), dim=8, temperature=0.1, temperature_range=(0.2, 1.0), temperature_rate=0.5,
              gradient_rate=0.5, rho=0.4, average_rate=0.8, examples=20)
