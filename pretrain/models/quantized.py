"""Matrix products in eight bits, forwards and backwards, by the library qwix, which is installed apart."""
import functools
from collections.abc import Callable

import jax.numpy as jnp

from pretrain.models.layers import dot_general as exact

KINDS = {'int8': ('int8', 'int8'), 'fp8': ('float8_e4m3fn', 'float8_e5m2')}  # of both operands, of the gradients


@functools.cache
def products(kind: str | None) -> Callable:
  """What a linear layer takes as its `dot_general`; the parameters, and what it gives, keep their dtypes.

  Both operands are rounded to eight bits, by the largest absolute value of each row (of a token's features, of the
  weights of an output), and what the backward pass multiplies is rounded too, to the nearest. Sums are in 32 bits.

  Args:
    kind: a key of `KINDS`, or None for `layers.dot_general`, which rounds nothing.
  Raises:
    ValueError: another kind, or qwix is not installed.
  """
  if kind is None:
    return exact
  if kind not in KINDS:
    raise ValueError(f'wanted quantize to be one of {(None, *KINDS)}, got {kind!r}')
  try:
    # The library's ways in replace functions of JAX while a model runs; this is the function that they end in.
    from qwix._src.core.dot_general_qt import DotGeneralQtConfig, dot_general_qt
  except ImportError as error:
    raise ValueError(f'quantize={kind!r} needs the library `qwix`: pip install -e .[quant]') from error
  kept, gradient = map(jnp.dtype, KINDS[kind])
  config = DotGeneralQtConfig(lhs_qtype=kept, rhs_qtype=kept, dlhs_grad_qtype=gradient, drhs_grad_qtype=gradient)

  def dot_general(lhs, rhs, dimension_numbers, precision=None, out_sharding=None):
    del precision, out_sharding  # the layers' defaults
    return dot_general_qt(lhs, rhs, dimension_numbers, config)

  return dot_general
