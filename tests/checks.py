"""How tests compare a loss with its slow twin: values, gradients, and points that must stay finite.

A file of tests says what a loss is compared with, and where, as a `Loss`; `check_loss` does the rest. Tolerances: a
float32 loss is a sum of a few dozen terms of relative error 6e-8, so values agree to 1e-5; a gradient is a difference
of such terms, so it agrees to 1e-4 of its largest element.
"""
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import numeric


class Loss(NamedTuple):
  """A loss, its slow twin, and the points at which they are compared.

  function: gives f32[], or (f32[], {metric: f32[]}); compiled, as in a training step.
  twin: the same in NumPy float64. Its arguments are those of the function, in the order of its signature.
  points: tuples of arguments, in that order. Arrays of float32 are what the loss computes with.
  moving: positions of the arguments in which the loss is differentiated; in all other arrays of rows its gradient is 0.
  halves: positions of the arrays that are also given in bfloat16; None: all of float32.
  extremes: further points, at which value and gradient must be finite.
  refused: (arguments, words of the error) of points with shapes or numbers that do not fit.
  """
  function: Callable
  twin: Callable
  points: Sequence[tuple]
  moving: tuple[int, ...] = (0, 1)
  halves: tuple[int, ...] | None = None
  extremes: Sequence[tuple] = ()
  refused: Sequence[tuple[tuple, list[str]]] = ()


def check_loss(loss: Loss) -> None:
  """All that a `Loss` says; a loss that holds to only some of it calls the checks one by one."""
  check_values(loss)
  check_gradient(loss)
  check_half_precision(loss)
  check_finite(loss)
  check_refused(loss)


def check_values(loss: Loss) -> None:
  """Value and metrics are scalars of float32 and the twin's; where a metric is a ratio, it is not almost 0 or 1."""
  for point in loss.points:
    (value, terms), (wanted, wanted_terms) = parts(in_order(loss.function)(*point)), parts(loss.twin(*point))
    chex.assert_trees_all_equal_structs(terms, wanted_terms)
    for name, ratio in wanted_terms.items():
      assert not name.endswith('_ratio') or 0.05 < ratio < 0.95, f'at this point {name} is {ratio}'
    for got, twins in [(value, wanted), *((terms[name], wanted_terms[name]) for name in terms)]:
      chex.assert_shape(got, ())
      chex.assert_type(got, jnp.float32)
      assert_close(got, twins)


def check_gradient(loss: Loss) -> None:
  """At each point the gradient is that of the twin, by finite differences, in what moves, and 0 elsewhere."""
  for point in loss.points:
    assert_gradient_in(loss.moving, value_of(in_order(loss.function)), value_of(loss.twin), *point)


def check_half_precision(loss: Loss) -> None:
  """Of arrays in bfloat16 the value is the float32 that the twin gives of the same numbers."""
  for point in loss.points:
    halves = [i for i, x in enumerate(point) if is_array(x)] if loss.halves is None else loss.halves
    assert_half_precision(at(halves, value_of(in_order(loss.function)), point), at(halves, value_of(loss.twin), point),
                          *(point[i] for i in halves))


def check_finite(loss: Loss) -> None:
  """At the extremes the value and its gradient, in what moves and in all arrays, have no nan and no infinity."""
  value = value_of(in_order(loss.function))
  compiled = functools.cache(lambda moving, static: jax.jit(jax.value_and_grad(value, moving), static_argnums=static))
  for point in loss.extremes:
    moving = tuple(i for i, x in enumerate(point) if i in loss.moving or is_array(x))
    static = tuple(i for i, x in enumerate(point) if i not in moving and not isinstance(x, np.ndarray))
    chex.assert_tree_all_finite(compiled(moving, static)(*point))


def check_refused(loss: Loss) -> None:
  """What does not fit is a ValueError that names what was got."""
  for point, words in loss.refused:
    with pytest.raises(ValueError) as error:
      in_order(loss.function)(*point)
    for word in words:
      assert word in str(error.value)


def normal(seed: int, *shape: int, scale: float = 1.0):
  """Standard normal numbers times `scale`, float32: what both the loss and its twin are given."""
  return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def images(seed: int, *shape: int):
  """Numbers in [0, 1), float32: images, views, clips."""
  return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def rotation(seed: int, d: int):
  """An orthogonal matrix [d, d], float32."""
  return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0].astype(np.float32)


def basis(d: int):
  """The d unit vectors as rows, float32: similarity 1 with themselves, 0 with each other."""
  return np.eye(d, dtype=np.float32)


SAME, ZERO = np.tile(normal(0, 1, 8), (4, 1)), np.zeros((4, 8), np.float32)
Z1, Z2 = normal(1, 4, 8), normal(2, 4, 8)
DEAD = Z1 * (np.arange(4) > 0)[:, None].astype(np.float32)  # one row of zeros
# Four examples of three features of mean 0 and variance 1, not correlated.
HADAMARD = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
# Two views' rows for the extremes of a loss.
PAIRS = [(1e4 * Z1, 1e4 * Z2), (1e-4 * Z1, 1e-4 * Z2), (Z1, -Z1), (Z1, Z1), (SAME, SAME), (SAME, -SAME), (ZERO, ZERO),
         (DEAD, Z2), (Z2, DEAD), (ZERO, Z1)]


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


def parts(result):
  """(value, metrics) of a loss that gives both, or the value alone."""
  return result if isinstance(result, tuple) else (result, {})


def value_of(function):
  return lambda *arguments: parts(function(*arguments))[0]


def at(moving: Sequence[int], function, arguments):
  """`function` of the arguments at the positions `moving`; the others are as in `arguments`."""
  return lambda *moved: function(*(moved[moving.index(i)] if i in moving else x for i, x in enumerate(arguments)))


def assert_gradient_in(moving: tuple[int, ...], loss, twin, *arguments):
  """`assert_gradient` in the arguments at the positions `moving`; the gradient is zero in all other arrays of rows.

  A vector among the others, such as a center, is a running mean that nothing differentiates: its gradient is not asked.
  """
  assert_gradient(at(moving, loss, arguments), at(moving, twin, arguments), *(arguments[i] for i in moving))
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


def descended(made, params, memory, batch, key, step: int):
  """(params, memory) after one step of plain gradient descent with an objective, of rate 0.1."""
  def run(params, memory, batch, key, step):
    (_, (carry, _)), grads = jax.value_and_grad(made.loss, has_aux=True)(params, memory, batch, key, step)
    return made.update(jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), memory, carry, step)

  return jax.jit(run)(params, memory, batch, key, step)


def check_invariances_of_patches(loss, predicted, target, mask):
  """Of an error of hidden patches [b, 4, p]: what is visible, order, signs and groups of patches do not change it."""
  value = loss(predicted, target, mask=mask)
  assert_close(loss(target, target, mask=mask), 0, atol=0)
  elsewhere = predicted + 100 * ~mask[..., None]  # what is visible does not matter
  assert_close(loss(elsewhere.astype(np.float32), target, mask=mask), value)
  order = np.array([2, 0, 3, 1])
  assert_close(loss(predicted[:, order], target[:, order], mask=mask[:, order]), value)
  one = lambda x: x.reshape(1, -1, *x.shape[2:])
  assert_close(loss(one(predicted), one(target), mask=one(mask)), value)
  assert_close(loss(target, predicted, mask=mask), value)
  assert_close(loss(predicted + 1, target + 1, mask=mask), value, rtol=1e-4)
  gradient = np.asarray(jax.grad(loss)(predicted, target, mask=mask))
  assert np.all(gradient[~mask] == 0) and np.all(gradient[mask] != 0)
  assert abs(loss(predicted, target, mask=~mask) - value) > 1e-2
