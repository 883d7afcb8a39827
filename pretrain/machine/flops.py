"""Floating-point operations of a traced program: its matrix products and convolutions, loops times their length."""
import math
from typing import NamedTuple

import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr


class Flops(NamedTuple):
  """Of dots and convolutions, a multiply and an add being two.

  total:   all of them.
  f32:     those with a float32 operand.
  dots:    of the dots alone.
  padded:  what the dots cost where sides are rounded up to the tile of a matrix unit (128 twice, 8 for the third).
  loops:   loops of unknown length, counted once.
  int8, fp8: those of them whose two operands are such.
  """
  total: float = 0.
  f32: float = 0.
  dots: float = 0.
  padded: float = 0.
  loops: int = 0
  int8: float = 0.
  fp8: float = 0.

  def plus(self, other: 'Flops', times: float = 1) -> 'Flops':
    return Flops(self.total + times * other.total, self.f32 + times * other.f32, self.dots + times * other.dots,
                 self.padded + times * other.padded, self.loops + other.loops, self.int8 + times * other.int8,
                 self.fp8 + times * other.fp8)


def count(jaxpr) -> Flops:
  """Of all devices together, as traced: what the compiler removes, adds or repeats is not seen."""
  total = Flops()
  for eqn in jaxpr.eqns:
    name, given = eqn.primitive.name, eqn.params
    if name == 'dot_general':
      total = total.plus(_dot(eqn))
    elif name == 'conv_general_dilated':
      total = total.plus(_convolution(eqn))
    elif name == 'cond':
      branches = given['branches'][-1:] if given.get('branches_platforms') else given['branches']  # the default
      total = total.plus(max((count(branch.jaxpr) for branch in branches), key=lambda f: f.total))
    else:
      inner = Flops(loops=int(name == 'while'))
      for value in given.values():
        for body in value if isinstance(value, tuple | list) else (value,):
          if hasattr(body := getattr(body, 'jaxpr', body), 'eqns'):
            inner = inner.plus(count(body))
      total = total.plus(inner, given['length'] if name == 'scan' else 1)
  return total


def of_step(step, state, batch) -> Flops:
  """Of a jitted step, from the shapes of its state and raw batch, without what nothing uses."""
  jaxpr = step.trace(state, batch).jaxpr.jaxpr
  return count(dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def taps(inputs: int, outputs: int, size: int, *, stride: int = 1, low: int = 0, spread: int = 1,
         dilation: int = 1) -> int:
  """Multiplications of a one-dimensional convolution that meet an input, neither padding nor a hole.

  Args:
    low: padding before the first input.
    spread: distance of the inputs (a transposed convolution's stride), dilation: of the kernel's elements.
  """
  place = np.arange(outputs)[:, None] * stride + np.arange(size) * dilation - low
  return int(((place >= 0) & (place % spread == 0) & (place // spread < inputs)).sum())


def _dot(eqn) -> Flops:
  (contract, _), (batched, _) = eqn.params['dimension_numbers']
  left, right = (v.aval for v in eqn.invars[:2])
  b = math.prod(left.shape[i] for i in batched)
  k = math.prod(left.shape[i] for i in contract)
  m, n = left.size // (b * k or 1), right.size // (b * k or 1)
  up = lambda x, tile: -(-x // tile) * tile
  padded = 2 * b * up(k, 128) * min(up(m, 8) * up(n, 128), up(m, 128) * up(n, 8))
  flops = 2 * b * m * n * k
  return Flops(flops, flops if 'float32' in (left.dtype.name, right.dtype.name) else 0, flops, padded,
               int8=flops * (left.dtype.name == right.dtype.name == 'int8'),
               fp8=flops * all(x.dtype.name.startswith('float8') for x in (left, right)))


def _convolution(eqn) -> Flops:
  given, (left, right), out = eqn.params, (v.aval for v in eqn.invars[:2]), eqn.outvars[0].aval
  (_, _, *image), (_, features, *kernel), (_, _, *spatial) = given['dimension_numbers']
  per_output = right.shape[features]
  reached = math.prod(
      taps(left.shape[i], out.shape[o], right.shape[k], stride=stride, low=low, spread=spread, dilation=dilation)
      for i, k, o, stride, (low, _), spread, dilation in zip(
          image, kernel, spatial, given['window_strides'], given['padding'], given['lhs_dilation'],
          given['rhs_dilation'], strict=True))
  channels = out.size // math.prod(out.shape[o] for o in spatial)
  flops = 2 * channels * per_output * reached
  return Flops(flops, flops if 'float32' in (left.dtype.name, right.dtype.name) else 0)
