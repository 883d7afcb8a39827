"""Memories by example: an index that comes twice in a batch leaves its last row, on any mesh."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.machine import sharding
from pretrain.method.memory import write_rows
from pretrain.objectives.flexmatch import flexmatch
from pretrain.objectives.isogclr import Memory, isogclr
from tests.cases import BACKBONE, of_papers

CASES = of_papers()


@pytest.mark.parametrize('mesh', [dict(devices=jax.devices()[:1]), dict(data=8), dict(data=2, fsdp=4)])
def test_the_last_row_of_an_index_stays_on_any_mesh(mesh):
  layout, rng = sharding.make_mesh(**mesh), np.random.default_rng(0)
  put = lambda tree, how: jax.device_put(tree, how)
  rows = sharding.batch_sharding(layout)
  for shape in ((4096,), (1024, 4)):  # large enough to be split over fsdp
    table = rng.normal(size=shape).astype(np.float32)
    laid = sharding.shardings({'table': table}, layout)['table']
    write = jax.jit(write_rows, in_shardings=(laid, rows, rows), out_shardings=laid)
    for few in (3, 40, len(table)):  # nearly all twice, some, hardly any
      index = rng.integers(0, few, 64).astype(np.int32)
      index[::7] = len(table)  # of no example
      new = rng.normal(size=(64, *shape[1:])).astype(np.float32)
      wanted = table.copy()
      for i, row in zip(index, new, strict=True):
        if i < len(table):
          wanted[i] = row
      got = write(put(table, laid), put(index, rows), put(new, rows))
      np.testing.assert_array_equal(got, wanted)


def test_objectives_remember_the_last_row_of_an_example():
  made = isogclr(BACKBONE, **CASES['isogclr'].kwargs, examples=5)
  memory = {'statistics': {}} | {name: jnp.zeros(5) for name in Memory._fields}
  at, new = jnp.array([2, 0, 2, 2, 0]), jnp.arange(1., 6.)
  _, after = made.update({}, memory, {'statistics': {}, 'index': at, 'rows': Memory(new, new, new)}, 0)
  for name in Memory._fields:
    np.testing.assert_array_equal(after[name], [5, 0, 4, 0, 0])
  made = flexmatch(BACKBONE, **CASES['flexmatch'].kwargs, examples=5)
  memory = {'statistics': {}, 'ema': {}, 'selected': jnp.full(5, -1)}
  carry = {'statistics': {}, 'rows': jnp.array([2, 0, 2, 5, 0]), 'pseudo': jnp.array([3, 1, 2, 0, 0])}  # one not sure
  _, after = made.update({}, memory, carry, 0)
  np.testing.assert_array_equal(after['selected'], [0, -1, 2, -1, -1])
