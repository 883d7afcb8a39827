"""What a trained model says of a source: probabilities, how often they are right, and features."""
from collections.abc import Callable

import numpy as np
from jax.tree_util import Partial

from data.classes import numbered_as
from data.source import Source
from pretrain import frontends
from pretrain.config import ConfigError
from pretrain.evaluate.features import extract
from pretrain.machine import processes, sharding

BATCH = 256  # examples at a time; rounded up to what the mesh divides


def predictions(run, state, source: Source, *, size: int | None = None, batch: int = BATCH
                ) -> tuple[np.ndarray, np.ndarray]:
  """Probabilities f32[n, k] of all examples of a source, in order, unaugmented, by `run.objective.predict`, and
  bool[n]: which could be read; those of the others mean nothing.

  Args:
    run: of `pretrain.run.prepare`.
    state: its `TrainState`.
    source: no label of it is read.
    size: side of the examples that the model sees, as of `seen`.
    batch: examples at a time, of all devices.
  Raises:
    ConfigError: the objective has no classes.
  """
  if run.objective.predict is None:
    raise ConfigError('config.objective: it has no classes (no `predict`); wanted a supervised or semi-supervised one')
  return _of_all(run.objective.predict, run, state, source, size, batch)


def features(run, state, source: Source, *, size: int | None = None, batch: int = BATCH
             ) -> tuple[np.ndarray, np.ndarray]:
  """Features f32[n, d] of all examples by `run.objective.encode`, which could be read; arguments as `predictions`."""
  return _of_all(run.objective.encode, run, state, source, size, batch)


def _of_all(function, run, state, source: Source, size: int | None, batch: int) -> tuple[np.ndarray, np.ndarray]:
  return extracted(Partial(function, state.params, state.memory), run, source, seen(run, source, size), batch)


def extracted(function, run, source: Source, view, batch: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
  """`features.extract` of a whole source on the mesh of a run, by all its processes."""
  shares = sharding.shares(run.mesh)
  batch = -(-batch // shares) * shares
  with sharding.laid_on(run.mesh):
    return extract(function, source, batch=batch, view=view, place=lambda batch: sharding.place(batch, run.mesh),
                   rows=sharding.local_rows(run.mesh, batch), gather=processes.on_host)


def seen(run, source: Source, size: int | None = None) -> Callable:
  """The view of a source's examples that the model sees, unaugmented.

  Args:
    size: of a side; None: that of the run's evaluation, else the shorter side of an example.
  """
  modality = frontends.of_source(source)
  return modality.view(size or (run.evaluation.size if run.evaluation else modality.side(source.shape)))


def accuracy(run, state, source: Source, *, size: int | None = None) -> float:
  """The share of a labeled source's examples that can be read whose most probable class is theirs, by its name.

  Raises:
    ValueError: the source has examples of a class that the run was not trained with.
  """
  labels, _ = numbered_as(source, run.classes, here=source.origin, there='the run').truth()
  found, good = predictions(run, state, source, size=size)
  return float(np.mean(found[good].argmax(1) == labels[good]))
