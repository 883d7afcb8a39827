"""The only file that knows devices: the mesh, how every array is laid out on it, and how batches get there.

Everything else is written over global arrays; `jax.jit` with the shardings made here inserts the communication.
"""
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pretrain.config import ConfigError

BATCH = ('replica', 'data', 'fsdp')  # a batch is split over these axes, in this order


def make_mesh(*, replica: int = 1, data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
  """A mesh with the axes replica, data, fsdp and tensor; one size may be -1: what is left of the devices.

  Raises:
    ConfigError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = dict(replica=replica, data=data, fsdp=fsdp, tensor=tensor)
  free = [name for name, size in sizes.items() if size == -1]
  known = int(np.prod([size for size in sizes.values() if size != -1]))
  if len(free) > 1 or known < 1 or len(devices) % known or (not free and known != len(devices)):
    raise ConfigError(f'config.mesh: {sizes} does not fit {len(devices)} devices; the sizes must multiply to '
                      f'{len(devices)}, and at most one may be -1')
  for name in free:
    sizes[name] = len(devices) // known
  return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Axis 0 over every data-like axis of the mesh."""
  return NamedSharding(mesh, PartitionSpec(BATCH))


def check_divisible(batch: int, mesh: Mesh, what: str) -> None:
  """Raises ConfigError unless a batch of this many examples splits evenly over the mesh."""
  parts = int(np.prod([mesh.shape[axis] for axis in BATCH]))
  if batch < 1 or batch % parts:
    raise ConfigError(f'{what}: {batch} examples do not split over the mesh {dict(mesh.shape)}, which has {parts} '
                      f'shares of a batch; nearest: {max(1, round(batch / parts)) * parts}')


def shardings(tree: Any, mesh: Mesh, rules: tuple[tuple[str, PartitionSpec], ...] = (), min_size: int = 2 ** 12) -> Any:
  """A sharding for every array of a state, by path and shape; the same for params, optimizer state and teacher.

  The first rule whose pattern is found in the path ('params/backbone/blocks/0/mlp/kernel') wins; axes of it that do
  not divide their dimension are dropped. Without a rule the largest dimension that fsdp divides is split over it,
  unless the array has fewer than `min_size` elements: gathering many small arrays costs more than it saves.
  """
  size = mesh.shape['fsdp']

  def choose(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    for pattern, spec in rules:
      if re.search(pattern, name) and len(spec) <= len(leaf.shape):
        fits = [axis if axis is None or n % mesh.shape[axis] == 0 else None
                for n, axis in zip(leaf.shape, spec, strict=False)]
        return NamedSharding(mesh, PartitionSpec(*fits))
    candidates = [axis for axis, n in enumerate(leaf.shape) if n % size == 0]
    if size == 1 or leaf.size < min_size or not candidates:
      return replicated(mesh)
    split = max(candidates, key=lambda axis: leaf.shape[axis])
    return NamedSharding(mesh, PartitionSpec(*['fsdp' if axis == split else None for axis in range(leaf.ndim)]))

  return jax.tree_util.tree_map_with_path(choose, tree)


def abstract(tree: Any, layout: Any) -> Any:
  """The tree's shapes and dtypes with their shardings, as restoring from a checkpoint wants them."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, layout)


def place(batch: Any, mesh: Mesh) -> Any:
  """This process's rows of a global batch (NumPy) -> global arrays split over the mesh; starts the transfer only."""
  layout = batch_sharding(mesh)
  return jax.tree.map(lambda x: jax.make_array_from_process_local_data(layout, x), batch)
