"""What methods keep between steps: averages, queues, rows of examples; and the schedule of a momentum."""
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.machine import sharding
from pretrain.method import memory
from pretrain.method.memory import enqueue, write_rows
from pretrain.method.schedules import cosine
from tests.checks import assert_close, normal
from tests.reference import teacher as teacher_twin

ema = jax.jit(memory.ema)


def test_ema_equals_twin():
  old = {'block': {'kernel': normal(0, 3, 4), 'bias': normal(1, 4)}, 'scale': normal(2)}
  new = {'block': {'kernel': normal(3, 3, 4), 'bias': normal(4, 4)}, 'scale': normal(5)}
  for momentum in (0.0, 0.5, 0.996, 1.0):
    result = ema(old, new, momentum)
    chex.assert_trees_all_equal_structs(result, old)
    jax.tree.map(assert_close, result, teacher_twin.ema(old, new, momentum))
  chex.assert_trees_all_equal(ema(old, new, 1.0), old)  # a frozen teacher does not drift
  jax.tree.map(assert_close, ema(old, old, 0.9), old)


def test_ema_by_hand():
  assert_close(ema({'x': np.float32(8)}, {'x': np.float32(4)}, 0.75)['x'], 7)
  state = {'x': jnp.float32(1)}
  for _ in range(10):
    state = ema(state, {'x': jnp.float32(0)}, 0.9)
  assert_close(state['x'], 0.9 ** 10)
  with pytest.raises((ValueError, KeyError, TypeError)):
    ema({'x': jnp.ones(2)}, {'y': jnp.ones(2)}, 0.9)


@pytest.mark.parametrize(('start', 'end', 'steps'), [(0.996, 1.0, 7), (0.04, 0.4, 100), (1.0, 0.0, 2)])
def test_cosine_equals_twin(start, end, steps):
  schedule = cosine(start, end, steps)
  traced = jax.jit(schedule)
  for step in sorted({0, 1, steps // 3, steps // 2, steps - 1, steps}):
    wanted = teacher_twin.cosine(step, start, end, steps)
    assert_close(schedule(step), wanted)
    assert_close(traced(jnp.int32(step)), wanted)
  assert_close(schedule(0), start)
  assert_close(schedule(steps), end)
  assert_close(schedule(2 * steps), end)  # it does not swing back
  assert_close(schedule(steps / 2), (start + end) / 2)
  assert_close(schedule(steps / 4), start + (end - start) * (1 - math.sqrt(0.5)) / 2)


def test_a_queue_replaces_its_oldest_rows_and_needs_no_pointer():
  queue, put = jnp.zeros((6, 1)), jax.jit(enqueue)
  for at in range(7):
    queue = put(queue, jnp.array([[2. * at + 1], [2. * at + 2]]), at)
  np.testing.assert_array_equal(queue[:, 0], [13, 14, 9, 10, 11, 12])
  last = 2 ** 31 - 1  # no overflow: 2 ** 31 - 1 is 1 modulo 3
  assert float(put(queue, jnp.ones((2, 1)), last)[2, 0]) == 1
  with pytest.raises(ValueError, match='multiple of the batch as its length, got 6 for a batch of 4; nearest: 8'):
    enqueue(queue, jnp.ones((4, 1)), 0)


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
