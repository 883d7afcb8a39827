"""A run that does not fit into the memory of its devices: what takes how much of it, and what would make it fit."""
import os
from typing import Any

import jax
import jax.numpy as jnp

from pretrain.machine import sharding
from pretrain.plan.plan import Leaf, gb, would_fit
from pretrain.step import Training

SIGNS = ('RESOURCE_EXHAUSTED', 'out of memory', 'Out of memory', 'bad_alloc')


class OutOfMemory(MemoryError):
  """The text says what takes how much of a device's memory, and which key of the config changes it first."""


def short(error: BaseException) -> bool:
  """Whether an error says that memory is short."""
  return isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS)


def parts(training: Training, raw: Any, mesh, compiled: Any = None) -> dict[str, float]:
  """Bytes a device in a step, largest first.

  Args:
    compiled: the step; None, where compiling it failed: then activations are not among them.
  """
  leaves = [Leaf(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(training.abstract)]
  under = lambda *names: sum(leaf.here for leaf in leaves if leaf.path.split('/')[0] in names)
  batch = sum(x.size * jnp.dtype(x.dtype).itemsize for x in jax.tree.leaves(raw)) / sharding.shares(mesh)
  found = {'parameters': under('params'), "the optimizer's moments": under('opt_state'),
           "the objective's memory": under('memory'), 'the batch': batch}
  if compiled is not None:
    found['activations and gradients'] = compiled.memory_analysis().temp_size_in_bytes
  else:
    found['gradients'] = under('params')
  return dict(sorted(found.items(), key=lambda part: -part[1]))


def limit(mesh) -> float | None:
  """Bytes of a device's memory, on CPUs a device's share of what is free; None where nothing tells."""
  device = mesh.local_devices[0]
  if stats := device.memory_stats():
    return stats.get('bytes_limit')
  if device.platform == 'cpu' and hasattr(os, 'sysconf'):
    return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / len(mesh.local_devices)
  return None


def sentence(error: BaseException, run: Any, config: dict, compiled: Any = None) -> str:
  """What `OutOfMemory` says.

  Args:
    run: `pretrain.run.Run`.
    config: of the run.
    compiled: as in `parts`.
  """
  taken = parts(run.training, run.abstract_batch, run.mesh, compiled)
  used, most = sum(taken.values()), limit(run.mesh)
  text = ', '.join(f'{name} {gb(size)}' for name, size in taken.items() if size)
  # what did not fit does not fit: the devices also hold what is left of earlier programs, in pieces
  report = {'hbm_bytes_per_device': used, 'hbm_limit_bytes': min(most or used, .9 * used)}
  levers = would_fit(report, config, run.mesh, run.objective, run.training) if compiled is not None else [
      'a smaller --config.batch, --config.accumulate or --config.grad_cache (the batch in parts), '
      '--config.backbone.remat=everything, --config.mesh.fsdp']
  return (f'out of memory: a step takes {gb(used)} a device ({text})' +
          (f', and a device has {gb(most)}' if most else '') +
          f'. What would make it fit: {"; ".join(levers)}. XLA: {str(error).strip().split(chr(10))[0][:200]}')
