"""Our side of `peers.py`: a case's config, made real by `prepare` and `assemble`, as a child that does rounds."""
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from peers import OPTIMIZERS, TOLERANCE, serve  # noqa: E402  (the benchmarks beside this one)
from step import of_few  # noqa: E402

from pretrain import optim  # noqa: E402
from pretrain.machine import sharding  # noqa: E402
from pretrain.method.masks import random_mask  # noqa: E402
from pretrain.run import Run, StepSpec, assemble  # noqa: E402
from pretrain.step import Training, TrainState, compile_ahead  # noqa: E402


def prepared(spec: dict) -> tuple[Run, dict]:
  """The run of a spec, and its config."""
  tree, files = tuples(spec['tree']), spec['level'] == 'files'
  tree['backbone']['dtype'] = spec['dtype']
  where = f'{spec["folder"]}/{"jpegs" if files else "images"}{spec["raw"]}'
  tree['source'] = dict(name='folder', path=where, split='train', size=spec['raw']) if files else \
      dict(name='arrays', path=where, split='train')
  return of_few(tree | dict(steps=1000, checkpoint=dict(every_steps=1000))), tree


def tuples(tree):
  """What JSON made lists is tuples again."""
  if isinstance(tree, dict):
    return {key: tuples(value) for key, value in tree.items()}
  return tuple(map(tuples, tree)) if isinstance(tree, list) else tree


def on_views(run: Run, tree: dict) -> Training:
  """The run's step on views that are made already."""
  views = jax.eval_shape(run.views, run.abstract_batch, jax.random.key(0))
  parts = {key: tree[key] for key in ('backbone', 'objective', 'optimizer', 'schedule')}
  spec = StepSpec(None, **parts, steps=run.steps, examples=run.examples, seed=run.seed)
  return assemble(views, run.mesh, spec).training


def facts(run: Run, tree: dict) -> dict:
  """What must be equal on both sides."""
  params = run.training.abstract.params
  spec = run.training.spec
  decayed = sum(math.prod(x.shape) for path, x in flat(params) if optim.decays(optim.leaf_of(spec, path, x)))
  views = jax.eval_shape(run.views, run.abstract_batch, jax.random.key(0))
  name = tree['optimizer']['name']
  options = {key: value.default for key, value in inspect.signature(getattr(optim, name)).parameters.items()} | \
      tree['optimizer']
  return {'parameters': sum(math.prod(x.shape) for x in jax.tree.leaves(params)), 'examples': run.examples,
          'views': {key: list(x.shape) for key, x in views.items() if key in run.objective.batch and len(x.shape) > 1},
          'optimizer': {'name': name, 'lr': tree['schedule']['peak'], 'weight_decay': options['weight_decay'],
                        'decayed': decayed, **{key: options[key] for key in OPTIMIZERS[name]}}}


def views_of(run: Run, path: str) -> dict:
  """Noise in the shapes of the views, the same whoever asks; written to the path if nothing is there."""
  rng, views = np.random.default_rng(0), jax.eval_shape(run.views, run.abstract_batch, jax.random.key(0))
  made = {key: rng.random(x.shape, np.float32) if np.issubdtype(x.dtype, np.floating) else
          (np.arange(len(x.shape) and x.shape[0]) % (10 if key == 'label' else 1 << 30)).astype(x.dtype)
          for key, x in sorted(views.items())}
  if not os.path.exists(path):
    np.savez(path, **made)
  return made


def check(run: Run, training: Training, tree: dict, batch: dict, path: str) -> list[float]:
  """The losses of as many steps as are compared, from noisy parameters; writes these and MAE's masks to the path."""
  rng, state = np.random.default_rng(1), training.init()

  def noisy(at, x):
    x = np.asarray(x) + 0.02 * rng.standard_normal(x.shape).astype(np.float32)
    if at[-1].key == 'position_table':
      x[1:] = x[1:].mean(0)
    return x

  params = jax.tree_util.tree_map_with_path(noisy, state.params)
  memory = state.memory | ({'teacher': params} if 'teacher' in state.memory else {})
  arrays, losses = dict(flat(params)), []
  state = jax.device_put(state._replace(params=params, memory=memory), training.layout)
  for step in range(len(TOLERANCE['float32'])):
    if tree['objective']['name'] == 'mae':  # the key of `train_step`
      key = jax.random.split(jax.random.fold_in(jax.random.split(jax.random.key(run.seed))[1], step))[1]
      count = (tree['views']['size'] // 16) ** 2
      arrays[f'visible{step}'] = random_mask(key, batch['index'], count, tree['objective']['mask_ratio'])[0]
    state, metrics = training.step(state, batch)
    losses.append(float(metrics['loss']))
  np.savez(path, **arrays)
  return losses


def flat(tree) -> Iterator[tuple[str, np.ndarray]]:
  for path, x in jax.tree_util.tree_leaves_with_path(tree):
    yield jax.tree_util.keystr(path, simple=True, separator='/'), x


def start(spec: dict) -> tuple[dict, Callable]:
  jax.config.update('jax_compilation_cache_dir', f'{spec["folder"]}/programs')
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  run, tree = prepared(spec)
  about, level = facts(run, tree), spec['level']
  training = run.training if level in ('views', 'files') else on_views(run, tree)
  if level == 'files':
    batches = run.batches(start=0, bad_records=None)
    read = lambda: sharding.place(next(batches), run.mesh)
  else:
    if level == 'views':
      with run.batches(start=0, bad_records=None) as batches:
        batch = next(batches)
    else:
      batch = views_of(run, f'{spec["folder"]}/{spec["case"]}_views.npz')
    batch = sharding.place(batch, run.mesh)
    read = lambda: batch
  if level == 'check':
    losses = check(run, training, tree, batch, f'{spec["folder"]}/{spec["case"]}_params.npz')
    return about | {'losses': losses}, lambda: None
  state: TrainState = training.init()
  if level == 'forward':
    loss = jax.jit(lambda state, batch: run.objective.loss(state.params, state.memory, batch, jax.random.key(0),
                                                           state.step)[0])
    return about, lambda: [loss(state, batch).block_until_ready() for _ in range(spec['steps'])]

  step = compile_ahead(training, run.abstract_batch if level in ('views', 'files') else batch)

  def work():
    nonlocal state
    for _ in range(spec['steps']):
      state, metrics = step(state, read())
    jax.block_until_ready((state, metrics))

  return about, work


if __name__ == '__main__':
  serve(start)
