"""How tests compare a loss with its slow twin: values, gradients, and points that must stay finite."""
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from tests.reference import numeric


def normal(seed: int, *shape: int, scale: float = 1.0):
  """Standard normal numbers times `scale`, float32: what both the loss and its twin are given."""
  return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def rotation(seed: int, d: int):
  """An orthogonal matrix [d, d], float32."""
  return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0].astype(np.float32)


def basis(d: int):
  """The d unit vectors as rows, float32: similarity 1 with themselves, 0 with each other."""
  return np.eye(d, dtype=np.float32)


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


def is_array(x) -> bool:
  return isinstance(x, np.ndarray) and x.dtype == np.float32


def in_order(loss):
  """`loss` called as its twin is: what it takes by keyword alone follows in the order of its signature."""
  names = [name for name, each in inspect.signature(loss).parameters.items() if each.kind is each.KEYWORD_ONLY]
  return lambda *given: loss(*given[:2], **dict(zip(names, given[2:], strict=False)))


def assert_gradient_in(moving: tuple[int, ...], loss, twin, *arguments):
  """`assert_gradient` in the arguments at the positions `moving`; the gradient is zero in all other arrays of rows.

  A vector among the others, such as a center, is a running mean that nothing differentiates: its gradient is not asked.
  """
  def at(function):
    return lambda *moved: function(*(moved[moving.index(i)] if i in moving else x for i, x in enumerate(arguments)))

  assert_gradient(at(loss), at(twin), *(arguments[i] for i in moving))
  constant = tuple(i for i, x in enumerate(arguments) if is_array(x) and x.ndim > 1 and i not in moving)
  for gradient in jax.grad(loss, constant)(*arguments) if constant else ():
    assert np.all(np.asarray(gradient) == 0)


def assert_half_precision(loss, twin, *arguments):
  """Of bfloat16 arrays the loss is the float32 that the twin gives of the same numbers: nothing is summed in them."""
  halves = [jnp.asarray(x, jnp.bfloat16) if is_array(x) else x for x in arguments]
  result = loss(*halves)
  assert result.dtype == jnp.float32
  assert_close(result, twin(*(np.asarray(h, np.float64) if is_array(x) else x
                              for h, x in zip(halves, arguments, strict=True))))


def assert_finite(loss, *points):
  """At each point, a tuple of arrays, the value and the gradient in all arrays have no nan and no infinity."""
  compiled = jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(points[0])))))
  for point in points:
    value, gradients = compiled(*point)
    for array in (value, *gradients):
      assert np.all(np.isfinite(np.asarray(array)))
