"""A memory with a row for each example of the source."""
import jax.numpy as jnp


def remember(table, index, new):
  """The table with the rows of some examples replaced: table [n, ...], index i32[b], new [b, ...] -> [n, ...].

  Where an index comes more than once (a set smaller than a batch, a neighbour in place of a broken image) its last row
  in the batch stays, on any mesh. An index of n or more is of no example, and nothing is written.
  """
  order = jnp.argsort(index, stable=True)  # rows of one index are together, in the order of the batch
  ranked = index[order]
  last = jnp.append(ranked[1:] != ranked[:-1], True)
  keep = jnp.zeros(len(index), bool).at[order].set(last)
  return table.at[jnp.where(keep, index, len(table))].set(new, mode='drop')
