"""How tests compare a loss with its slow twin: values, gradients, and points that must stay finite."""
import jax
import numpy as np

from tests.reference import numeric


def normal(seed: int, *shape: int, scale: float = 1.0):
  """Standard normal numbers times `scale`, float32: what both the loss and its twin are given."""
  return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def assert_close(got, wanted, rtol: float = 1e-5, atol: float = 1e-6):
  assert np.all(np.isfinite(np.asarray(got, np.float64)))
  np.testing.assert_allclose(np.asarray(got, np.float64), wanted, rtol=rtol, atol=atol)


def assert_gradient(loss, twin, *arrays):
  """The jitted gradient of `loss` in all arrays equals the finite differences of `twin`, to 1e-4 of the largest."""
  gradients = jax.jit(jax.grad(loss, argnums=tuple(range(len(arrays)))))(*arrays)
  for position, gradient in enumerate(gradients):
    wanted = numeric.gradient(lambda x, at=position: twin(*arrays[:at], x, *arrays[at + 1:]), arrays[position])
    assert np.abs(wanted).max() > 1e-4, 'the point has no gradient to compare'
    assert_close(gradient, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def assert_finite(loss, *points):
  """At each point, a tuple of arrays, the value and the gradient in all arrays have no nan and no infinity."""
  compiled = jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(points[0])))))
  for point in points:
    value, gradients = compiled(*point)
    for array in (value, *gradients):
      assert np.all(np.isfinite(np.asarray(array)))
