"""What contrastive objectives keep between steps: queues, prototypes, frozen parts."""
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain import losses
from pretrain.losses.chunked import nearest
from pretrain.method.memory import enqueue
from pretrain.models.vit import vit
from pretrain.objectives.moco_v2 import moco_v2
from pretrain.objectives.moco_v3 import moco_v3
from pretrain.objectives.nnclr import nnclr
from pretrain.objectives.simclr import simclr
from pretrain.objectives.simclr_v2 import simclr_v2
from pretrain.objectives.swav import swav
from tests.checks import assert_close, normal

BACKBONE = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
B, KEY = 4, jax.random.key(0)


def views(seed: int, v: int = 2, size: int = 8):
  return jnp.asarray(np.random.default_rng(seed).uniform(size=(B, v, size, size, 1)), jnp.float32)


def multi_crop(seed: int):
  return {'global': views(seed), 'local': views(seed + 1, 3, 4)}


def step(made, params, memory, batch, at: int):
  """One step of plain gradient descent."""
  (_, (carry, _)), grads = jax.value_and_grad(made.loss, has_aux=True)(params, memory, batch, KEY, at)
  params = optax.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, grads))
  return made.update(params, memory, carry, at)


def test_a_queue_replaces_its_oldest_rows_and_needs_no_pointer():
  queue, put = jnp.zeros((6, 1)), jax.jit(enqueue)
  for at in range(7):
    queue = put(queue, jnp.array([[2. * at + 1], [2. * at + 2]]), at)
  np.testing.assert_array_equal(queue[:, 0], [13, 14, 9, 10, 11, 12])
  last = 2 ** 31 - 1  # no overflow: 2 ** 31 - 1 is 1 modulo 3
  assert float(put(queue, jnp.ones((2, 1)), last)[2, 0]) == 1
  with pytest.raises(ValueError, match='multiple of the batch as its length, got 6 for a batch of 4; nearest: 8'):
    enqueue(queue, jnp.ones((4, 1)), 0)


def test_moco_queues_the_keys_of_the_teacher_and_the_teacher_follows():
  made = moco_v2(BACKBONE, hidden=(16,), dim=8, temperature=0.2, momentum=0.75, queue=2 * B)
  params, memory = made.init(KEY)
  assert_close(jnp.linalg.norm(memory['queue'], axis=1), 1)
  batch = {'views': views(0)}
  (_, keys), _ = made.halves[0](params, memory, batch, KEY, 0)
  after, kept = step(made, params, memory, batch, 1)
  assert_close(kept['queue'][B:], losses.normalize(keys))
  np.testing.assert_array_equal(kept['queue'][:B], memory['queue'][:B])
  wanted = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, memory['teacher'], after)
  jax.tree.map(assert_close, kept['teacher'], wanted)
  with pytest.raises(ValueError, match='multiple of the batch'):
    odd = moco_v2(BACKBONE, hidden=(16,), dim=8, temperature=0.2, momentum=0.75, queue=2 * B + 1)
    step(odd, *odd.init(KEY), batch, 0)


def test_simclr_v2_keeps_what_its_teacher_made_of_both_views():
  options = dict(hidden=(16,), dim=8, temperature=0.2)
  made, plain = simclr_v2(BACKBONE, **options, momentum=0.75, queue=4 * B), simclr(BACKBONE, **options)
  params, memory = made.init(KEY)
  batch = {'views': views(0)}
  value, (carry, _) = made.loss(params, memory, batch, KEY, 0)
  keys = carry['keys'][:B], carry['keys'][B:]  # the teacher begins as the student
  assert_close(losses.nt_xent(*keys, temperature=0.2),
               plain.loss(params, {'statistics': memory['statistics']}, batch, KEY, 0)[0])
  assert_close(losses.nt_xent(*keys, temperature=0.2, queue=memory['queue']), value)
  after, kept = step(made, params, memory, batch, 1)
  assert_close(kept['queue'][2 * B:], carry['keys'])
  np.testing.assert_array_equal(kept['queue'][:2 * B], memory['queue'][:2 * B])
  jax.tree.map(lambda found, old, new: assert_close(found, 0.75 * old + 0.25 * new),
               kept['teacher'], memory['teacher'], after)


def test_nearest_and_what_nnclr_queues():
  z, queue = normal(0, 3, 5), normal(1, 7, 5)
  rows, products = nearest(z, queue)
  jax.tree.map(assert_close, nearest(z, queue, chunk=1), (rows, products))
  for i in range(3):
    wanted = max(range(7), key=lambda j, i=i: float(z[i] @ queue[j]))
    np.testing.assert_array_equal(rows[i], queue[wanted])
    assert_close(products[i], z[i] @ queue[wanted])
  made = nnclr(BACKBONE, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, queue=2 * B)
  params, memory = made.init(KEY)
  _, kept = step(made, params, memory, {'views': views(0)}, 0)
  assert_close(jnp.linalg.norm(kept['queue'], axis=1), 1)
  np.testing.assert_array_equal(kept['queue'][B:], memory['queue'][B:])
  assert not np.any(np.asarray(kept['queue'][:B]) == memory['queue'][:B])


def make_swav(**options):
  return swav(BACKBONE, hidden=(16,), dim=8, prototypes=6, temperature=0.1, epsilon=0.05, iterations=3,
              **dict(freeze_prototypes_steps=0) | options)


def test_swav_keeps_prototypes_on_the_sphere():
  made = make_swav()
  params, memory = made.init(KEY)
  prototypes = lambda params: params['prototypes']['kernel']
  assert_close(jnp.linalg.norm(prototypes(params), axis=0), 1)
  moved, _ = step(made, params, memory, multi_crop(0), 1)
  assert np.abs(prototypes(moved) - prototypes(params)).max() > 1e-4
  assert_close(jnp.linalg.norm(prototypes(moved), axis=0), 1)


def test_swav_uses_its_queue_once_it_is_full_and_wanted():
  without, memory, batch = make_swav(), None, multi_crop(0)
  loss = lambda made, memory, at: float(made.loss(params, memory, batch, KEY, at)[0])
  for start, used in ((0, 2), (3, 3)):  # the queue is full after two steps
    made = make_swav(queue=2 * B, queue_start_step=start)
    params, memory = made.init(KEY)
    memory['queue'] = losses.normalize(jnp.asarray(normal(0, 2, 2 * B, 8)))
    plain = loss(without, {'statistics': memory['statistics']}, 0)
    for at in range(5):
      assert (loss(made, memory, at) == plain) == (at < used), (start, at)
    late = jnp.int32(2 ** 31 // B + 1)  # at which images are more than an i32 counts
    assert loss(made, memory, late) == loss(made, memory, jnp.int32(4))


def test_swav_says_when_its_prototypes_cannot_be_used_equally():
  for options, warned in ((dict(), True), (dict(queue=2 * B), False)):
    made = make_swav(**options)
    with warnings.catch_warnings(record=True) as told:
      warnings.simplefilter('always')
      jax.eval_shape(lambda key, made=made: made.loss(*made.init(key), multi_crop(0), key, 0), KEY)
    assert any('cannot use 6 prototypes equally' in str(each.message) for each in told) == warned


def test_moco_v3_keeps_the_projection_of_patches_out_of_what_is_trained():
  made = moco_v3(BACKBONE, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, momentum=0.9,
                 freeze_patches=True, steps=10)
  params, memory = made.init(KEY)
  assert 'project' not in params['backbone'] and 'predictor' not in memory['teacher']
  _, kept = step(made, params, memory, {'views': views(0)}, 0)
  jax.tree.map(np.testing.assert_array_equal, kept['fixed'], memory['fixed'])
  free = moco_v3(BACKBONE, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, momentum=0.9,
                 freeze_patches=False, steps=10)
  params_free, memory_free = free.init(KEY)
  batch = {'views': views(0)}
  assert_close(free.loss(params_free, memory_free, batch, KEY, 0)[0], made.loss(params, memory, batch, KEY, 0)[0])
