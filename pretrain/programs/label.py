"""The labels that a run's model gives to a whole source, as a label store (`data/labels.py`)."""
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import data.sources
from data import identity as identities
from data import labels as stores
from data.source import Source
from pretrain import config as configs
from pretrain import frontends
from pretrain.config import ConfigError, Count, Natural
from pretrain.evaluate.predictions import predictions, seen
from pretrain.evaluate.run import check_encoding
from pretrain.interop.initialize import check_classes
from pretrain.machine import processes, rundir
from pretrain.machine.checkpoint import Checkpoints
from pretrain.machine.processes import stop_signals
from pretrain.machine.pulse import Pulse
from pretrain.run import Run, prepare
from pretrain.step import TrainState
from pretrain.train import DONE, STOPPED, fingerprint


class Model(NamedTuple):
  """The newest checkpoint of a run directory.

  config:   of the run.
  run:      of `prepare`.
  identity: what two models share exactly if config, step and all arrays are the same.
  state:    () -> its TrainState, parameters and memory alone, on the run's mesh.
  """
  config: dict
  run: Run
  identity: str
  state: Callable[[], TrainState]


def open_model(workdir: str | os.PathLike, mesh: dict | None = None) -> Model:
  """Opens a run directory; reads no array yet.

  Args:
    mesh: as in a config, instead of the run's.
  Raises:
    ConfigError: no run, or no checkpoint yet.
  """
  workdir = Path(workdir)
  config = rundir.config_of(workdir)
  run = configs.call(prepare, config | ({'mesh': mesh} if mesh else {}), 'config')

  def checkpoints():
    return contextlib.closing(Checkpoints(workdir / 'checkpoints', reading=True))

  with checkpoints() as found:
    if (step := found.latest) is None:
      raise ConfigError(f'{workdir} holds no checkpoint yet')
    meta = found.meta(step)
  arrays = json.dumps([step, meta['fingerprint']])
  check_classes(meta, run.classes, f'{workdir} was trained with')

  def state() -> TrainState:
    wanted = {'params': run.training.abstract.params, 'memory': run.training.abstract.memory}
    with checkpoints() as found:
      read, _ = found.restore(wanted, step, part=True)
    return TrainState(step, **read, opt_state=None, nonfinite=None, seed=None)

  return Model(config, run, f'{fingerprint(config)}-{hashlib.sha256(arrays.encode()).hexdigest()[:12]}', state)


def write_labels(workdir: str | os.PathLike, out: str | os.PathLike, *, source: dict | None = None,
                 size: Count | None = None, probabilities: bool = True, generation: Natural = 0,
                 examples_per_part: Count = 65536, batch: Count = 256, mesh: dict | None = None,
                 quiet: bool = False) -> int:
  """Labels a source with the newest checkpoint of a run directory, or goes on with it; unaugmented, in order.

  Killed at any moment, the same command goes on behind the last whole part. Every process computes its rows of a
  batch; the parts are written in turns.

  Args:
    out: folder of the label store.
    source: of data/sources; None: the run's unlabeled one, or config.source. Its labels are not looked at.
    size: side of the images that the model sees; None: that of the run's evaluation, else the images' shorter side.
    probabilities: whether to keep those of all classes, besides the highest.
    generation: a number to tell stores of one source by.
    examples_per_part: examples of a file.
    batch: examples at a time, of all devices.
    mesh: as in a config, instead of the run's.
  Returns:
    DONE, or STOPPED: a signal asked for it, and the part under way, perhaps the last one, was finished.
  Raises:
    ConfigError, ValueError, OSError: no checkpoint, no classes, a store of another model or source, or one that
      another process is writing.
  """
  model, out = open_model(workdir, mesh), Path(out)
  run, main = model.run, jax.process_index() == 0
  spec = source or (model.config.get('unlabeled') or {}).get('source') or model.config['source']
  images = configs.build(data.sources, spec, 'config.source').unlabeled()
  check_encoding(images, run.data['source'], 'config.source')
  n = len(images)
  about = about_store(model.identity, images, classes_of(run, images, size), run.classes, generation)
  parts = -(-n // examples_per_part)
  there = stores.parts_there(out, parts, about)
  processes.agree(store=about._asdict(), parts=there)
  say = print if main and not quiet else (lambda _: None)
  if len(there) == parts and stores.finished(out):
    say(f'{out} is complete: it holds labels.json; nothing to do')
    return DONE
  with stop_signals() as stop, Pulse(main and not quiet, parts) as pulse, contextlib.ExitStack() as held:
    if main:
      out.mkdir(parents=True, exist_ok=True)
      held.enter_context(rundir.locked(out))
    processes.check_shared(out / 'lock')
    there = stores.parts_there(out, parts, about)  # again: whoever was there before may have written some
    held.enter_context(processes.notices())
    state = model.state()
    for part in sorted(set(range(parts)) - set(there)):
      if stop.signal or processes.stopping(part):
        say(f'stopped by {stop.signal or "SIGTERM"} before part {part} of {parts}; the same command goes on from there')
        return STOPPED
      pulse.now('labeling', part)
      clock = time.perf_counter()
      rows = np.arange(part * examples_per_part, min(n, (part + 1) * examples_per_part))
      p, good = predictions(run, state, images.take(rows), size=size, batch=batch)
      if part % jax.process_count() == jax.process_index():
        stores.write_part(out, part, parts, stores.Labels(
            about, images.index[rows], np.where(good, p.argmax(1), -1).astype(np.int32),
            np.where(good, p.max(1), 0).astype(np.float32), p if probabilities else None))
      say(f'part {part + 1}/{parts}: {len(rows)} examples, {len(rows) / (time.perf_counter() - clock):.0f} a second')
    processes.agree(written=parts)  # all are there
    if main:
      summary = stores.finish(out, parts, about)
      say(f'done: {out}: {n} examples, of each class {summary["labels"]}'
          + (f', {summary["broken"]} broken' if summary['broken'] else ''))
      (out / 'lock').unlink(missing_ok=True)  # whoever waits for it finds a store that is complete
  processes.agree(finished=parts)
  return STOPPED if stop.signal else DONE


def about_store(model: str, images: Source, classes: int, names: tuple[str, ...] | None, generation: int
                ) -> stores.About:
  """What a store of an unlabeled source's labels is; outputs of the model beyond `names` are named by their numbers."""
  names = names and (*names, *map(str, range(len(names), classes)))
  return stores.About(model, images.origin, identities.look(images).identity.digest, len(images), classes, names,
                      generation)


def classes_of(run: Run, images: Source, size: int | None) -> int:
  """The width of what the run's `predict` gives."""
  if run.objective.predict is None:
    raise ConfigError('config.objective: it has no classes (no `predict`); wanted a supervised or semi-supervised one')
  view, state = seen(run, images, size), run.training.abstract
  one = jax.ShapeDtypeStruct((1, *images.shape), frontends.of_source(images).dtype)
  return jax.eval_shape(lambda *x: run.objective.predict(*x[:2], view(x[2])), state.params, state.memory, one).shape[1]
