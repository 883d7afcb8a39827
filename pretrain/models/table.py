"""A Transformer encoder of table rows: a token for each column, of the blocks of the ViT."""
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pretrain.config import Count, Natural
from pretrain.models.vit import Transformer


class Table(nnx.Module):
  """An encoder of rows without a head; see `table` for its arguments.

  Attributes:
    width: features of a token, and of the pooled features.
    columns: their number.
  """

  def __init__(self, *, numeric: int, categories: tuple[int, ...], width: int, depth: int, heads: int, mlp: int,
               registers: int, dtype: str, rngs: nnx.Rngs, **trunk):
    self.numeric, self.categories, self.width = numeric, categories, width
    self.columns, self.registers = numeric + len(categories), registers
    self.levers = dict(dtype=dtype, **trunk)  # for heads that are trunks too
    bound = width ** -0.5
    draw = lambda *shape, **said: nnx.Param(
        jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound), **said)
    if numeric:
      self.weight = draw(numeric, width)
    if categories:
      self.values = draw(sum(categories), width)
    self.bias = draw(self.columns, width, decay=None)
    if registers:
      self.register_tokens = draw(registers, width, decay=False)
    self.trunk = Transformer(width, depth, heads, mlp, dtype=dtype, rngs=rngs, **trunk)

  @property
  def layers(self) -> Mapping[str, int | None]:
    return self.trunk.layers

  def __call__(self, rows, *, train: bool = False, key=None):
    """Pooled features f32[b, width] of rows f32[b, columns]: the mean of the columns' tokens."""
    return self.encode(self.embed(rows), train=train, key=key).mean(1)

  def embed(self, rows):
    """Tokens f32[b, columns, width]: number * weight, or the category's own, plus the column's bias.

    Raises ValueError for another number of columns.
    """
    if rows.ndim != 2 or rows.shape[1] != self.columns:
      raise ValueError(f'wanted rows [b, {self.columns}], got {rows.shape}; set `numeric` and `categories` of the '
                       'backbone to what the table has')
    parts = [rows[:, :self.numeric, None] * self.weight[...]] if self.numeric else []
    if self.categories:
      starts = np.concatenate([[0], np.cumsum(self.categories)[:-1]])
      parts.append(self.values[...][rows[:, self.numeric:].astype(jnp.int32) + starts])
    return jnp.concatenate(parts, 1) + self.bias[...]

  def encode(self, tokens, *, train: bool = False, key=None):
    """f32[b, n, width] of tokens of any columns; the registers are there too, and left out of what is given."""
    if self.registers:
      extra = jnp.broadcast_to(self.register_tokens[...], (len(tokens), self.registers, self.width))
      tokens = jnp.concatenate([extra, tokens], 1)
    return self.trunk(tokens, train=train, key=key)[:, self.registers:]


def table(*, numeric: Natural, categories: tuple[Count, ...] = (), width: Count, depth: Count, heads: Count, mlp: Count,
          registers: Natural, attention: str = 'xla', remat: str = 'none', scan: bool = False,
          dtype: str = 'float32') -> Callable[[nnx.Rngs], Table]:
  """A Transformer of rows f32[b, columns] without a head, after 2410.05016 (T-JEPA), to features f32[b, width].

  Deviations from the authors' code: blocks are those of `vit` (norms before the branches, no dropout, no layer after
  them); columns are told apart by their biases alone.

  Args:
    numeric: columns of numbers, the first ones.
    categories: how many values each of the other columns has; they hold numbers from 0.
    width, depth, heads, mlp: as in `vit`.
    registers: regularisation tokens ([REG]), which see all and are seen, and of which nothing is asked; 1 in the paper.
    attention, remat, scan: as in `vit.Transformer`.
    dtype: of the computation in the branches.

  Returns build(rngs) -> Table.

  Raises ValueError for a table without columns.
  """
  if numeric + len(categories) < 1:
    raise ValueError('wanted a table with columns, got numeric=0 and no categories')

  def build(rngs: nnx.Rngs) -> Table:
    return Table(numeric=numeric, categories=tuple(categories), width=width, depth=depth, heads=heads, mlp=mlp,
                 registers=registers, attention=attention, remat=remat, scan=scan, dtype=dtype, rngs=rngs)

  return build
