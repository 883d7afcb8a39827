"""How an objective as a whole is compared with its slow twin: who gets what, over three steps, in values.

A twin is written from the paper, in NumPy float64 with explicit loops, over the objective's own parameters and memory:

  twin(params, stopped, memory, batch, draws, step) -> (loss, {metric: value}, after)
  after(params) -> (params, memory)   # parameters behind the optimizer -> what `update` makes of them and of memory

`params` and `stopped` hold the same numbers. What the paper differentiates is computed of `params`, what it does not
(targets of the network itself, weights, pseudo-labels) of `stopped`: the gradient is compared with finite differences
of the twin in `params` alone, along random directions, in the last step one for each array. Teachers and averages are
in `memory`. `draws` are the random numbers of the loss in the order in which it makes them, as (name of the function of
`jax.random`, array); none but `repeated` ones may come twice. `python -m tests.twin NAME` shows the trees, the batch,
the metrics, the draws of a case.
"""
import functools
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pretrain.method.objective import Objective
from pretrain.models.layers import batch_norm

RTOL, ATOL = 1e-5, 2e-6
SAMPLERS = ('uniform', 'normal', 'truncated_normal', 'bernoulli', 'categorical', 'gumbel', 'beta', 'dirichlet', 'gamma',
            'exponential', 'laplace', 'randint', 'permutation', 'choice', 'rademacher', 'bits')


class Twin(NamedTuple):
  """An objective, what it is given, and its twin.

  objective: of networks so small that a pass takes no time.
  batch: rng -> a batch as the objective declares it (what the views deliver), float images in [0, 1].
  twin: see above.
  encode: the twin of the function of that name, (params, memory, images) -> array.
  images: rng -> what it takes.
  predict, project: as `encode`, where the objective has them.
  memory: (rng, memory) -> memory that matters: a filled queue, unequal statuses. Statistics and copies of parameters
    are moved away from each other already.
  steps: those compared, each from the state that the step before left.
  hold, rate: step -> what `Objective.hold` and `rate` give.
  moves: change of the batch -> the terms (metrics, or 'loss') that it moves, and no others. A change is a key, or
    'key/i' for the slot i of axis 1 (a view), whose numbers are drawn again; or a name of `changes`.
  changes: name -> (batch, draws, rng) -> batch.
  grown: part of a path -> factor for the kernels there, and their copies in memory, where they start so small that all
    examples look the same, as those of a classifier.
  repeated: draws of a step that are the same as one before on purpose.
  """
  objective: Objective
  batch: Callable[[np.random.Generator], dict]
  twin: Callable
  encode: Callable
  images: Callable
  moves: dict[str, set[str]]
  predict: Callable | None = None
  project: Callable | None = None
  memory: Callable | None = None
  steps: tuple[int, ...] = (0, 1, 2)
  hold: Callable | None = None
  rate: Callable | None = None
  changes: dict[str, Callable] = {}
  grown: dict[str, float] = {}
  repeated: int = 0


class _Tiny(nnx.Module):

  def __init__(self, pixels: int, width: int, hidden: int, norm: bool, noise: bool, rngs: nnx.Rngs):
    self.width, self.dtype, self.noise, self.normed = width, 'float32', noise, norm
    self.first = nnx.Linear(pixels, hidden, rngs=rngs)
    if norm:
      self.norm = batch_norm(hidden, rngs=rngs)
    self.last = nnx.Linear(hidden, width, rngs=rngs)

  def __call__(self, images, *, train: bool = False, key=None):
    x = self.first(images.reshape(len(images), -1) - 0.5)
    x = jnp.tanh(self.norm(x, use_running_average=not train) if self.normed else x)
    if self.noise and train and key is not None:
      x = x * (0.5 + jax.random.uniform(key, x.shape))
    return self.last(x)


def tiny(*, pixels: int = 16, width: int = 6, hidden: int = 7, norm: bool = True, noise: bool = True) -> Callable:
  """A backbone of two layers, build(rngs) -> module; `tests.reference.networks.Tiny` is its pass in NumPy.

  norm: with batch normalisation. noise: a training pass with a key multiplies by random numbers, as dropout does.
  """
  return lambda rngs: _Tiny(pixels, width, hidden, norm, noise, rngs)


def numpy_tree(tree: Any) -> Any:
  """Nested dicts (named tuples too) with str keys of NumPy arrays, floats in float64."""
  if hasattr(tree, '_asdict'):
    tree = tree._asdict()
  if isinstance(tree, dict):
    return {str(key): numpy_tree(value) for key, value in tree.items()}
  array = np.asarray(tree)
  return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) or array.dtype == jnp.bfloat16 else array


def leaves(tree: Any, path: str = '') -> Iterator[tuple[str, np.ndarray]]:
  for key in sorted(tree):
    here = f'{path}/{key}' if path else key
    if isinstance(tree[key], dict):
      yield from leaves(tree[key], here)
    else:
      yield here, np.asarray(tree[key])


def replaced(tree: Any, path: str, value: Any) -> Any:
  """The tree with another leaf."""
  first, _, rest = path.partition('/')
  return tree | {first: replaced(tree[first], rest, value) if rest else value}


def copied(tree: Any) -> Any:
  """Of a tree of statistics: passes of a twin move those of a copy."""
  return {key: copied(value) if isinstance(value, dict) else np.array(value) for key, value in tree.items()}


class _Draws:
  """Records what `jax.random` draws while a function is traced, when it runs, in the order of the trace."""

  def __init__(self):
    self.seen: dict[int, tuple[str, np.ndarray]] = {}
    self.count = 0

  def __enter__(self):
    self.real = {name: getattr(jax.random, name) for name in SAMPLERS}
    for name, real in self.real.items():
      setattr(jax.random, name, functools.partial(self._draw, name, real))
    return self

  def __exit__(self, *_):
    for name, real in self.real.items():
      setattr(jax.random, name, real)

  def _draw(self, name, real, *args, **kwargs):
    value, place = real(*args, **kwargs), self.count
    self.count += 1

    def record(array):
      self.seen[place] = name, np.array(array)  # its buffer is the program's
      return array

    return jax.pure_callback(record, jax.ShapeDtypeStruct(value.shape, value.dtype), jax.lax.stop_gradient(value),
                             vmap_method='broadcast_all')

  def taken(self) -> list[tuple[str, np.ndarray]]:
    taken = [(name, array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array)
             for _, (name, array) in sorted(self.seen.items())]
    self.seen.clear()
    return taken


def named(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def scrambled(params, memory, rng: np.random.Generator):
  """Both with every float moved: parameters, their copies in memory (apart from them), means and variances."""
  names = {path for path, _ in leaves(numpy_tree(params))}

  def move(path, x):
    keys = named(path).split('/')
    of_params = any('/'.join(keys[i:]) in names for i in range(len(keys)))
    x = np.asarray(x)
    if keys[-1] == 'var':
      return (x * np.exp(0.3 * rng.normal(size=x.shape))).astype(x.dtype)
    if not np.issubdtype(x.dtype, np.floating) or not (of_params or keys[-1] == 'mean'):
      return x
    scale = np.sqrt(np.mean(np.square(x)))
    return (x + 0.3 * (scale or 1.) * rng.normal(size=x.shape)).astype(x.dtype)

  return tuple(jax.tree_util.tree_map_with_path(move, tree) for tree in (params, memory))


class Run:
  """A case's state, its compiled functions, and the draws that they make."""

  def __init__(self, case: Twin):
    self.case, self.rng, self.draws = case, np.random.default_rng(0), _Draws()
    made = case.objective
    params, memory = jax.jit(made.init)(jax.random.key(0))

    def grow(keys, x):
      path = named(keys)
      return x * math.prod(factor for part, factor in case.grown.items() if part in path and path.endswith('kernel'))

    params, memory = jax.tree_util.tree_map_with_path(grow, (params, memory)) if case.grown else (params, memory)
    self.params, self.memory = scrambled(params, memory, self.rng)
    if case.memory:
      self.memory = jax.tree.map(lambda new, old: np.asarray(new, old.dtype), case.memory(self.rng, self.memory),
                                 memory)

    def loss(params, memory, batch, key, step):
      with self.draws:
        return made.loss(params, memory, batch, key, step)

    self.gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    self.update = jax.jit(made.update)

  def batch(self) -> dict:
    return jax.tree.map(lambda x: x.astype(np.float32) if np.issubdtype(x.dtype, np.floating) else x.astype(
        bool if x.dtype == bool else np.int32), self.case.batch(self.rng))


def close(got, wanted, what: str, rtol: float = RTOL, atol: float = ATOL) -> None:
  np.testing.assert_allclose(np.asarray(got, np.float64), wanted, rtol=rtol, atol=atol, err_msg=what)


def same(got: dict, wanted: dict, what: str) -> None:
  """Two trees have the same leaves, with the same values."""
  got, wanted = dict(leaves(got)), dict(leaves(wanted))
  assert got.keys() == wanted.keys(), f'{what}: {got.keys() ^ wanted.keys()}'
  for path, value in got.items():
    assert value.shape == np.shape(wanted[path]), f'{what} {path}: {value.shape}, twin {np.shape(wanted[path])}'
    close(value, wanted[path], f'{what} {path}')


def check(case: Twin) -> None:
  """All that a twin says is so, and each change of the batch moves what it should."""
  run = Run(case)
  check_moves(run)
  check_values(run)


def check_values(run: Run) -> None:
  """Loss, metrics, gradients, parameters and memory of each step are the twin's; so is what evaluation sees."""
  case, drawn = run.case, []
  for path, x in leaves(numpy_tree(run.memory)):
    assert x.size < 2 or np.ptp(x) > 0, f'memory {path} is constant: a test would not see who uses it'
  for step in case.steps:
    batch = run.batch()
    params, memory, given = map(numpy_tree, (run.params, run.memory, batch))
    (loss, (carry, metrics)), grads = jax.device_get(run.gradient(run.params, run.memory, batch, jax.random.key(step),
                                                                  jnp.int32(step)))
    draws = run.draws.taken()
    again = []
    for kind, array in draws:
      if array.size > 3:
        again += [kind] * any(np.array_equal(array, other) for other in drawn)
        drawn.append(array)
    assert len(again) == case.repeated, f'step {step} draws the same {again} again'
    twin = functools.partial(case.twin, stopped=params, memory=memory, batch=given, draws=draws, step=step)
    wanted, wanted_metrics, after = twin(params)
    close(loss, wanted, f'loss of step {step}')
    assert metrics.keys() == wanted_metrics.keys(), f'metrics {metrics.keys() ^ wanted_metrics.keys()}'
    for name, value in metrics.items():
      close(value, wanted_metrics[name], f'{name} of step {step}')
    check_gradient(twin, params, numpy_tree(grads), run.rng, step, each=step == case.steps[-1])
    run.params = jax.tree.map(lambda p, g: (p - 0.1 * g).astype(p.dtype), run.params, grads)
    stepped = numpy_tree(run.params)
    run.params, run.memory = jax.device_get(run.update(run.params, run.memory, carry, jnp.int32(step)))
    wanted_params, wanted_memory = after(stepped)
    same(numpy_tree(run.params), wanted_params, f'parameters after step {step}')
    same(numpy_tree(run.memory), wanted_memory, f'memory after step {step}')
    for name, twins in (('hold', case.hold), ('rate', case.rate)):
      assert bool(getattr(case.objective, name)) == bool(twins), name
      if twins:
        got, wanted = getattr(case.objective, name)(jnp.int32(step)), twins(step)
        assert got.keys() == wanted.keys()
        for path, value in wanted.items():
          close(got[path], value, f'{name} {path} at step {step}')
  images = case.images(run.rng)
  images = images.astype(np.float32 if images.dtype == np.float64 else np.int32)
  given = numpy_tree(run.params), numpy_tree(run.memory), numpy_tree(images)
  for name in ('encode', 'predict', 'project'):
    function, twins = getattr(case.objective, name), getattr(case, name)
    assert bool(function) == bool(twins), f'{name}: the objective {function}, the twin {twins}'
    if function:
      close(jax.jit(function)(run.params, run.memory, images), twins(*given), name)


def check_gradient(twin: Callable, params: dict, grads: dict, rng: np.random.Generator, step: int, each: bool) -> None:
  """Along random directions finite differences of the twin are the gradient, to 1e-4 of its length.

  each: a direction for each array; otherwise one for all.
  """
  values, slopes, h = dict(leaves(params)), dict(leaves(grads)), 1e-5
  largest = max(np.abs(slope).max() for slope in slopes.values())
  assert largest > 1e-4, 'the loss has no gradient here'
  assert values.keys() == slopes.keys()
  for moved in [[path] for path in values] if each else [list(values)]:
    directions = {path: rng.normal(size=values[path].shape) for path in moved}
    length = math.sqrt(sum(np.sum(d ** 2) for d in directions.values()))
    ends = []
    for sign in (h, -h):
      at = params
      for path, direction in directions.items():
        at = replaced(at, path, values[path] + sign * direction / length)
      ends.append(twin(at)[0])
    wanted = (ends[0] - ends[1]) / (2 * h)
    got = sum(np.sum(slopes[path] * direction) for path, direction in directions.items()) / length
    scale = math.sqrt(sum(np.sum(slopes[path] ** 2) for path in moved))
    assert abs(got - wanted) < 1e-4 * max(scale, 0.01 * largest, 1e-3), (
        f'gradient of {moved} at step {step}: {got}, finite differences of the twin: {wanted}')


def check_moves(run: Run) -> None:
  """Each change of the batch moves the terms that it should, and no others."""
  case = run.case
  batch, key, step = run.batch(), jax.random.key(0), jnp.int32(case.steps[-1])

  def terms(batch):
    (loss, (_, metrics)), _ = jax.device_get(run.gradient(run.params, run.memory, batch, key, step))
    return {'loss': loss, **metrics}

  before, draws = terms(batch), run.draws.taken()
  keys = {name.split('/')[0] for name in case.moves} - case.changes.keys()
  assert keys <= batch.keys(), keys - batch.keys()
  for name, moved in case.moves.items():
    if name in case.changes:
      changed = case.changes[name](numpy_tree(batch), draws, run.rng)
    else:
      key_of, _, slot = name.partition('/')
      new, at = np.array(batch[key_of]), (slice(None), int(slot)) if slot else ()
      other = run.batch()[key_of]
      new[at] = other[at]
      changed = batch | {key_of: new}
    changed = {k: np.asarray(v, batch[k].dtype) for k, v in changed.items()}
    assert any(np.any(changed[k] != batch[k]) for k in batch), f'{name} changes nothing'
    got = terms(changed)
    assert {term for term in before if not np.array_equal(got[term], before[term])} == moved, name
  run.draws.taken()  # those of a branch that the first step does not take would stay


def describe(name: str) -> None:
  """Prints what a twin's author needs of a case whose `twin` may still be empty."""
  case = importlib.import_module(f'tests.papers.test_{name}').TWIN
  run = Run(case)
  batch = run.batch()
  (loss, (carry, metrics)), grads = run.gradient(run.params, run.memory, batch, jax.random.key(0), jnp.int32(0))
  for what, tree in (('params', run.params), ('memory', run.memory), ('batch', batch)):
    print(f'\n{what}:')
    for path, x in leaves(numpy_tree(tree)):
      print(f'  {path}  {x.dtype}{list(x.shape)}')
  print('\nloss', float(loss))
  print('metrics', {key: float(value) for key, value in metrics.items()})
  print('draws', [(kind, array.shape) for kind, array in run.draws.taken()])
  print('gradient is zero in', [path for path, g in leaves(numpy_tree(grads)) if not np.abs(g).max() > 0])
  functions = [f for f in ('predict', 'project', 'hold', 'rate', 'towers', 'parts') if getattr(case.objective, f)]
  print('functions: encode,', ', '.join(functions))


if __name__ == '__main__':
  describe(sys.argv[1])
