"""What a method's own classifier says: probabilities of a source's images, and how often they are right."""
import functools

import numpy as np
from jax.tree_util import Partial

from pretrain import processes, sharding
from pretrain.config import ConfigError
from pretrain.evaluate.features import extract
from pretrain.views.evaluation import evaluation

BATCH = 256  # examples at a time; rounded up to what the mesh divides


def predictions(run, state, source, *, size: int | None = None, batch: int = BATCH) -> np.ndarray:
  """Probabilities f32[n, k] of all images of a source, in order, unaugmented, by `run.objective.predict`.

  Args:
    run: of `pretrain.run.prepare`.
    state: its `TrainState`.
    source: see `data/__init__.py`; no label of it is read.
    size: side of the images that the model sees; None: that of the run's evaluation, else the images' shorter side.
    batch: examples at a time, of all devices.
  Raises:
    ConfigError: the objective has no classes.
  """
  if run.objective.predict is None:
    raise ConfigError('config.objective: it has no classes (no `predict`); wanted a supervised or semi-supervised one')
  size = side(run, source, size)
  shares = sharding.shares(run.mesh)
  batch = -(-batch // shares) * shares
  with sharding.laid_on(run.mesh):
    probabilities, _ = extract(Partial(run.objective.predict, state.params, state.memory), source, batch=batch,
                               view=view(size), place=lambda images: sharding.place(images, run.mesh),
                               rows=sharding.local_rows(run.mesh, batch), gather=processes.on_host)
  return probabilities


def side(run, source, size: int | None) -> int:
  return size or (run.evaluation.size if run.evaluation else min(source.shape[:2]))


@functools.cache
def view(size: int):
  """One function for each size, so that it is compiled once."""
  return evaluation(size=size)


def accuracy(run, state, source, *, size: int | None = None) -> float:
  """The share of a labeled source's images whose most probable class is theirs."""
  return float(np.mean(predictions(run, state, source, size=size).argmax(1) == source.labels))
