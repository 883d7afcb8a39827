"""Examples of a source -> features on the host, in batches of one compiled shape."""
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from data.loader import in_order
from data.source import Source
from pretrain import frontends


def extract(encode: Callable, source: Source, *, batch: int, view: Callable | None = None,
            place: Callable | None = None, rows: np.ndarray | None = None, gather: Callable = np.asarray
            ) -> tuple[np.ndarray, np.ndarray]:
  """Runs an encoder over all of a source, in order. Examples are read ahead by all cores.

  Compiled once for each encoder function: give parameters as `jax.tree_util.Partial(encode, params, memory)`, which
  makes them arguments of the program. A closure over them works too, but is compiled anew for each.

  Args:
    encode: what the view gives, of images f32[b, h, w, c] in [0, 1] -> float[b, d].
    source: of any kind in pretrain/frontends.
    batch: examples at a time; the last batch is filled up with copies of the source's last example.
    view: what is stored -> what `encode` takes, on the device; that of the source's kind, of its own size, if None.
    place: {'image': ...} on the host -> the same on the mesh; the batch as it is if None.
    rows: those of a batch that `place` wants, where processes share the work; all if None.
    gather: features on the mesh -> all of them as NumPy.
  Returns:
    features f32[n, d], and which examples could be read, bool[n], NumPy; the features of the others mean nothing.
  Raises:
    ValueError: the source is empty, the batch is not positive, or `encode` returns something else than [b, d].
  """
  encode, features, whole, waiting = _partial(encode), [], [], None
  for raw, good in in_order(source, batch=batch, rows=rows):
    modality = frontends.of(raw)
    inputs = {modality.key: raw[modality.key], 'good': good}
    inputs = inputs if place is None else place(inputs)
    running = _run(encode, _partial(view or modality.view(None)), inputs[modality.key])
    if running.ndim != 2 or running.shape[0] != batch:
      raise ValueError(f'wanted an encoder that returns [b, d] = [{batch}, d], got {running.shape}')
    if waiting is not None:  # copied while the next batch runs
      features.append(gather(waiting))
    waiting = running
    whole.append(gather(inputs['good']))
  features.append(gather(waiting))
  return np.concatenate(features)[:len(source)], np.concatenate(whole)[:len(source)]


@jax.jit
def _run(encode, view, inputs):
  return encode(view(inputs)).astype(jnp.float32)


def _partial(function: Callable) -> Partial:
  """A function as a pytree, so that what is bound to it is traced and its identity is the cache's key."""
  if isinstance(function, Partial):
    return function
  if isinstance(function, functools.partial):
    return Partial(function.func, *function.args, **function.keywords)
  return Partial(function)
