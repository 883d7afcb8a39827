"""What of a config is refused before anything is submitted: all that needs neither its machines nor absent data."""
import inspect
import math
import re
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType

import data.sources
import pretrain.models
import pretrain.objectives
from data.source import Source
from data.wrap import few_labels
from launch.job import check_fits
from pretrain import config as configs
from pretrain import optim, run
from pretrain.config import ConfigError, nearest
from pretrain.evaluate.run import Evaluation, Sets, check_encodes, check_encoding, open_sets
from pretrain.interop import initialize
from pretrain.machine import sharding
from pretrain.plan import plan as planning
from pretrain.programs.stages import FROM_THE_RUN, check_program
from pretrain.train import PLACES

MANY = 2 ** 27  # examples of a source that is not here: no epoch of it is too short
ENTRIES = dict(checkpoint=run.Saving, nonfinite=run.NonFinite, reading=run.Reading, subset=run.Subset,
               unlabeled=run.Unlabeled, evaluate=Evaluation, initialize=initialize.Initialize, mesh=sharding.make_mesh,
               labels=few_labels)  # what reads the entries of a config that are no specs of a function


def check(config: dict, devices: int | None, slices: int = 1, here: bool = True) -> None:
  """Refuses what `pretrain.run.prepare` would refuse on the machines of a job, and a first step that cannot be traced.

  Of a program: what it refuses before its first stage begins, and the same of each of its runs to which it adds no key
  that `prepare` needs.

  Args:
    config: as `train` or `program` takes it. What it says of data that are not here is believed.
    devices: None: as many as its mesh names.
    here: whether paths of the machines mean the same on this one.
  Raises:
    ConfigError: what is wrong, and where in the config.
  """
  jax.config.update('jax_platforms', 'cpu')  # nothing is computed, and an accelerator that is here stays free
  try:
    if 'program' in config:
      check_program(config)
      for name, part in config.items():
        if name != 'program' and 'batch' in part:
          check_fits(part, devices or named_by(part), slices, f'config.{name}')
          check_stage(name, part, devices or named_by(part), slices, here)
      return
    configs.check(run.prepare, config, 'config')
    config = run.Settings._field_defaults | config
    for key, function in ENTRIES.items():
      if config[key] is not None:
        own = {'mesh': ('devices',), 'labels': ('source',)}.get(key, ())
        configs.check(function, config[key], f'config.{key}', own)
    check_fits(config, devices or named_by(config), slices)
    abstract = check_run(config, devices or named_by(config), slices, here)
    if abstract is not None:
      spec = None if config['initialize'] is None else initialize.Initialize(**config['initialize'])
      initialize.check_fits(spec, abstract.memory)
  except ConfigError:
    raise
  except ValueError as error:
    raise ConfigError(f'config: {error}') from error


def named_by(config: dict) -> int:
  """The devices that a config's mesh says there are, at least."""
  return math.prod(size for size in (config.get('mesh') or {}).values() if size and size > 0)


def check_stage(name: str, part: dict, devices: int, slices: int, here: bool) -> None:
  """`check_run` of a program's run; nothing where the program gives it keys without which nothing can be made."""
  config = run.Settings._field_defaults | part
  if set(run.Settings._fields) - config.keys():
    return
  spec, function = part['objective'], configs.find(pretrain.objectives, part['objective']['name'])
  assert function  # `check_program` sees to that
  if any(p.default is p.empty and p.name not in {*spec, *FROM_THE_RUN}
         for p in inspect.signature(function).parameters.values()):
    return
  try:
    check_run(config, devices, slices, here)
  except ValueError as error:
    said = re.sub(r'^config(?=[.:])', '', str(error))
    raise ConfigError(f"config.{name}{said if said != str(error) else f': {error}'}") from error


def check_run(config: dict, devices: int, slices: int, here: bool) -> Any:
  """The part of `check` that makes objective and step, on a mesh of devices that are not here; all keys are given.

  Returns the abstract state, None where the shapes of the batch are not known.
  """
  sizes = sharding.mesh_sizes(devices, slices, **(config['mesh'] or {}))
  mesh: Any = AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
  unlabeled = run.Unlabeled(**config['unlabeled']) if config['unlabeled'] is not None else None
  if unlabeled and config['subset'] is not None:
    raise ConfigError('config.subset: wanted one stream, got config.unlabeled too')
  original = opened(config['source'], 'config.source', here)
  labeled = few_labels(original, **config['labels']) if original is not None and config['labels'] else original
  others = original if unlabeled else None
  if unlabeled and unlabeled.source:
    others = opened(unlabeled.source, 'config.unlabeled.source', here)
  sets = evaluation_of(config, labeled, here)
  raw, count, indexed = batches(config, unlabeled, original, labeled, others, mesh)
  steps = configs.total_steps(config['steps'], config['epochs'], count, config['batch'])
  run.check_phases(config['phases'], config['views'], steps)
  if config['continues'] is not None and (config['initialize'] or config['steps'] is None):
    raise ConfigError('config.continues: the whole state is that of another run, and its steps count; wanted steps, '
                      f'and no initialize, got steps={config["steps"]}, initialize={config["initialize"]}')
  skip = run.NonFinite(**(config['nonfinite'] or {})).skip
  spec = run.step_spec(run.Settings(**config), steps, indexed, skip)
  if raw is None:
    check_parts(spec)
    return None

  def step_with(changes):
    made = run.assemble(raw, mesh, spec._replace(views={**(config['views'] or {}), **changes} or None))
    made.training.step.trace(made.training.abstract, raw)
    return made.objective, made.training

  for _, changes in config['phases']:
    configs.call(lambda changes=changes: step_with(changes), {}, 'config.phases')
  method, training = configs.call(lambda: step_with({}), {}, 'config')
  if sets:
    check_encodes(method, training.abstract, sets)
  return training.abstract


def evaluation_of(config: dict, labeled: Source | None, here: bool) -> Sets | None:
  """The opened sets of config.evaluate; None where there are none, or some are not here."""
  if config['evaluate'] is None:
    return None
  spec = Evaluation(**config['evaluate'])
  found = [opened(getattr(spec, key), f'config.evaluate.{key}', here) for key in ('train', 'test')]
  return None if labeled is None or None in found else open_sets(spec, labeled)


def batches(config: dict, unlabeled: run.Unlabeled | None, original: Source | None, labeled: Source | None,
            others: Source | None, mesh) -> tuple[Any, int, int]:
  """(abstract raw batch, examples of an epoch, examples with an index); no batch where nobody here knows its shapes."""
  sharding.check_divisible(config['batch'], mesh, 'config.batch')
  if unlabeled:
    sharding.check_divisible(unlabeled.batch, mesh, 'config.unlabeled.batch')
  if original is not None and labeled is not None and (others is not None or not unlabeled):
    check_labels(config, labeled, others, len(original if others is None else others))
  try:
    return planning.batches(config, mesh, MANY)
  except ValueError:  # no size of the images, or what its data are made from is not here yet
    return None, MANY, MANY


def check_labels(config: dict, labeled: Source, others: Source | None, indexed: int) -> None:
  """Raises ConfigError where data that are here do not fit the config, as `prepare` does."""
  if others is not None:
    check_encoding(others.unlabeled(), labeled, 'config.unlabeled.source')
  if others is None and labeled.labels is not None and labeled.labels.max() < 0:
    labeled = labeled.unlabeled()
  run.check_learnable(labeled, config['backbone'], config['objective'], indexed)


def check_parts(spec: run.StepSpec) -> None:
  """Makes what a step is made of, where the shapes of its batch are not known."""
  if spec.views:
    run.views_of(spec.views, 'config.views')
  backbone = configs.build(pretrain.models, spec.backbone, 'config.backbone')
  objective = run.objective_of(spec.objective, 'config.objective', backbone=backbone, steps=spec.steps,
                               examples=spec.examples)
  rate = configs.build(optim.schedules, spec.schedule, 'config.schedule', steps=spec.steps)
  configs.build(optim.optimizers, spec.optimizer, 'config.optimizer', schedule=rate, steps=spec.steps,
                spec=objective.spec())


def opened(spec: dict, where: str, here: bool) -> Source | None:
  """A source; None where its data are not here, or not yet.

  Raises:
    ConfigError: no such source, other arguments.
    ValueError: data that are here are not what the arguments say.
  """
  check_source(spec, where)
  places = {key.rpartition('.')[2] for key in configs.flatten(spec)} & set(PLACES)
  if places and not here:
    return None
  try:
    return configs.build(data.sources, spec, where)
  except (OSError, ImportError):
    return None
  except ValueError:
    if 'store' in places:  # of labels, which a job before this one makes
      return None
    raise


def check_source(spec: dict, where: str) -> None:
  """Raises ConfigError unless a source, and those that it is made of, exist and take these arguments."""
  if not isinstance(spec, dict) or not isinstance(name := spec.get('name'), str):
    raise ConfigError(f"{where}: wanted dict(name='...', ...), got {spec!r}")
  if (function := configs.find(data.sources, name)) is None:
    raise ConfigError(f'{where}.name: no {name!r} in data.sources{nearest(name, configs.names(data.sources))}')
  rest = {key: value for key, value in spec.items() if key != 'name'}
  configs.check(function, rest, where)
  for key, value in rest.items():
    if isinstance(value, dict) and 'name' in value:
      check_source(value, f'{where}.{key}')
    elif key == 'labels' and isinstance(value, dict):
      configs.check(few_labels, value, f'{where}.labels', given=('source',))
