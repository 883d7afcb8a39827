"""What programs are made of: stages that own a folder each and return at once when it is finished.

So a program that was stopped or killed is simply run again: it passes through its finished stages and goes on inside of
the one where it was, and there `train` and `label` go on where they were.
"""
import contextlib
import contextvars
import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import data.sources
import pretrain.models
import pretrain.objectives
import pretrain.programs
import pretrain.views
from data import labels as stores
from data.classes import renumbered
from data.wrap import few_labels, places
from pretrain import config as configs
from pretrain import optim
from pretrain.config import ConfigError, Share, nearest
from pretrain.evaluate.predictions import accuracy, features
from pretrain.files import Broken, read_json, write_json
from pretrain.machine import processes, rundir
from pretrain.programs import label as labeling
from pretrain.programs.cluster import in_two_levels, whiten
from pretrain.run import MODELS, prepare
from pretrain.train import DONE, MAY_CHANGE_ON_RESUME, STOPPED, complete, fingerprint, train

# of the entries of a run's config that name a function
PACKAGES = dict(source=data.sources, views=pretrain.views, backbone=pretrain.models, objective=pretrain.objectives,
                optimizer=optim.optimizers, schedule=optim.schedules)
FROM_THE_RUN = ('steps', 'backbone', 'examples', 'schedule', 'spec', *MODELS)  # what a run itself gives those functions


class Stopped(Exception):
  """A signal asked to stop, and what the stage had is saved."""


class Running(NamedTuple):
  """The program that stages are part of: whether it is quiet, and what the first stage calls to take its directory."""
  quiet: bool
  take: Callable[[], None]


_running: contextvars.ContextVar[Running | None] = contextvars.ContextVar('running', default=None)


def program(config: dict, workdir: str | os.PathLike, quiet: bool = False) -> int:
  """Runs a program, or goes on with it.

  Args:
    config: `program=dict(name=..., ...)` of pretrain/programs, and the configs of its runs by the names of the
      program's arguments.
    workdir: holds a folder of each stage, config.json (first) and result.json (last: a row for each model).
  Returns:
    DONE, or STOPPED (saved on SIGTERM, SIGINT or SIGUSR1: run it again).
  Raises:
    ConfigError: a config that does not fit, or another one than the directory was begun with; names the keys. Or
      another process that runs there.
    RuntimeError: a run whose loss is not finite.
  """
  workdir, (said, runs) = Path(workdir), program_and_runs(config)
  lasts = lasting(config)
  processes.agree(config=config)
  if complete(workdir, lasts):
    print(f'{workdir} is complete: it holds result.json; nothing to do')
    return DONE
  held = contextlib.ExitStack()

  @functools.cache
  def take():
    if jax.process_index() == 0:
      workdir.mkdir(parents=True, exist_ok=True)
      held.enter_context(rundir.locked(workdir))
      rundir.begin(workdir, lasts)

  token = _running.set(Running(quiet, take))
  try:
    with held, interrupted():
      rows = configs.build(pretrain.programs, said | runs, 'config.program', workdir=workdir)
  except Stopped:
    print('stopped; the same command goes on from there')
    return STOPPED
  finally:
    _running.reset(token)
  if jax.process_index() == 0:
    write_json(workdir / 'result.json', {'program': said['name'], 'config': fingerprint(lasts), 'stages': rows,
                                         'made': rundir.made()})
    show(said['name'], rows)
  return DONE


def program_and_runs(config: dict) -> tuple[dict, dict]:
  """config.program, and the configs of its runs by their names; raises ConfigError unless they are dicts."""
  said = config.get('program')
  if not isinstance(said, dict):
    raise ConfigError(f"config.program: wanted dict(name='...', ...), got {said!r}; all: "
                      f'{configs.names(pretrain.programs)}')
  runs = {name: value for name, value in config.items() if name != 'program'}
  for name, value in runs.items():
    if not isinstance(value, dict) or name in said:
      raise ConfigError(f'config.{name}: wanted the config of a run of the program, once, got {value!r}')
  return said, runs


def check_program(config: dict) -> None:
  """Raises ConfigError where `program` would before its first stage; makes nothing, and data may be elsewhere."""
  def begins():
    raise Stopped

  said, runs = program_and_runs(config)
  token = _running.set(Running(True, begins))
  try:
    configs.build(pretrain.programs, said | runs, 'config.program', workdir=Path())
  except (Stopped, OSError):
    pass
  finally:
    _running.reset(token)


def lasting(config: dict) -> dict:
  """A program's config without what may change between attempts of its runs."""
  return {name: part if name == 'program' else {key: value for key, value in part.items()
                                                if key not in MAY_CHANGE_ON_RESUME}
          for name, part in config.items()}


def check(where: str, run: dict, given: tuple[str, ...] = ()) -> None:
  """Raises ConfigError unless names and types of a run's config fit, before any stage begins.

  Args:
    where: its name in the program's config.
    given: keys that the program sets, and the config must not.
  """
  configs.check(prepare, run, f'config.{where}', given)
  for key, package in PACKAGES.items():
    if spec := run.get(key):
      function = configs.find(package, name) if isinstance(name := spec.get('name'), str) else None
      if function is None:
        raise ConfigError(f'config.{where}.{key}.name: no {name!r} in {package.__name__}'
                          f'{nearest(str(name), configs.names(package))}')
      options = {k: v for k, v in spec.items() if k not in ('name', *MODELS)}
      known = [name for name in FROM_THE_RUN if name in configs.schema(function)]
      configs.check(function, options, f'config.{where}.{key}', known)


def fit(run: dict, workdir: Path) -> Path:
  """Trains a run to its end; returns its directory.

  Raises:
    Stopped: a signal came, the state is saved.
    RuntimeError: the loss is not finite.
  """
  code = train(run, workdir, quiet=announce(workdir))
  if code == STOPPED:
    raise Stopped
  if code != DONE:
    raise RuntimeError(f'{workdir}: the run ended without a result; its events.jsonl says why')
  return workdir


def label(model: Path, out: Path, *, source: dict, generation: int = 0) -> Path:
  """Labels a source with a finished run's model; returns the folder of the label store.

  Raises:
    Stopped: a signal came; the parts that are whole stay.
  """
  code = labeling.write_labels(model, out, source=source, generation=generation, quiet=announce(out))
  if code == STOPPED:
    raise Stopped
  return out


def cluster(model: Path | None, out: Path, *, source: dict, super_clusters: int, clusters: int, dim: int | None = None,
            seed: int = 0, generation: int = 0) -> Path:
  """Clusters a source's images in two levels by a finished run's features; returns the folder of the label store.

  Args:
    model: directory of the run; None: all images are in one cluster.
    super_clusters, clusters, seed: see `cluster.in_two_levels`; labels are of the product's many classes.
    dim: of the whitened features.
  """
  announce(out)
  images = configs.build(data.sources, source, 'config.source').unlabeled()
  made = labeling.open_model(model) if model else None
  identity, classes = (made.identity, super_clusters * clusters) if made else ('one cluster', 1)
  about = labeling.about_store(identity, images, classes, None, generation)
  done = bool(stores.parts_there(out, 1, about)) and stores.finished(out)
  processes.agree(clustered=done)
  if done:
    return out
  label, good = np.zeros(len(images), np.int32), np.ones(len(images), bool)
  if made:
    found, good = features(made.run, made.state(), images)
    label = np.full(len(images), -1, np.int32)
    label[good] = in_two_levels(whiten(found[good], dim), super_clusters, clusters, seed=seed, mesh=made.run.mesh)
  if jax.process_index() == 0:
    stores.write_part(out, 0, 1, stores.Labels(about, images.index, label, good.astype(np.float32), None))
    stores.finish(out, 1, about)
  processes.agree(written=str(out))
  return out


def relabeled(run: dict, source: dict, store: Path, **options) -> dict:
  """A run's config that trains on `source` with the labels of a store; options of data.sources.pseudo_labeled."""
  options = {name: value for name, value in options.items() if value is not None}
  rest = {key: value for key, value in run.items() if key != 'labels'}
  return rest | {'source': dict(name='pseudo_labeled', source=source, store=str(store), **options)}


def row(stage: Path, run: dict, test: dict | None) -> dict:
  """What a finished run was trained on and is worth: a row of the program's result.json.

  Args:
    stage: its directory, in which accuracy.json keeps the accuracy.
    run: its config; of pseudo labels their number, and how many are right where the source knows, are counted.
    test: of data/sources, labeled; None: no accuracy.
  Returns:
    stage, examples (n), and maybe label_accuracy (of the pseudo labels) and accuracy, shares of 1.
  """
  found = configs.build(data.sources, run['source'], 'config.source')
  found = few_labels(found, **run['labels']) if run.get('labels') else found
  result: dict = {'stage': stage.name, 'examples': len(found)}
  if run['source']['name'] == 'pseudo_labeled':
    truth = configs.build(data.sources, run['source']['source'], 'config.source')
    if truth.labeled:
      labels, classes = found.truth()
      right, names = truth.truth()
      right = renumbered(right, names, classes)[places(truth.index, found.index, truth.origin)]
      result['label_accuracy'] = float(np.mean(labels == right))
  if test is not None:
    path = stage / 'accuracy.json'
    known = kept(path, test=dict, accuracy=Share)
    if known.get('test') != json.loads(json.dumps(test)):
      model = labeling.open_model(stage)
      known = {'test': test, 'accuracy': accuracy(model.run, model.state(), configs.build(data.sources, test,
                                                                                          'config.program.test'))}
      if jax.process_index() == 0:
        write_json(path, known)
    result['accuracy'] = known['accuracy']
  return result


def kept(path: Path, **keys) -> dict:
  """What a stage has kept in a small file; {} where there is none, or it is damaged: then it is made again."""
  try:
    return read_json(path, **keys) if path.exists() else {}
  except Broken:
    return {}


def probes(stage: Path) -> dict:
  """What the features of a finished run are worth by its own evaluation, if it has one: 'knn' and 'linear', of 1."""
  rows = read_json(stage / 'result.json').get('evaluation') or []
  return {key: row[key] for row in rows if row['features'] == 'pretrained backbone' for key in ('knn', 'linear')}


def announce(stage: Path) -> bool:
  """Says which stage this is, unless the program is quiet; whether it is. The first one takes the program's directory.

  Raises:
    ConfigError: another process runs a program there.
  """
  now = _running.get()
  if now:
    now.take()
    if now.quiet:
      return True
  if jax.process_index() == 0:
    print(f'== {stage}')
  return False


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
  """Turns SIGTERM, SIGINT and SIGUSR1 between the stages into `Stopped`; inside, stages have their own handlers."""
  def stop(number, frame):
    del number, frame
    raise Stopped

  before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)} \
      if jax.process_count() == 1 else {}
  try:
    yield
  finally:
    for each, handler in before.items():
      signal.signal(each, handler)


def show(name: str, rows: list[dict]) -> None:
  """Prints the rows of a program."""
  table = Table(title=name)
  columns = list(dict.fromkeys(key for row in rows for key in row))
  for column in columns:
    table.add_column(column.replace('_', ' '), justify='left' if column == 'stage' else 'right')
  for each in rows:
    texts = [each.get(column, '') for column in columns]
    table.add_row(*(f'{100 * text:.1f} %' if isinstance(text, float) else str(text) for text in texts))
  Console().print(table)
