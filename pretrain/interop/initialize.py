"""The start of a run from parts of another, `config.initialize`, or from all of it, `config.continues`."""
import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from data.classes import shown
from pretrain.config import ConfigError, nearest
from pretrain.machine.checkpoint import Checkpoints, compare, manifest
from pretrain.step import Training, TrainState

AVERAGES = ('ema', 'teacher')  # entries of memory that are moving averages of the parameters
# and what goes with them; those of objectives made of others lie below the part's name
KNOWN = {*AVERAGES, 'statistics', *(f'{average}_statistics' for average in AVERAGES)}


class Initialize(NamedTuple):
  """config.initialize: the parameters and batch statistics of some parts, from the newest checkpoint of another run.

  Read once, at step 0; a run that was started goes on without that directory. Give workdir and parts, or teacher, or
  all three.

  workdir:  of the other run; a relative path is one from the folder of the command.
  parts:    paths below the parameters, alike in both runs: ('backbone',), or ('backbone', 'projector/layers/0').
  teacher:  directory of the run that is the frozen teacher of an objective that wants one: of that run are the arrays
            in memory's 'frozen_teacher' and 'frozen_teacher_statistics', by the same paths.
  averaged: False takes what the optimizer trained, even where the objective evaluates by a moving average of it; True
            takes that average ('ema' or 'teacher') and its batch statistics, or those of training where it has none.

  An average that this run keeps starts as a copy of its parameters, as always.
  """
  workdir: str | None = None
  parts: tuple[str, ...] = ()
  averaged: bool = False
  teacher: str | None = None


def whole(workdir: str, training: Training, seed: int) -> tuple[int, TrainState]:
  """The newest step of another run and its whole state but the seed, on this run's mesh: `config.continues`.

  That run is only read. Raises ConfigError where it has no checkpoint, or arrays of other shapes; named.
  """
  with opened(workdir, 'config.continues') as checkpoints:
    assert checkpoints.latest  # `opened` sees to that
    state, _ = checkpoints.restore(training.abstract)
    return checkpoints.latest, state._replace(seed=jax.device_put(np.uint32(seed % 2**32), state.seed.sharding))


def check_whole(workdir: str, abstract: TrainState, steps: int, classes: tuple[str, ...] | None) -> None:
  """Raises ConfigError, before anything is compiled, unless `whole` can be read, at an earlier step than the last, and
  was trained with these classes, where the run learns classes."""
  with opened(workdir, 'config.continues') as checkpoints:
    meta = checkpoints.meta()
    compare(meta['arrays'], manifest(abstract))
    check_classes(meta, classes, f'config.continues: {workdir} was trained with')
    if (checkpoints.latest or 0) >= steps:
      raise ConfigError(f'config.steps: wanted more than the {checkpoints.latest} of {workdir}, which this run goes on '
                        f'from and which count, got {steps}')


def check(spec: Initialize, abstract: TrainState, classes: tuple[str, ...] | None) -> None:
  """Raises ConfigError, before anything is compiled, unless `start` can read all that it needs, and the heads among it
  were trained with these classes, where the run learns classes."""
  for key in origins(spec):
    with opened(getattr(spec, key), f'config.initialize.{key}') as checkpoints:
      meta = checkpoints.meta()
      wanted = manifest(tree_of(sources(spec, abstract, meta['arrays'], key)))
      compare({path: found for path, found in meta['arrays'].items() if path in wanted}, wanted)
      if any('head' in path.split('/') for path in wanted):
        check_classes(meta, classes, f'config.initialize.{key}: {getattr(spec, key)} was trained with')


def check_classes(meta: dict, classes: tuple[str, ...] | None, what: str) -> None:
  """Raises ConfigError unless a checkpoint's run had the classes, or neither has any.

  Args:
    meta: of the checkpoint.
    classes: their names, in order.
    what: of which run or part, for the message: 'runs/a was trained with'.
  """
  then = meta.get('identity', {}).get('source', {}).get('classes')
  if then and classes and tuple(then) != classes:
    raise ConfigError(f'{what} the classes {shown(then)}, config.source now has {shown(classes)}: numbers that the '
                      'model gives would mean other classes; restore the data, or of_classes brings classes into an '
                      'order')


def check_fits(spec: Initialize | None, memory) -> None:
  """Raises ConfigError unless workdir and parts are named together, and a teacher exactly where memory wants one."""
  if spec and (bool(spec.workdir) != bool(spec.parts) or not origins(spec)):
    raise ConfigError(f'config.initialize: wanted a workdir and parts of it, or a teacher, got {spec}')
  wants, has = 'frozen_teacher' in memory, bool(spec and spec.teacher)
  if wants and not has:
    raise ConfigError('config.initialize.teacher: the objective wants the directory of the run that is its frozen '
                      'teacher, got none')
  if has and not wants:
    raise ConfigError('config.initialize.teacher: the objective has no frozen teacher; wanted none')


def start(spec: Initialize, training: Training) -> TrainState:
  """The state at step 0 with the parts from the other run, on this run's mesh.

  Raises:
    ConfigError: no checkpoint there, a part that either run lacks, arrays of other shapes; named.
  """
  found = {}
  for origin in origins(spec):
    with opened(getattr(spec, origin), f'config.initialize.{origin}') as checkpoints:
      wanted = sources(spec, training.abstract, checkpoints.meta()['arrays'], origin)
      tree, _ = checkpoints.restore(tree_of(wanted), part=True)
    for keys, (there, _) in wanted.items():
      value: Any = tree
      for key in there:
        value = value[key]
      found[keys] = value
  state = training.init()

  def choose(path, fresh):
    if (keys := keys_of(path)) not in found:
      return fresh
    # a copy: the step gives each buffer of the state away, once
    return jax.device_put(found[keys].copy(), fresh.sharding)

  return state._replace(**jax.tree_util.tree_map_with_path(choose, {'params': state.params, 'memory': state.memory}))


def origins(spec: Initialize) -> tuple[str, ...]:
  """Which entries of `spec` name a run to read."""
  return tuple(name for name in ('workdir', 'teacher') if getattr(spec, name))


@contextlib.contextmanager
def opened(workdir: str, where: str):
  """The checkpoints of another run, which `where` in the config names; raises ConfigError where there are none."""
  directory = Path(workdir) / 'checkpoints'
  if not directory.is_dir():
    raise ConfigError(f'{where}: {workdir} is not the directory of a run: it has no checkpoints')
  with contextlib.closing(Checkpoints(directory, reading=True)) as checkpoints:
    if checkpoints.latest is None:
      raise ConfigError(f'{where}: {workdir} holds no checkpoint yet')
    yield checkpoints


def sources(spec: Initialize, abstract: TrainState, stored: dict, origin: str) -> dict[tuple, tuple[tuple, Any]]:
  """{keys of an array here: (its keys in the other run's state, shape, dtype and sharding)}."""
  params, statistics = ('params',), ('memory', 'statistics')
  if spec.averaged:
    kept = [name for name in AVERAGES if any(path.startswith(f'memory/{name}/') for path in stored)]
    if not kept:
      raise ConfigError(f'config.initialize.averaged: the run in {getattr(spec, origin)} keeps no moving average '
                        f'({" or ".join(AVERAGES)}) of its parameters; wanted averaged=False')
    own = f'{kept[0]}_statistics'
    shared = not any(path.startswith(f'memory/{own}/') for path in stored)
    params, statistics = ('memory', kept[0]), ('memory', 'statistics' if shared else own)
  if origin == 'teacher':
    there = {'frozen_teacher': params, 'frozen_teacher_statistics': statistics}
    leaves = [(keys_of(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path({'memory': abstract.memory})]
    return {keys: (there[keys[1]] + keys[2:], leaf) for keys, leaf in leaves if keys[1] in there}
  chosen, unseen = {}, set(spec.parts)
  for path, leaf in jax.tree_util.tree_leaves_with_path({'params': abstract.params, 'memory': abstract.memory}):
    keys = keys_of(path)
    place = 1 if keys[0] == 'params' else 2 if len(keys) < 3 or keys[1] in KNOWN or keys[2] not in KNOWN else 3
    name, below = keys[place - 1], '/'.join(map(str, keys[place:])) + '/'
    parts = [part for part in spec.parts if below.startswith(part + '/')]
    if parts and (name == 'params' or name in AVERAGES):
      chosen[keys] = (*params, *keys[place:]), leaf
      unseen -= set(parts)
    elif parts and (name == 'statistics' or name in [f'{average}_statistics' for average in AVERAGES]):
      chosen[keys] = (*statistics, *keys[place:]), leaf
  if unseen:
    here = {str(keys_of(path)[0]) for path, _ in jax.tree_util.tree_leaves_with_path(abstract.params)}
    part = min(unseen)
    raise ConfigError(f'config.initialize.parts: {part!r} is no part of this model{nearest(part, here)}')
  return chosen


def tree_of(wanted: dict[tuple, tuple[tuple, Any]]) -> dict:
  """The arrays as nested dicts by their keys in the other run's state."""
  tree: dict = {}
  for keys, leaf in wanted.values():
    node = tree
    for key in keys[:-1]:
      node = node.setdefault(key, {})
    node[keys[-1]] = leaf
  return tree


def keys_of(path) -> tuple:
  return tuple(entry.key for entry in path)
