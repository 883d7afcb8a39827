"""Resume, parts of a batch, meshes, donation and bad numbers, once, on four made-up objectives.

Each keeps something else beside its parameters: batch statistics, a teacher, a queue, a row per example.
"""
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from pretrain import losses
from pretrain.config import ConfigError
from pretrain.machine import sharding
from pretrain.machine.checkpoint import Checkpoints
from pretrain.method.memory import Average, directions, enqueue, write_rows
from pretrain.method.objective import Objective, method
from pretrain.models.heads import MLP
from pretrain.step import StepOptions, Training, compile_step
from tests.cases import MESHES, B, gradient_of, largest_error, small

EXAMPLES = 100
TX = optax.sgd(0.1, momentum=0.9)
IMAGES = {'image': 'b h w c', 'index': 'b'}


class Queue(NamedTuple):
  queue: Any


class Rows(NamedTuple):
  rows: Any  # f32[examples, 8]


def modules(batch_norm: bool):
  def made(rngs):
    f = small(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, (64,), 8, batch_norm=batch_norm, rngs=rngs))
  return made


def project(network, images, **passed):
  return network.projector(network.backbone(images, train=True), train=True, **passed)


def noisy(images, key, index):
  """Each example with its own noise, of its index."""
  keys = jax.vmap(functools.partial(jax.random.fold_in, key))(index)
  return images + 0.1 * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)


def with_statistics() -> Objective:
  def loss(student, batch, key):
    z = project(student, noisy(batch['image'], key, batch['index']))
    return jnp.mean(jnp.square(z - 1)), {'spread': z.std()}
  return method(IMAGES, modules(True), loss)


def with_teacher() -> Objective:
  def loss(student, teacher, batch, key):
    z = project(student, noisy(batch['image'], key, batch['index']))
    return jnp.mean(jnp.square(z - project(teacher, batch['image']) - 1)), {}
  return method(IMAGES, modules(False), loss, teacher=Average(0.7))


def with_queue() -> Objective:
  def embed(student, batch, key):
    return project(student, noisy(batch['image'], key, batch['index']))

  def compare(h, memory):
    z = losses.normalize(h)
    return jnp.mean(jax.nn.logsumexp(z @ jnp.concatenate([z, memory.queue]).T, -1)), {}, {'z': z}
  return method(IMAGES, modules(False), embed=embed, compare=compare, couples_batch=True,
                memory=lambda key: Queue(directions(key, 4 * B, 8)),
                remember=lambda memory, kept, step: Queue(enqueue(memory.queue, kept['z'], step)))


def with_rows() -> Objective:
  def loss(student, batch, key, memory):
    z = project(student, noisy(batch['image'], key, batch['index']))
    before = memory.rows[batch['index']]
    return jnp.mean(jnp.square(z - before - 1)), {}, {'index': batch['index'], 'z': jax.lax.stop_gradient(z)}

  def remember(memory, kept, step):
    del step
    return Rows(write_rows(memory.rows, kept['index'], kept['z']))
  return method(IMAGES, modules(False), loss, memory=lambda _: Rows(jnp.zeros((EXAMPLES, 8))), couples_batch=True,
                remember=remember)


MADE = {'statistics': with_statistics, 'teacher': with_teacher, 'queue': with_queue, 'rows': with_rows}
every_kind = pytest.mark.parametrize('kind', MADE)
every_mesh = pytest.mark.parametrize('mesh', MESHES)


def batch(step: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(step)
  return {'image': rng.uniform(size=(B, 8, 8, 1)).astype(np.float32),
          'index': rng.permutation(EXAMPLES)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}


@functools.cache
def training(kind: str, mesh: str = '', **options) -> tuple[Training, Any]:
  """The compiled step and its mesh; '' is one device."""
  layout = sharding.make_mesh(**MESHES[mesh]) if mesh else sharding.make_mesh(devices=jax.devices()[:1])
  views = lambda batch, _: {name: batch[name] for name in IMAGES}
  return compile_step(MADE[kind](), views, TX, optax.constant_schedule(0.1), seed=0, batch=batch(0), mesh=layout,
                      options=StepOptions(**options)), layout


@functools.cache
def start(kind: str):
  return jax.device_get(training(kind)[0].init())


def run(kind: str, steps: range, state=None, mesh: str = '', **options):
  """State and metrics behind these steps, on the host."""
  made, layout = training(kind, mesh, **options)
  state, metrics = jax.device_put(start(kind) if state is None else state, made.layout), {}
  for i in steps:
    state, metrics = made.step(state, sharding.place(batch(i), layout))
  return jax.device_get((state, metrics))


@every_kind
def test_three_steps_saved_and_three_more_are_six_bit_for_bit(kind, tmp_path):
  whole, _ = run(kind, range(6))
  half, _ = run(kind, range(3))
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(3, half, {'data': 3})
  checkpoints.wait()
  loaded, meta = checkpoints.restore(training(kind)[0].abstract)
  checkpoints.close()
  resumed, _ = run(kind, range(meta['data'], 6), loaded)
  chex.assert_trees_all_equal(whole, resumed)
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), whole.memory, start(kind).memory)
  assert any(jax.tree.leaves(moved)), 'memory never changes: no test'


@every_kind
def test_parts_of_a_batch_have_the_gradient_and_memory_of_the_whole_or_are_refused(kind):
  made = MADE[kind]()
  assert made.couples_batch == (kind != 'teacher') and bool(made.halves) == (kind == 'queue')
  whole, want = run(kind, range(2))
  for option, allowed in (('accumulate', not made.couples_batch), ('grad_cache', bool(made.halves))):
    if not allowed:
      with pytest.raises(ConfigError, match=f'config.{option}'):
        training(kind, **{option: 2})
      continue
    for parts in (2, 4):
      state, metrics = run(kind, range(2), **{option: parts})
      np.testing.assert_allclose(metrics['loss'], want['loss'], rtol=1e-5)
      assert largest_error(gradient_of(state), gradient_of(whole)) < 2e-4
      assert largest_error(state.memory, whole.memory) < 2e-4


@every_mesh
@every_kind
def test_eight_devices_hold_parts_of_the_state_and_step_as_one(kind, mesh):
  made, _ = training(kind, mesh)
  wanted = {axis for axis in ('fsdp', 'tensor') if axis in mesh}
  for part in (made.layout.params, made.layout.opt_state):
    assert {axis for s in jax.tree.leaves(part) for axis in s.spec if axis} == wanted, 'no array is split: no test'
  want, want_metrics = run(kind, range(3))
  got, metrics = run(kind, range(3), mesh=mesh)
  np.testing.assert_allclose(metrics['loss'], want_metrics['loss'], rtol=1e-5)
  assert largest_error(gradient_of(got), gradient_of(want)) < 2e-4
  assert largest_error(got.memory, want.memory) < 2e-4


@every_kind
def test_the_first_state_is_the_same_on_a_mesh_of_all_axes(kind):
  chex.assert_trees_all_equal(jax.device_get(training(kind, 'replica=2 fsdp=2 tensor=2')[0].init()), start(kind))


@every_kind
def test_a_step_is_compiled_once_keeps_trees_and_takes_over_the_state_that_it_is_given(kind, compilations):
  made, layout = training(kind)
  state = first = jax.device_put(start(kind), made.layout)
  state, _ = made.step(state, sharding.place(batch(0), layout))
  once = compilations()
  for i in range(1, 4):
    state, metrics = made.step(state, sharding.place(batch(i), layout))
  assert compilations() == once
  chex.assert_trees_all_equal_shapes_and_dtypes(state, start(kind))
  assert int(state.step) == 4 and int(metrics['nonfinite']) == -1
  assert all(x.is_deleted() for x in jax.tree.leaves((first.params, first.opt_state, first.memory))), 'not donated'


@every_kind
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_the_first_step_with_a_bad_number_is_named_and_one_that_may_be_skipped_changes_nothing(kind, bad):
  made, layout = training(kind)
  skipping, _ = training(kind, skip=2)
  broken = batch(1)
  broken['image'][3, 2, 2, 0] = bad
  states = {}
  for name, each in (('ends', made), ('skips', skipping)):
    state = jax.device_put(run(kind, range(1))[0], each.layout)
    for given in (broken, batch(2)):
      state, metrics = each.step(state, sharding.place(given, layout))
      states[name] = jax.device_get((state, metrics))
  assert int(states['ends'][1]['nonfinite']) == 1 and not np.isfinite(states['ends'][1]['loss'])
  state, metrics = states['skips']
  assert metrics['skipped'] == 1 and np.isfinite(metrics['loss']) and int(state.step) == 3
  chex.assert_tree_all_finite((state.params, state.memory, state.opt_state))


def test_the_loss_of_a_step_is_drawn_of_step_and_seed_and_of_nothing_else():
  made, layout = training('teacher')

  def value(step: int, seed: int) -> float:
    state = start('teacher')._replace(step=np.int32(step), seed=np.uint32(seed))
    return float(made.step(jax.device_put(state, made.layout), sharding.place(batch(0), layout))[1]['loss'])

  assert len({value(1, 0), value(1, 1), value(2, 0)}) == 3
  assert value(1, 0) == value(1, 0)
