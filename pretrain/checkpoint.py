"""Checkpoints of a run through Orbax: arrays, data position, config and a fingerprint of the arrays in one step.

Only this file imports Orbax. A checkpoint is visible once it is whole (a kill during a save leaves a temporary
directory that the next start removes), and its arrays are compared with their fingerprint when they are read, since a
flipped bit on disk would otherwise load in silence.
"""
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint.experimental.v1 as ocp

from pretrain.config import ConfigError
from pretrain.processes import on_host


class Checkpoints:
  """The checkpoints of one directory, newest last.

  Args:
    directory: created when absent.
    keep: how many of the newest to keep, >= 1.
  """

  def __init__(self, directory: str | Path, keep: int = 2):
    self._directory = Path(directory).absolute()
    context = ocp.Context()
    context.array.saving.use_replica_parallel = False  # True compiles programs per array shape at the first save
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name='meta')
    context.checkpointables.registry = registry
    self._checkpointer = ocp.training.Checkpointer(
        str(Path(directory).absolute()), context=context, cleanup_tmp_directories=True,
        # Orbax's own policies do not match the protocols that it annotates.
        # pyrefly: ignore[bad-argument-type]
        save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
        # pyrefly: ignore[bad-argument-type]
        preservation_policy=ocp.training.preservation_policies.LatestN(keep))
    self._fingerprint = jax.jit(fingerprint)

  @property
  def latest(self) -> int | None:
    """The step of the newest whole checkpoint."""
    newest = self._checkpointer.latest
    return None if newest is None else newest.step

  def save(self, step: int, state: Any, meta: dict) -> None:
    """Starts saving and returns once the arrays are copied to the host; `state` may be donated afterwards.

    Args:
      meta: JSON; kept beside the arrays.
    """
    meta = meta | {'arrays': manifest(state), 'fingerprint': on_host(self._fingerprint(state)).tolist()}
    self._checkpointer.save_checkpointables_async(step, {'state': state, 'meta': meta})

  def wait(self) -> None:
    """Returns when the save under way is on disk.

    Raises:
      OSError: it could not be written; earlier checkpoints are as they were.
    """
    try:
      self._checkpointer.wait()
    except (ValueError, OSError) as error:  # TensorStore's errors are ValueErrors
      reason = 'no space left on the device' if 'No space left' in str(error) else str(error)
      raise OSError(f'a checkpoint could not be saved in {self._directory}: {reason}; nothing of it is kept, and the '
                    'newest whole one is used by the next start') from error

  def meta(self, step: int | None = None) -> dict:
    return self._load(step, {'meta': None})['meta']

  def restore(self, abstract: Any, step: int | None = None) -> tuple[Any, dict]:
    """Reads a checkpoint into the shapes, dtypes and shardings of `abstract`, on any mesh.

    Returns:
      state, meta.
    Raises:
      ConfigError: the checkpoint's arrays are not those of `abstract`; names those that differ.
      RuntimeError: the arrays read are not those that were saved.
    """
    meta = self.meta(step)
    stored, wanted = meta['arrays'], manifest(abstract)
    if stored != wanted:
      lines = [f'{path}: checkpoint {stored.get(path, "lacks it")}, model {wanted.get(path, "lacks it")}'
               for path in sorted(stored.keys() | wanted.keys()) if stored.get(path) != wanted.get(path)]
      raise ConfigError(f'the checkpoint has another architecture; {len(lines)} arrays differ: ' + '; '.join(lines[:8]))
    state = self._load(step, {'state': abstract})['state']
    if on_host(self._fingerprint(state)).tolist() != meta['fingerprint']:
      raise RuntimeError(f'checkpoint {step or self.latest} is damaged: its arrays are not those that were saved')
    return state, meta

  def close(self) -> None:
    self._checkpointer.close()

  def _load(self, step, wanted):
    try:
      return self._checkpointer.load_checkpointables(step, wanted)
    except ValueError as error:  # Orbax wraps the message that helps
      raise error.__cause__ or error from None


def manifest(tree: Any) -> dict[str, list]:
  """{'params/backbone/norm/scale': [[192], 'float32'], ...}."""
  return {jax.tree_util.keystr(path, simple=True, separator='/'): [list(x.shape), str(x.dtype)]
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


