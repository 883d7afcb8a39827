"""Checkpoints of a run through Orbax: arrays, data position, config and a fingerprint of the arrays in one step.

Only this file imports Orbax. A checkpoint is visible once it is whole (a kill during a save leaves a temporary
directory that the next start removes). When it is read its arrays are compared with their fingerprint, and everything
else with a digest, since a flipped bit on disk would otherwise load in silence.
"""
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
from orbax.checkpoint._src.futures import future, signaling_client

from pretrain.config import ConfigError
from pretrain.machine import processes
from pretrain.machine.processes import on_host

# Orbax takes the deadlines of a save by the wall clock: one that is set, or a machine that was suspended, would make it
# fail, or wait for a day.
for _module in (future, signaling_client):
  vars(_module)['time'] = SimpleNamespace(**vars(time) | {'time': time.monotonic})


# 1 had no digest of what stands beside the arrays, no step and no identity of the data; 2 had other names for some
# arrays of memory, `RENAMED`, copies of parts that a teacher does not use, and no spec
FORMAT = 3
RENAMED = (  # a path, and what it was
  (r'^(memory/(?:[^/]+/)?)teacher(_statistics)?/', r'\1ema\2/'),
  (r'^(memory/(?:[^/]+/)?)fixed/backbone/project/', r'\1frozen/project/'),
  (r'^(memory/(?:[^/]+/)?)statistics/predictor/', r'\1predictor_statistics/'),
)
DROPPED = r'^memory/(?:[^/]+/)?teacher(?:_statistics)?/'
FIRST = {'config', 'data', 'arrays', 'fingerprint'}  # the keys of format 1


class Damaged(RuntimeError):
  """A checkpoint is not what was saved."""


class NotFiniteState(RuntimeError):
  """Parameters that are to be saved are NaN or infinite; its text names some."""


class Checkpoints:
  """The checkpoints of one directory, newest last.

  Args:
    directory: created when absent.
    keep: how many of the newest to keep, >= 1.
    reading: nothing is saved: what another process may be writing there is left alone.
  """

  def __init__(self, directory: str | Path, keep: int = 2, reading: bool = False):
    self._directory = Path(directory).absolute()
    self._way_out = '; the command that trained it goes back to the checkpoint before it' if reading else ''
    context = ocp.Context()
    context.pytree.loading.partial_load = True  # `restore` compares the lists of arrays
    context.array.saving.use_replica_parallel = False  # True compiles programs per array shape at the first save
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name='meta')
    context.checkpointables.registry = registry
    # A slow disk is no error.
    context.asynchronous.timeout_secs = 10 ** 9
    self._checkpointer = ocp.training.Checkpointer(
        str(Path(directory).absolute()), context=context, cleanup_tmp_directories=not reading,
        # Orbax's own policies do not match the protocols that it annotates.
        # pyrefly: ignore[bad-argument-type]
        save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
        # pyrefly: ignore[bad-argument-type]
        preservation_policy=ocp.training.preservation_policies.LatestN(keep))
    self._fingerprint, self._finite = jax.jit(fingerprint), jax.jit(finite)
    self._saving = None  # the save under way

  @property
  def latest(self) -> int | None:
    """The step of the newest whole checkpoint."""
    newest = self._checkpointer.latest
    return None if newest is None else newest.step

  def save(self, step: int, state: Any, meta: dict) -> None:
    """Starts saving and returns once the arrays are copied to the host; `state` may be donated afterwards.

    Args:
      state: arrays; all below 'params' have to be finite.
      meta: JSON; kept beside the arrays.
    Raises:
      NotFiniteState: a parameter is not; nothing is saved.
    """
    arrays = manifest(state)
    parameters = {name: x for name, x in zip(arrays, jax.tree.leaves(state), strict=True)
                  if name.startswith('params/')}
    good = on_host(self._finite(parameters)) if parameters else np.ones(0, bool)
    if bad := [name.removeprefix('params/') for name, sound in zip(sorted(parameters), good, strict=True) if not sound]:
      raise NotFiniteState(f'{len(bad)} of {len(good)} arrays of parameters are not finite, such as {bad[0]}')
    meta = meta | {'format': FORMAT, 'step': step, 'arrays': arrays,
                   'fingerprint': on_host(self._fingerprint(state)).tolist()}
    meta['digest'] = digest(meta)
    self._saving = self._checkpointer.save_checkpointables_async(step, {'state': state, 'meta': meta})

  def wait(self) -> None:
    """Returns when the save under way is on disk.

    Raises:
      OSError: it could not be written; earlier checkpoints are as they were.
    """
    saving, self._saving = self._saving, None
    try:
      if saving:
        saving.result()  # without this its thread, and three open files, would stay to the end of the process
    except (ValueError, OSError) as error:  # TensorStore's errors are ValueErrors
      reason = 'no space left on the device' if 'No space left' in str(error) else str(error)
      raise OSError(f'a checkpoint could not be saved in {self._directory}: {reason}; nothing of it is '
                    'kept') from error

  def meta(self, step: int | None = None) -> dict:
    """What stands beside the arrays of a checkpoint, the newest one's by default.

    Raises:
      Damaged: it is not what was saved.
      ConfigError: a later version of this code saved it.
    """
    step = self.latest if step is None else step
    meta = self._load(step, {'meta': None})['meta']
    if set(meta) == FIRST:
      return meta
    what = f'checkpoint {step} in {self._directory}'
    if meta.get('digest') != digest(meta) or meta.get('step') != step:
      raise Damaged(f'{what} is damaged: what stands beside its arrays is not what was saved{self._way_out}')
    if meta['format'] > FORMAT:
      raise ConfigError(f'{what} is of format {meta["format"]}, and this version reads up to {FORMAT}: it was saved by '
                        'a later one; use that')
    return meta

  def restore(self, abstract: Any, step: int | None = None, part: bool = False) -> tuple[Any, dict]:
    """Reads a checkpoint into the shapes, dtypes and shardings of `abstract`, on any mesh.

    Args:
      part: `abstract` is a part of the state, as nested dicts; the rest is not read.
    Returns:
      state, meta.
    Raises:
      ConfigError: the checkpoint's arrays are not those of `abstract`; names those that differ.
      Damaged: something of it cannot be read, or the arrays read are not those that were saved.
    """
    meta = self._by_all(lambda: self.meta(step))
    wanted = manifest(abstract)
    names = stored_names(wanted, meta)
    there = {path: names[path] for path in wanted if names[path] in meta['arrays']}
    found = {path: meta['arrays'][name] for path, name in there.items()}
    rest = meta['arrays'].keys() - there.values() if not part else ()
    left = {path: meta['arrays'][path] for path in rest if meta.get('format', 1) > 2 or not re.match(DROPPED, path)}
    compare(found | left, wanted)
    state = self._by_all(lambda: self._load(step, {'state': as_stored(abstract, names)}))['state']
    state = as_wanted(state, abstract, names)
    saved = dict(zip(meta['arrays'], meta['fingerprint'], strict=True))
    if on_host(self._fingerprint(state)).tolist() != [saved[there[path]] for path in wanted]:
      raise Damaged(f'checkpoint {step or self.latest} in {self._directory} is damaged: its arrays are not those that '
                    f'were saved{self._way_out}')
    return state, meta

  def restore_newest(self, abstract: Any) -> tuple[int, Any, dict, list[str]]:
    """`restore` of the newest checkpoint that is whole; damaged ones are kept under another name.

    Returns:
      its step, state, meta, what was found damaged.
    Raises:
      Damaged: there is no earlier one.
    """
    found = []
    while True:
      step, *earlier = sorted((each.step for each in self._checkpointer.checkpoints), reverse=True)
      try:
        return step, *self.restore(abstract, step), found
      except Damaged as error:
        if not earlier:
          raise Damaged(f'{error}; there is no earlier one') from error
        found.append(f'{error}; it is kept as {self._rename(step, "damaged")}')

  def set_aside(self, step: int) -> str | None:
    """Keeps a checkpoint under another name, so that the one before it is the newest.

    Returns:
      The name; None, and nothing is done, where there is no earlier one.
    """
    earlier = [each.step for each in self._checkpointer.checkpoints if each.step < step]
    return self._rename(step, 'unused') if earlier else None

  def _rename(self, step: int, kind: str) -> str:
    """Done by process 0; all know of it when it returns."""
    names = (f'{kind}-{step}' + (f'-{n}' if n > 1 else '') for n in itertools.count(1))
    name = next(name for name in names if not (self._directory / name).exists())
    name = processes.exchange(['the name of a checkpoint'], name)[0]
    if processes.me() == 0:
      (self._directory / str(step)).rename(self._directory / name)
    processes.exchange(['a checkpoint that was renamed'], '')
    self._checkpointer.reload()
    return name

  def _by_all(self, read: Callable[[], Any]) -> Any:
    """What `read` returns; raises Damaged in all processes if it does so in one."""
    found, damage = None, ''
    try:
      found = read()
    except Damaged as error:
      damage = str(error)
    if damages := list(filter(None, processes.exchange(['that a checkpoint is read'], damage))):
      raise Damaged(damages[0])
    return found

  def close(self) -> None:
    """Raises what `wait` does."""
    try:
      self.wait()
    finally:
      self._checkpointer.close()

  def _load(self, step, wanted):
    try:
      return self._checkpointer.load_checkpointables(step, wanted)
    except PermissionError:
      raise
    except (ValueError, KeyError, OSError) as error:
      reason = ' '.join(str(error.__cause__ or error).split())[:300]  # Orbax wraps the message that helps
      raise Damaged(f'checkpoint {step or self.latest} in {self._directory} is damaged: {reason}'
                    f'{self._way_out}') from error


def digest(meta: dict) -> str:
  """Of all that stands beside the arrays but the digest itself, as JSON."""
  rest = {key: value for key, value in meta.items() if key != 'digest'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def finite(tree: Any) -> jax.Array:
  """bool[leaves]: whether all numbers of each array are finite."""
  return jnp.stack([jnp.isfinite(x).all() if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.bool_(True)
                    for x in jax.tree.leaves(tree)])


def compare(stored: dict, wanted: dict) -> None:
  """Raises ConfigError, which names arrays, unless two manifests are equal."""
  if stored != wanted:
    lines = [f'{path}: checkpoint {stored.get(path, "lacks it")}, model {wanted.get(path, "lacks it")}'
             for path in sorted(stored.keys() | wanted.keys()) if stored.get(path) != wanted.get(path)]
    raise ConfigError(f'the checkpoint has another architecture; {len(lines)} arrays differ: ' + '; '.join(lines[:8]))


def kinds(spec: Mapping[str, Any]) -> dict[str, list]:
  """{path: [layer, decay]} of the parameters in an `Objective.spec`, for the manifest."""
  return {path: [leaf.layer, leaf.decay] for path, leaf in spec.items() if path.startswith('params/')}


def check_kinds(stored: dict[str, list] | None, now: dict[str, list], what: str) -> None:
  """Raises ConfigError, which names a parameter, unless a checkpoint's `kinds` (None: of before 3) are those of now."""
  stored = stored or {}
  if changed := sorted(path for path, kind in stored.items() if now.get(path, kind) != kind):
    path = changed[0]
    raise ConfigError(f'{what} was trained by code for which {len(changed)} parameters were of another kind, as '
                      f'{path}: its layer and decay were {stored[path]}, now {now[path]}; wanted that code or another '
                      'workdir')


def stored_names(wanted: Iterable[str], meta: dict) -> dict[str, str]:
  """{path: that under which a checkpoint of this format, or of an earlier one, has it}; its own where it is in none."""
  def stored(path):
    before = (re.sub(*rule, path) for rule in RENAMED if meta.get('format', 1) < 3)
    return next((name for name in (path, *before) if name in meta['arrays']), path)

  return {path: stored(path) for path in wanted}


def as_stored(tree: Any, names: dict[str, str]) -> Any:
  """A state, or nested dicts of a part of it, whose memory has the names of an earlier format."""
  if all(path == name for path, name in names.items()):
    return tree
  memory: dict = {}
  for path, x in jax.tree_util.tree_leaves_with_path({'memory': _memory(tree)}):
    _, *parents, last = names[_path(path)].split('/')
    node = memory
    for key in parents:
      node = node.setdefault(key, {})
    node[last] = x
  return tree | {'memory': memory} if isinstance(tree, dict) else tree._replace(memory=memory)


def as_wanted(state: Any, wanted: Any, names: dict[str, str]) -> Any:
  """The inverse of `as_stored`."""
  found = {_path(path): x for path, x in jax.tree_util.tree_leaves_with_path(state)}
  return jax.tree_util.tree_map_with_path(lambda path, _: found[names[_path(path)]], wanted)


def _memory(tree: Any) -> Any:
  return tree.get('memory', {}) if isinstance(tree, dict) else getattr(tree, 'memory', {})


def _path(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def manifest(tree: Any) -> dict[str, list]:
  """{'params/backbone/norm/scale': [[192], 'float32'], ...}."""
  return {_path(path): [list(x.shape), str(x.dtype)]
          for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def fingerprint(tree: Any) -> jax.Array:
  """u32[leaves]: for each array the sum of (its bits, mixed with their position) modulo 2^32, the same on any mesh."""
  def one(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x = jax.random.key_data(x)
    if x.dtype == bool or x.dtype.itemsize > 4:
      x = x.astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize])
    bits = bits.astype(jnp.uint32)
    position = jnp.zeros(x.shape, jnp.uint32)
    for axis, n in enumerate(x.shape):
      position = position * jnp.uint32(n) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    return jnp.sum((bits + position) * (2 * position + 1) * jnp.uint32(2654435761), dtype=jnp.uint32)
  return jnp.stack([one(x) for x in jax.tree.leaves(tree)])


