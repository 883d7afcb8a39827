"""What every paper must keep at any time, cheaply: traced, then in one small run. The rest is in test_objectives.py."""
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr

from pretrain import config, objectives
from pretrain.method.objective import check_batch
from pretrain.models.functional import functional
from tests.cases import CLASSES, B, objective, of_papers, seen

CASES = of_papers()
COLLECTIVES = {'psum', 'pmax', 'pmin', 'ppermute', 'all_gather', 'all_to_all', 'reduce_scatter', 'psum_scatter',
               'axis_index', 'pbroadcast'}

every_paper = pytest.mark.parametrize('name', CASES)


@functools.cache
def abstract(name: str) -> tuple[Any, Any, Any]:
  """Shapes of parameters, memory and what the views give."""
  params, memory = jax.eval_shape(objective(name).init, jax.random.key(0))
  return params, memory, jax.eval_shape(CASES[name].views, CASES[name].batch(0), jax.random.key(0))


@functools.cache
def traced(name: str) -> jax.stages.Traced:
  """(params, memory, batch, key, step) -> the next params and memory, loss, metrics, gradient; SGD of rate 0.1."""
  made, (params, memory, batch) = objective(name), abstract(name)

  def run(params, memory, batch, key, i):
    loss = lambda params: made.loss(params, memory, batch, key, i)
    (value, (carry, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    return *made.update(params, memory, carry, i), value, metrics, gradient

  return jax.jit(run).trace(params, memory, batch, jax.random.key(0), np.int32(0))


@functools.cache
def first_of(backbone) -> dict[str, Any]:
  """The first parameters of a backbone alone, by path."""
  params, _ = functional(lambda rngs: nnx.Dict(backbone=backbone(rngs))).init(jax.random.key(0))
  return flat(params['backbone'])


def flat(tree) -> dict[str, Any]:
  return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def primitives(jaxpr) -> set[str]:
  """The names of all operations of a jaxpr and of those inside of it."""
  given = (value for eqn in jaxpr.eqns for value in eqn.params.values())
  parts = (part for value in given for part in (value if isinstance(value, tuple | list) else (value,)))
  inner = (getattr(part, 'jaxpr', part) for part in parts if isinstance(part, Jaxpr | ClosedJaxpr))
  return {eqn.primitive.name for eqn in jaxpr.eqns}.union(*map(primitives, inner))


def test_every_objective_has_a_file_of_tests_with_its_case_and_a_twin_of_the_whole():
  assert sorted(CASES) == config.names(objectives)
  for name in CASES:
    text = (Path(__file__).parent / f'papers/test_{name}.py').read_text()
    assert re.search(r'^TWIN = |^def test_.*twin', text, re.M), name


@every_paper
def test_traced_a_step_keeps_trees_shapes_and_dtypes_and_has_no_collective(name):
  params, memory, _ = abstract(name)
  closed, (after_params, after_memory, value, metrics, gradient) = traced(name).jaxpr, traced(name).out_info
  chex.assert_trees_all_equal_shapes_and_dtypes((params, memory), (after_params, after_memory))
  chex.assert_trees_all_equal_shapes_and_dtypes(params, gradient)
  before = jax.tree.leaves((params, memory))
  after = closed.out_avals[:len(before)]
  assert [x.weak_type for x in before] == [x.weak_type for x in after], 'a weak type compiles step 2 again'
  for key, each in {'loss': value, **metrics}.items():
    assert each.shape == () and each.dtype in (jnp.float32, jnp.int32), key
  assert not primitives(closed.jaxpr) & COLLECTIVES
  assert all(x.dtype in (jnp.float32, jnp.int32, jnp.uint32, jnp.bool_) for x in before)


@every_paper
def test_the_batch_contract_says_what_was_wanted_and_what_was_got(name):
  made, (*_, batch) = objective(name), abstract(name)
  check_batch(made, batch)
  key, shape = next(iter(made.batch.items()))
  with pytest.raises(ValueError, match=re.escape(f"wants batch[{key!r}] of shape '{shape}'")):
    check_batch(made, {'something': jnp.zeros(3)})
  with pytest.raises(ValueError, match=re.escape(str((2, 2)))):
    check_batch(made, {k: jnp.zeros((2, 2)) for k in made.batch})


@every_paper
def test_the_source_knows_no_device_optimizer_or_config(name):
  source = inspect.getsource(__import__(f'pretrain.objectives.{name}', fromlist=[name]))
  source = re.sub(r'^from pretrain\.config import .*$', '', source, flags=re.M)  # ranges of numbers
  for word in ('sharding', 'optax', 'config', 'psum', 'pmean', 'all_gather', 'axis_name', 'device', 'orbax', 'grain'):
    assert not re.search(rf'\b{word}\b', source), word


@every_paper
def test_probe(name):
  """Views, first parameters and steps until every parameter had a gradient; then what evaluation reads."""
  made, case = objective(name), CASES[name]
  run, views = traced(name).lower().compile(), jax.jit(case.views)
  first = made.init(jax.random.key(0))
  if 'backbone' in first[0]:  # made first, so that parts of `weighted` which start from one key share its numbers
    got = flat(first[0]['backbone'])
    chex.assert_trees_all_equal(got, {path: first_of(case.backbone)[path] for path in got})
  (params, memory), largest = first, 0.
  for i in range(max(3, case.turn)):
    batch, key = views(case.batch(i), jax.random.key(i)), jax.random.key(10 + i)
    params, memory, value, metrics, gradient = run(params, memory, batch, key, np.int32(i))
    largest = jax.tree.map(lambda most, g: np.maximum(most, np.abs(g).max()),
                           jax.tree.map(lambda _: 0., gradient) if i == 0 else largest, jax.device_get(gradient))
    for metric, each in {'loss': value, **metrics}.items():
      assert np.isfinite(each), (metric, i)
  chex.assert_tree_all_finite((params, memory))
  dead = [jax.tree_util.keystr(path) for path, most in jax.tree_util.tree_leaves_with_path(largest) if not most > 0]
  assert not dead, 'no gradient in any step'

  values = {float(run(*first, batch, jax.random.key(seed), np.int32(1))[2]) for seed in (0, 1)}
  assert len(values) == 1 + case.draws, 'the loss draws, unless `draws` of the case says that it does not'

  one = case.batch(3)
  images = np.asarray(seen(one.get('labeled', one)))
  readers = {what: read for what in ('encode', 'predict', 'project') if (read := getattr(made, what))}
  readout = jax.jit(lambda *given: {what: read(*given) for what, read in readers.items()})
  out, rolled = jax.device_get([readout(params, memory, x) for x in (images, np.roll(images, 3, 0))])
  chex.assert_shape(out['encode'], (B, 64))
  assert out['encode'].dtype == np.float32
  for what, each in out.items():
    chex.assert_tree_all_finite(each)
    np.testing.assert_allclose(np.roll(each, 3, 0), rolled[what], rtol=1e-4, atol=1e-5, err_msg=what)
  assert ('project' in out) == ('projector' in params | params.get('simclr', {}))  # a part's, too
  if 'project' in out:
    assert out['project'].ndim == 2 and len(out['project']) == B and np.ptp(out['project'], axis=0).max() > 0
  if 'predict' in out:
    chex.assert_shape(out['predict'], (B, CLASSES))
    np.testing.assert_allclose(out['predict'].sum(-1), 1, rtol=1e-5)
