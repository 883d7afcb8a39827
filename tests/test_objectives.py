"""The shared suite: every property for every objective. A new objective joins with one line in CASES."""
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain import config, objectives
from pretrain.config import ConfigError
from pretrain.machine import sharding
from pretrain.machine.checkpoint import Checkpoints
from pretrain.method.objective import Objective, check_batch
from pretrain.step import StepOptions, Training, compile_step
from tests.cases import CASES, CLASSES, B, raw, seen
from tests.reference.teacher import temperatures

TX = optax.sgd(0.1, momentum=0.9)  # its trace after the first step is the gradient
MESHES = {'data=8': dict(data=8), 'data=2 fsdp=4': dict(data=2, fsdp=4), 'fsdp=4 tensor=2': dict(fsdp=4, tensor=2),
          'replica=2 fsdp=2 tensor=2': dict(replica=2, fsdp=2, tensor=2)}
# Views are part of the step on this mesh and of these objectives; elsewhere it gets what `viewed` made of its batch.
WITHIN = ('data=8', 'supervised', 'simclr', 'fixmatch')


# Whose loss draws: masks, rotations, mixtures, directions. AdaMatch mixes logits that without batch norm are the same.
DRAWING = {'mae', 'vat', 'mixmatch', 'remixmatch', 'deepercluster', 'ibot', 'dinov2', 'simmim', 'spark',
           'data2vec', 'i_jepa', 'self_distillation_fpt', 'videomae', 't_jepa', 'bert', 'weighted', 'alternate'}

every_objective = pytest.mark.parametrize('name', CASES)


@functools.cache
def objective(name: str) -> Objective:
  return config.build(objectives, dict(name=name, **CASES[name].kwargs), 'test',
                      backbone=CASES[name].backbone, steps=10, examples=100)


@functools.cache
def training(name: str, mesh: str = '', **parts: int) -> tuple[Training, Any]:
  """The compiled step, shared by all properties, and its mesh; '' is one device."""
  layout = sharding.make_mesh(**MESHES[mesh]) if mesh else sharding.make_mesh(devices=jax.devices()[:1])
  views = CASES[name].views if within(name, mesh) else lambda batch, _: batch
  schedule = optax.constant_schedule(0.1)
  made = compile_step(objective(name), views, TX, schedule, seed=0, batch=given(name, 0, mesh), mesh=layout,
                      options=StepOptions(**parts))
  return made, layout


@functools.cache
def viewed(name: str, step: int):
  """The views of batch i, made on one device with the key that `train_step` gives them at step i."""
  key = jax.random.split(jax.random.fold_in(jax.random.split(jax.random.key(0))[1], step))[0]
  return jax.device_get(views_of(name)(CASES[name].batch(step), key))


def within(name: str, mesh: str) -> bool:
  return not {name, mesh}.isdisjoint(WITHIN)


def given(name: str, step: int, mesh: str = ''):
  """What the step on that mesh gets of batch i."""
  return CASES[name].batch(step) if within(name, mesh) else viewed(name, step)


@functools.cache
def views_of(name: str):
  return jax.jit(CASES[name].views)


@functools.cache
def start(name: str):
  """The first state, on the host: compiled on one device alone, which takes half as long as a step."""
  return jax.device_get(training(name)[0].init())


def run(name: str, steps: range, state=None, **kwargs):
  """State and metrics after these steps; batch i is the one of step i."""
  made, mesh = training(name, **kwargs)
  state, metrics = jax.device_put(start(name), made.layout) if state is None else state, {}
  for i in steps:
    state, metrics = made.step(state, sharding.place(given(name, i, kwargs.get('mesh', '')), mesh))
  return jax.device_get((state, metrics))


@functools.cache
def one_device(name: str, steps: int = 1):
  return run(name, range(steps))


def gradient(state):
  return getattr(state.opt_state, 'inner', state.opt_state)[0].trace


def error(got, want) -> float:
  """The largest deviation of a tree, relative to the largest entry of its array (at least 1e-3 of the tree's)."""
  floor = 1e-3 * max(float(np.abs(x).max()) for x in jax.tree.leaves(want))
  each = jax.tree.map(lambda g, w: float(np.abs(g - w).max() / max(np.abs(w).max(), floor)), got, want)
  return max(jax.tree.leaves(each))


def test_the_suite_covers_every_objective_and_each_has_a_twin_of_the_whole():
  assert sorted(CASES) == config.names(objectives)
  twins = {path.stem.removeprefix('test_') for path in (Path(__file__).parent / 'papers').glob('test_*.py')}
  assert twins == set(CASES)


@every_objective
def test_a_step_keeps_tree_shapes_and_dtypes_and_is_compiled_once(name, compilations):
  made, mesh = training(name)
  state = jax.device_put(start(name), made.layout)
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  before = shapes(state)
  state, metrics = made.step(state, sharding.place(given(name, 0), mesh))
  after_first = compilations()
  for i in range(1, 4):
    state, metrics = made.step(state, sharding.place(given(name, i), mesh))
  assert compilations() == after_first, 'recompiled after step 1'
  assert shapes(state) == before
  assert int(state.step) == 4 and int(metrics.pop('nonfinite')) == -1
  for key, value in metrics.items():
    assert value.shape == () and value.dtype == jnp.float32 and np.isfinite(value), key


@every_objective
def test_every_parameter_has_a_gradient(name):
  state, _ = one_device(name, CASES[name].turn)
  dead = [jax.tree_util.keystr(path) for path, g in jax.tree_util.tree_leaves_with_path(gradient(state))
          if not np.abs(g).max() > 0]
  assert not dead


@every_objective
def test_three_steps_saved_and_three_more_are_six_steps_bit_for_bit(name, tmp_path):
  whole, _ = run(name, range(6))
  made, _ = training(name)
  half, _ = run(name, range(3))
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(3, half, {'data': 3})
  checkpoints.wait()
  loaded, meta = checkpoints.restore(made.abstract)
  checkpoints.close()
  assert meta['data'] == 3
  resumed, _ = run(name, range(3, 6), loaded)
  for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(whole), jax.tree.leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def pairs() -> list:
  """Every objective on every mesh; by default on that of all axes, every sixth on one of the others too, for time."""
  *others, most = MESHES
  second = {name: others[n % len(others)] for n, name in enumerate(list(CASES)[::6])}
  return [pytest.param(name, mesh, marks=() if mesh in (most, second.get(name)) else pytest.mark.slow)
          for name in CASES for mesh in MESHES]


@pytest.mark.parametrize(('name', 'mesh'), pairs())
def test_three_steps_on_eight_devices_are_those_on_one(name, mesh):
  """Loss, memory, and the optimizer's trace, which is the sum of the gradients of the three steps, discounted."""
  made, _ = training(name, mesh=mesh)
  split = {axis for s in jax.tree.leaves(made.layout.params) for axis in s.spec if axis}
  assert split == {axis for axis in ('fsdp', 'tensor') if axis in mesh}, 'no parameter is split over it: no test'
  want, want_metrics = one_device(name, 3)
  got, metrics = run(name, range(3), mesh=mesh)
  # rounding is absolute where the loss is a mean of cosines near 0
  np.testing.assert_allclose(metrics['loss'], want_metrics['loss'], rtol=1e-5, atol=5e-6)
  assert error(gradient(got), gradient(want)) < 2e-4
  if jax.tree.leaves(want.memory):
    assert error(got.memory, want.memory) < 2e-4


@every_objective
def test_what_is_drawn_follows_the_step_and_the_seed(name):
  made, mesh = training(name)
  batch = sharding.place(given(name, 0), mesh)

  def value(step, seed):  # of one state but for these, on one batch
    state = start(name)._replace(step=np.int32(step), seed=np.uint32(seed))
    return float(made.step(jax.device_put(state, made.layout), batch)[1]['loss'])

  if name in DRAWING or within(name, ''):  # at step 1 the masked part of `alternate` has its turn
    assert len({value(1, 0), value(1, 1), value(2, 0)}) == 3
  else:
    assert value(1, 0) == pytest.approx(value(1, 1), rel=1e-6)


def by_turns(names):
  """Every third by default, for time: what they share is tested by each."""
  return pytest.mark.parametrize('name', [pytest.param(name, marks=() if n % 3 == 0 else pytest.mark.slow)
                                          for n, name in enumerate(names)])


@every_objective
def test_the_loss_of_halves_averages_to_that_of_the_whole_only_if_examples_do_not_depend_on_each_other(name):
  made = objective(name)
  params, memory = jax.tree.map(jnp.asarray, start(name)[1:3])
  one = CASES[name].batch(0)
  one = raw(0) if made.couples_batch and 'unlabeled' in one else one
  batch = views_of(name)(jax.tree.map(jnp.asarray, one), jax.random.key(1))
  loss = lambda params, part: made.loss(params, memory, part, jax.random.key(2), 0)
  halves = [jax.tree.map(lambda x, rows=rows: x[rows], batch) for rows in (slice(0, B // 2), slice(B // 2, B))]
  (one, after), (two, _), (both, after_both) = map(functools.partial(jax.jit(loss), params), (*halves, batch))
  if not made.couples_batch:
    np.testing.assert_allclose((one + two) / 2, both, rtol=1e-5)
    return
  with pytest.raises(ConfigError, match='accumulate'):
    training(name, accumulate=2)
  queued = jax.tree.map(jnp.shape, after[0]) != jax.tree.map(jnp.shape, after_both[0])  # it wants the whole batch
  if not queued and abs((one + two) / 2 - both) <= 1e-2:  # cancelled in the value?
    slope = jax.jit(lambda params, part: jax.grad(loss, has_aux=True)(params, part)[0])
    g_one, g_two, g_both = jax.device_get([slope(params, part) for part in (*halves, batch)])
    assert error(jax.tree.map(lambda a, b: (a + b) / 2, g_one, g_two), g_both) > 1e-2
  if made.halves:
    embed = jax.jit(lambda part: made.halves[0](params, memory, part, jax.random.key(2), 0)[0])
    h_one, h_two, h_both = map(embed, (*halves, batch))
    assert error(jax.tree.map(lambda *rows: jnp.concatenate(rows), h_one, h_two), h_both) < 2e-4


@by_turns(name for name in CASES if not objective(name).couples_batch)
def test_gradients_of_halves_accumulate_to_that_of_the_whole(name):
  halves, _ = run(name, range(1), accumulate=2)
  assert error(gradient(halves), gradient(one_device(name)[0])) < 2e-4


@by_turns(name for name in CASES if objective(name).halves)
def test_embedded_in_parts_a_batch_has_the_gradient_of_the_whole(name):
  whole, want = one_device(name)
  parts, metrics = run(name, range(1), grad_cache=2)
  np.testing.assert_allclose(metrics['loss'], want['loss'], rtol=1e-5)
  assert error(gradient(parts), gradient(whole)) < 2e-4
  if jax.tree.leaves(whole.memory):
    assert error(parts.memory, whole.memory) < 2e-4


@every_objective
def test_the_batch_contract_says_what_was_wanted_and_what_was_got(name):
  made = objective(name)
  key, shape = next(iter(made.batch.items()))
  with pytest.raises(ValueError, match=re.escape(f"wants batch[{key!r}] of shape '{shape}'")):
    check_batch(made, {'something': jnp.zeros(3)})
  with pytest.raises(ValueError, match=re.escape(str((2, 2)))):
    check_batch(made, {k: jnp.zeros((2, 2)) for k in made.batch})


@every_objective
def test_the_source_knows_no_device_optimizer_or_config(name):
  source = inspect.getsource(__import__(f'pretrain.objectives.{name}', fromlist=[name]))
  source = re.sub(r'^from pretrain\.config import .*$', '', source, flags=re.M)  # ranges of numbers
  for word in ('sharding', 'optax', 'config', 'psum', 'pmean', 'all_gather', 'axis_name', 'device', 'orbax', 'grain'):
    assert not re.search(rf'\b{word}\b', source), word


@every_objective
def test_encode_gives_a_feature_vector_an_image_and_predict_probabilities(name):
  made = objective(name)
  state, _ = one_device(name)
  batch = CASES[name].batch(3)
  images = seen(batch.get('unlabeled', batch))
  encode = jax.jit(made.encode)
  features = encode(state.params, state.memory, images)
  assert features.shape == (B, 64) and features.dtype == jnp.float32
  among_others = encode(state.params, state.memory, jnp.concatenate([images[:3], images[:-3]]))
  np.testing.assert_allclose(among_others[:3], features[:3], rtol=1e-4, atol=1e-5)
  assert bool(made.project) == ('projector' in state.params | state.params.get('simclr', {}))  # a part's, too
  if made.project:
    project = jax.jit(made.project)
    z = project(state.params, state.memory, images)
    assert z.ndim == 2 and len(z) == B and np.isfinite(z).all() and np.ptp(z, axis=0).max() > 0
    np.testing.assert_allclose(project(state.params, state.memory, images[:3]), z[:3], rtol=1e-4, atol=1e-5)
  if made.predict:
    probabilities = jax.jit(made.predict)(state.params, state.memory, images)
    assert probabilities.shape == (B, CLASSES)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(('name', 'every'), [('dino', 2), ('ibot', 2), ('dinov2', 1), ('dinov2_distill', 1)])
def test_a_teachers_temperature_is_that_of_its_authors_table(name, every):
  """The loss at a step is that of an objective with the table's temperature throughout."""
  def losses(start, end, steps, **more):
    given = CASES[name].kwargs | dict(teacher_temperature_start=start, teacher_warmup_steps=steps, **more) | {
        key: end for key in ('teacher_temperature', 'teacher_patch_temperature') if key in CASES[name].kwargs}
    made = config.build(objectives, dict(name=name, **given), 'test', backbone=CASES[name].backbone, steps=10)
    batch = viewed(name, 0)
    at = jax.jit(lambda step: made.loss(*made.init(jax.random.key(0)), batch, jax.random.key(1), step)[0])
    return lambda step: float(at(step))

  changing = losses(0.04, 0.4, 4 * every, **({'teacher_warmup_every': every} if every > 1 else {}))
  table = temperatures(0.04, 0.4, 4, epoch=every, steps=10)
  got = np.array([changing(step) for step in range(10)])
  for t in (float(table[every]), 0.4):  # the second and the last
    np.testing.assert_allclose(got[table == t], losses(t, t, 0)(0), rtol=1e-5)
  assert len(set(got.round(5))) == 4
