"""The only file that knows devices: the mesh, how every array is laid out on it, and how batches get there.

Everything else is written over global arrays; `jax.jit` with the shardings made here inserts the communication.
"""
import contextlib
import contextvars
import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pretrain.config import ConfigError, Count, nearest

Rules = tuple[tuple[str, tuple[str | None, ...]], ...]
Size = Literal[-1] | Count  # of an axis of the mesh; -1: what is left of the devices
BATCH = ('replica', 'data', 'fsdp')  # a batch is split over these axes, in this order


_mesh: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar('mesh', default=None)


def make_mesh(*, replica: Size | None = None, data: Size = -1, fsdp: Size = 1, tensor: Size = 1, devices=None) -> Mesh:
  """A mesh with the axes replica, data, fsdp and tensor; one size may be -1: what is left of the devices.

  Replica is the outermost: several slices of TPUs, which a slow network joins, are so many parts of it.

  Args:
    replica: None for the number of slices.
    devices: all of them when None; those of a topology that is only compiled for will do.
  Raises:
    ConfigError: the sizes do not multiply to the number of devices, or replica to that of slices.
  """
  devices = jax.devices() if devices is None else devices
  slices = len({getattr(device, 'slice_index', 0) for device in devices if device.platform == 'tpu'}) or 1
  sizes = mesh_sizes(len(devices), slices, replica=replica, data=data, fsdp=fsdp, tensor=tensor)
  kinds, shape = (AxisType.Auto,) * len(sizes), tuple(sizes.values())
  if slices == 1:
    grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
  else:
    grid = mesh_utils.create_hybrid_device_mesh((shape[0] // slices, *shape[1:]), (slices, 1, 1, 1), devices,
                                                allow_split_physical_axes=True)
  return Mesh(grid, tuple(sizes), axis_types=kinds)


def mesh_sizes(devices: Count, slices: Count = 1, *, replica: Size | None = None, data: Size = -1, fsdp: Size = 1,
               tensor: Size = 1) -> dict[str, int]:
  """The sizes of `make_mesh` for so many devices in so many slices; raises as it does."""
  sizes = dict(replica=slices if replica is None else replica, data=data, fsdp=fsdp, tensor=tensor)
  free = [name for name, size in sizes.items() if size == -1]
  known = int(np.prod([size for size in sizes.values() if size != -1]))
  if len(free) > 1 or known < 1 or devices % known or (not free and known != devices):
    raise ConfigError(f'config.mesh: {sizes} does not fit {devices} devices; the sizes must multiply to '
                      f'{devices}, and at most one may be -1')
  for name in free:
    sizes[name] = devices // known
  if sizes['replica'] % slices:
    raise ConfigError(f'config.mesh.replica: {sizes["replica"]} parts of {slices} slices; wanted a multiple of '
                      f'{slices}')
  return sizes


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Axis 0 over every data-like axis of the mesh."""
  return NamedSharding(mesh, PartitionSpec(BATCH))


def shares(mesh: Mesh) -> int:
  """Into how many parts the mesh splits a batch."""
  return math.prod(mesh.shape[axis] for axis in BATCH)


def check_divisible(batch: int, mesh: Mesh, what: str) -> None:
  """Raises ConfigError unless a batch of this many examples splits evenly over the mesh."""
  parts = shares(mesh)
  if batch < 1 or batch % parts:
    raise ConfigError(f'{what}: {batch} examples do not split over the mesh {dict(mesh.shape)}, which has {parts} '
                      f'shares of a batch; nearest: {max(1, round(batch / parts)) * parts}')


def shardings(tree: Any, mesh: Mesh, spec: Mapping[str, Any] | None = None, rules: Rules = (),
              min_size: int = 2 ** 12) -> Any:
  """A sharding for every array of a state, by path and shape; the same for params, optimizer state and teacher.

  The first of `rules` whose pattern is found in the path ('params/backbone/blocks/0/mlp/kernel') wins: its axes stand
  for the last dimensions of the array, None for one that stays whole. Otherwise the dimension that
  `spec` lays on tensor is split over it, and the largest other one that fsdp divides over fsdp (if there is none and
  tensor is 1, tensor's own), unless the array has fewer than `min_size` elements: gathering many small arrays costs
  more than it saves. An axis that does not divide its dimension is dropped.

  Args:
    spec: {path: Leaf}, see `Objective.spec`; an array of the optimizer's state has the axes of the parameter at whose
      path its own ends.
  Raises:
    ConfigError: a rule that no path matches, or with an axis that the mesh does not have.
  """
  paths = [_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
  for pattern, axes in rules:
    if unknown := [axis for axis in axes if axis is not None and axis not in mesh.shape]:
      raise ConfigError(f'config.rules: {pattern!r} wants the axis {unknown[0]!r}{nearest(unknown[0], mesh.shape)}')
    if not any(re.search(pattern, path) for path in paths):
      ends = ['/'.join(path.split('/')[-1 - pattern.count('/'):]) for path in paths]
      close = difflib.get_close_matches(pattern, ends, 1, 0.)
      raise ConfigError(f'config.rules: {pattern!r} is found in no path of the state; nearest: {close[0]!r}')

  axes = {path: leaf.axes for path, leaf in (spec or {}).items() if leaf.axes}
  trained = {path.removeprefix('params/'): said for path, said in axes.items() if path.startswith('params/')}

  def axes_at(name):
    if name in axes or not name.startswith('opt_state/'):
      return axes.get(name, ())
    parts = name.split('/')
    return next((trained[end] for i in range(len(parts)) if (end := '/'.join(parts[i:])) in trained), ())

  def choose(path, leaf):
    name = _path(path)
    for pattern, axes in rules:
      if re.search(pattern, name) and len(axes) <= leaf.ndim:
        return _named(mesh, leaf.shape, (None,) * (leaf.ndim - len(axes)) + tuple(axes))
    split: list[str | None] = [None] * leaf.ndim
    said = axes_at(name)
    for i, axis in enumerate(said, leaf.ndim - len(said)):
      if axis and i >= 0 and leaf.shape[i] % mesh.shape[axis] == 0:
        split[i] = axis
    divided = [i for i, n in enumerate(leaf.shape) if n % mesh.shape['fsdp'] == 0]
    free = [i for i in divided if split[i] is None] or (divided if mesh.shape['tensor'] == 1 else [])
    if leaf.size >= min_size and free:
      split[max(free, key=lambda i: leaf.shape[i])] = 'fsdp'
    return _named(mesh, leaf.shape, split)

  return jax.tree_util.tree_map_with_path(choose, tree)


def left_whole(tree: Any, mesh: Mesh, least: int = 10 ** 6) -> list[str]:
  """'path [shape]' of arrays of at least so many elements that a mesh which could split them keeps whole everywhere.

  Args:
    tree: arrays, or shapes, with shardings.
  """
  if mesh.shape['fsdp'] * mesh.shape['tensor'] == 1:
    return []
  return [f'{_path(path)} {list(x.shape)}' for path, x in jax.tree_util.tree_leaves_with_path(tree)
          if x.size >= least and x.sharding.is_fully_replicated]


def _path(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _named(mesh: Mesh, shape, axes) -> NamedSharding:
  """Axes of size 1, and those that do not divide their dimension, are left out."""
  fits = [axis if axis and mesh.shape[axis] > 1 and n % mesh.shape[axis] == 0 else None
          for n, axis in zip(shape, axes, strict=True)]
  while fits and fits[-1] is None:
    fits.pop()
  return NamedSharding(mesh, PartitionSpec(*fits))


def abstract(tree: Any, layout: Any) -> Any:
  """The tree's shapes and dtypes with their shardings, as restoring from a checkpoint wants them."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, layout)


@contextlib.contextmanager
def laid_on(mesh: Mesh) -> Iterator[None]:
  """Context, for making models and tracing what runs on them, in which `rows_stay` and others below know the mesh."""
  before = _mesh.set(mesh)
  try:
    yield
  finally:
    _mesh.reset(before)


def gathered(tree: Any, layout: Any) -> Any:
  """A traced tree whose arrays are whole over fsdp, and otherwise laid out as `layout` says."""
  def whole(sharding):
    axes = [tuple(a for a in (axis if isinstance(axis, tuple) else (axis,)) if a not in (None, 'fsdp')) or None
            for axis in sharding.spec]
    return NamedSharding(sharding.mesh, PartitionSpec(*axes))

  return jax.lax.with_sharding_constraint(tree, jax.tree.map(whole, layout))


def rows_stay(x):
  """x [b, ...], said to be split by examples as batches are; as it is outside of a step.

  Left to itself the compiler may split the features of a loop's carry over fsdp, as the parameters are, and then every
  device holds all examples.
  """
  mesh = _mesh.get()
  if mesh is None or len(x) % shares(mesh):
    return x
  return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def materialize(x):
  """x. On CPUs XLA keeps it and its gradient in memory, as it would not by itself.

  It would compute the sum of all branches so far, and of the gradients of all later ones, in each operation that reads
  them: time that grows with the square of the depth.
  """
  return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


@jax.custom_jvp
def barrier_on(x, y):
  """x, for what is computed once y is there: what depends on x alone XLA would make as early as it can, and keep."""
  return jax.lax.optimization_barrier((x, y))[0]


barrier_on.defjvp(lambda primals, tangents: (barrier_on(*primals), tangents[0]))  # nothing flows through y


def per_device(f, *arrays):
  """f(*arrays) computed by every device for its own rows and heads: for kernels, which the compiler cannot split.

  Args:
    f: gives an array of the shape of the first.
    arrays: [b, n, heads, ...], or [b or 1, n] without heads; where a size does not divide, devices share the whole.
  """
  mesh = _mesh.get()
  if mesh is None:
    return f(*arrays)
  rows = BATCH if len(arrays[0]) % shares(mesh) == 0 else None
  heads = 'tensor' if arrays[0].shape[2] % mesh.shape['tensor'] == 0 else None
  specs = tuple(PartitionSpec(rows if len(x) == len(arrays[0]) else None, *((None, heads) if x.ndim > 2 else ()))
                for x in arrays)
  return jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False)(*arrays)


def platform() -> str | None:
  """'cpu', 'gpu' or 'tpu': of the mesh that is laid on, else of the default device; None for an abstract mesh."""
  mesh = _mesh.get()
  if mesh is None:
    return jax.default_backend()
  kind = mesh.devices.flat[0].platform if isinstance(mesh, Mesh) else None
  return 'gpu' if kind in ('cuda', 'rocm') else kind


def single_device() -> bool:
  """Whether there is one device: of the mesh that is laid on, if there is one."""
  mesh = _mesh.get()
  return mesh is None or mesh.size == 1


def batch_shares() -> int:
  """Into how many parts the mesh that is laid on splits a batch; 1 without one."""
  mesh = _mesh.get()
  return 1 if mesh is None else shares(mesh)


@functools.cache
def local_rows(mesh: Mesh, batch: int) -> np.ndarray:
  """Which rows of a global batch the devices of this process hold, ascending: i64[rows].

  A mesh that follows the wires of a pod gives a process rows that do not lie together; and where tensor goes over
  processes, several hold the same rows.
  """
  held = batch_sharding(mesh).addressable_devices_indices_map((batch,))
  return np.unique(np.concatenate([np.arange(batch)[index] for index in held.values()]))


def place(batch: Any, mesh: Mesh) -> Any:
  """The rows of a global batch that `local_rows` names (NumPy) -> global arrays split over the mesh.

  Starts the transfer only.
  """
  layout = batch_sharding(mesh)
  if jax.process_count() == 1:
    return jax.device_put(batch, layout)
  held = len(local_rows(mesh, shares(mesh)))

  def one(x):
    size = len(x) // held * shares(mesh)
    rows = local_rows(mesh, size)

    def of_device(index):
      first, last, _ = index[0].indices(size)
      begin = np.searchsorted(rows, first)
      return x[begin:begin + last - first]

    return jax.make_array_from_callback((size, *x.shape[1:]), layout, of_device)

  return jax.tree.map(one, batch)
