"""A config made real: data, mesh, objective and step put together, and everything refused that can be, uncompiled."""
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import data.sources
import pretrain.models
import pretrain.objectives
import pretrain.views
from data.loader import loader, two_streams
from data.source import Source
from data.wrap import few_labels
from pretrain import config as configs
from pretrain import optim
from pretrain.config import ConfigError, Count, Natural, NonNegative, Part, Positive, Seed, Share
from pretrain.evaluate.run import Evaluation, Sets, check_encodes, check_encoding, open_sets
from pretrain.interop.initialize import Initialize, check_fits
from pretrain.machine import flops as operations
from pretrain.machine import sharding
from pretrain.method.combine import turns
from pretrain.method.objective import Objective
from pretrain.step import DEFAULT_OPTIONS, StepOptions, Training, compile_step

PAPER = dict(name='rs2', title='Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning',
             arxiv='2305.18424', family='data', modality='any')

MODELS = ('text', 'teacher')  # arguments of objectives that are models: of the texts of images, a frozen one


class Unlabeled(NamedTuple):
  """config.unlabeled: the second stream; its `source` is config.source, without the labels, when None."""
  batch: Count
  source: dict | None = None


class Subset(NamedTuple):
  """config.subset: RS2, each epoch is a fresh random subset of the source (arXiv:2305.18424).

  The schedule has the length of the run, so it is that of the smaller budget, as in the paper. Deviation: where a round
  does not divide the source, the one that crosses the end of a pass begins the next; the authors' code begins the same
  pass again. `docs/data.md` says what is drawn.

  fraction:    r in (0, 1]; an epoch, the paper's round, is round(r n) examples.
  replacement: whether each round is drawn from all n examples, or from those that had no turn yet.
  """
  fraction: Part
  replacement: bool


class Saving(NamedTuple):
  """config.checkpoint: when to save, and how many of the newest to keep."""
  every_steps: Count
  keep: Count = 2


class Reading(NamedTuple):
  """config.reading: threads that read batches (None: the cores, where images are decoded), or processes instead."""
  threads: Count | None = None
  workers: Natural = 0


class NonFinite(NamedTuple):
  """config.nonfinite: what to do about a loss or gradient that is NaN or infinite, before giving up.

  skip:      leave out so many steps in all; their batches are not seen again in that epoch.
  rollbacks: go back so many times to the last checkpoint, with `factor` times the learning rate from there on.
  """
  skip: Natural = 0
  rollbacks: Natural = 0
  factor: Part = 0.5


class Settings(NamedTuple):
  """The keys of every config.

  source: of data/sources; `labels` (arguments of data.wrap.few_labels) keeps a few of its examples.
  subset: `Subset`, a share of the source in each epoch.
  unlabeled: `Unlabeled`, for objectives with two streams.
  views, backbone, objective: of pretrain/views (None: batches as the source gives them), pretrain/models,
    pretrain/objectives; the arguments `MODELS` of an objective are models too. `parts` of what is made of others are
    specs: {name: views}, ((name, objective, weight or steps), ...).
  phases: ((until_step, {key: value}), ...): other arguments of the views in the steps before until_step, for views
    that grow in the course of the run; each phase is compiled when it begins.
  optimizer, schedule: of pretrain/optim.
  batch: global, in examples (labeled ones, where there are two streams).
  steps, epochs: one of them; an epoch is one pass over `source` (over the unlabeled one, where there are two; over
    the share of it that `subset` leaves).
  accumulate, grad_cache: parts that a batch is computed in, one after the other; see `step.StepOptions`.
  mesh: sizes of the axes, see `sharding.make_mesh`; all devices on `data` when absent.
  gather_once: whether parameters split over fsdp are gathered once a step and kept whole until its end, instead of
    at each use (ZeRO-2 instead of ZeRO-3, arXiv:1910.02054): less communication, more memory.
  rules: how arrays are split over the mesh where the default is not wanted, see `sharding.shardings`.
  compiler_options: XLA's, by name, in place of or beside those of `plan.hardware` for the chip; None: XLA's default.
  checkpoint, evaluate, reading: `Saving`, `Evaluation`, `Reading`.
  initialize: `pretrain.interop.initialize.Initialize`, parts of another run to start from.
  continues: directory of a run from whose newest step and whole state this one goes on, with its own data from their
    beginning and its own schedule; `steps` counts those of that run too.
  max_bad_share: of images that cannot be decoded, in [0, 1]; above it the run stops.
  nonfinite: `NonFinite`.
  accept_data: identity of data to go on with although the run was trained on others; the refusal says which.
  """
  source: dict
  backbone: dict
  objective: dict
  optimizer: dict
  schedule: dict
  batch: Count
  checkpoint: dict
  views: dict | None = None
  phases: tuple = ()
  steps: Count | None = None
  epochs: Positive | None = None
  seed: Seed = 0
  log_every_steps: Count = 50
  accumulate: Count = 1
  grad_cache: Count = 1
  labels: dict | None = None
  subset: dict | None = None
  unlabeled: dict | None = None
  mesh: dict | None = None
  gather_once: bool = False
  rules: tuple = ()
  compiler_options: dict | None = None
  evaluate: dict | None = None
  reading: dict | None = None
  initialize: dict | None = None
  continues: str | None = None
  max_bad_share: Share = 0.01
  nonfinite: dict | None = None
  accept_data: str | None = None


class StepSpec(NamedTuple):
  """What a step is made of.

  views, backbone, objective, optimizer, schedule: as in `Settings`.
  steps:    of the whole run.
  examples: in the source (the unlabeled one, where there are two) whose places the batch's 'index' are.
  seed:     of all randomness.
  options:  how it is computed.
  """
  views: dict | None
  backbone: dict
  objective: dict
  optimizer: dict
  schedule: dict
  steps: int
  examples: int
  seed: int
  options: StepOptions = DEFAULT_OPTIONS


class Assembled(NamedTuple):
  """What `assemble` makes of a `StepSpec`."""
  objective: Objective
  views: Callable
  training: Training


class Phase(NamedTuple):
  """Steps with the same views, which one program computes.

  until:    the step that ends it; the first one of the next phase.
  changes:  of config.views; {} in the last phase.
  training: its step; `init` and the layout of the state are those of every phase.
  flops:    () -> those of a step, of all devices; not twice what is computed again to save memory.
  """
  until: int
  changes: dict
  training: Training
  flops: Callable


class Streams(NamedTuple):
  """The data of a run, opened.

  data:     what is trained on, 'source' and perhaps 'unlabeled'.
  batches:  (*, start, bad_records) -> iterator over this process's rows of the raw global batches.
  abstract: shapes and dtypes of the raw global batch.
  examples: a step.
  epoch:    so many examples of `source` are an epoch.
  indexed:  examples with an index.
  drawn:    (the key of the config that says how many examples a batch draws, their number, that of those it draws from)
  """
  data: dict[str, Source]
  batches: Callable
  abstract: Any
  examples: int
  epoch: int
  indexed: int
  drawn: tuple[str, int, int]


class Run(NamedTuple):
  """A config made real; nothing is computed yet."""
  objective: Objective
  training: Training    # of the last phase
  phases: tuple[Phase, ...]
  mesh: Any
  batches: Callable     # (*, start, bad_records) -> iterator over this process's rows of the raw global batches
  abstract_batch: Any
  views: Callable       # of the last phase
  steps: int
  examples: int         # a step
  seed: int
  log_every_steps: int
  saving: Saving
  nonfinite: NonFinite
  max_bad_share: float
  evaluation: Sets | None
  initialize: Initialize | None
  continues: str | None
  data: dict[str, Source]  # what is trained on, 'source' and perhaps 'unlabeled'
  accept_data: str | None

  @property
  def classes(self) -> tuple[str, ...] | None:
    """Names of the classes that the labels count which the run learns."""
    return self.data['source'].classes


def prepare(**config) -> Run:
  """A config made real; its keys are those of `Settings`.

  Raises:
    ConfigError, ValueError, OSError: what is wrong with the config or the data, before anything is compiled.
  """
  settings = Settings(**config)
  saving = configs.call(Saving, settings.checkpoint, 'config.checkpoint')
  nonfinite = configs.call(NonFinite, settings.nonfinite or {}, 'config.nonfinite')
  mesh = configs.call(sharding.make_mesh, settings.mesh or {}, 'config.mesh')
  sharding.check_divisible(settings.batch, mesh, 'config.batch')
  streams = open_streams(settings, mesh)
  labeled = streams.data['source']
  check_learnable(labeled, settings.backbone, settings.objective, streams.indexed)
  evaluation = None
  if settings.evaluate is not None:
    evaluation = open_sets(configs.call(Evaluation, settings.evaluate, 'config.evaluate'), labeled)
  steps = configs.total_steps(settings.steps, settings.epochs, streams.epoch, settings.batch)
  spec = step_spec(settings, steps, streams.indexed, nonfinite.skip)
  objective, views, training = assemble(streams.abstract, mesh, spec)
  if objective.compares:
    check_repeats(*streams.drawn)
  if evaluation:
    check_encodes(objective, training.abstract, evaluation)
  phases = make_phases(settings.phases, streams.abstract, mesh, spec, training)
  initialize = initialization(settings, training)
  return Run(
      objective, training, phases, mesh, streams.batches, streams.abstract, views, steps, streams.examples,
      settings.seed, settings.log_every_steps, saving, nonfinite, settings.max_bad_share, evaluation, initialize,
      settings.continues, streams.data, settings.accept_data)


vars(prepare)['__signature__'] = inspect.signature(Settings)  # what `config.check` reads


def open_streams(settings: Settings, mesh) -> Streams:
  """Opens what a run is trained on.

  Raises:
    ConfigError, ValueError, OSError: what is wrong with the data, or with what the config says of them.
  """
  original = configs.build(data.sources, settings.source, 'config.source')
  labeled = original
  if settings.labels:
    labeled = configs.call(few_labels, settings.labels, 'config.labels', source=original)
  if labeled.labels is not None and settings.unlabeled is None and len(labeled) and labeled.labels.max() < 0:
    labeled = labeled.unlabeled()  # such as a test set whose labels are kept secret
  reading = configs.call(Reading, settings.reading or {}, 'config.reading')
  how: dict[str, Any] = dict(seed=settings.seed, max_bad_share=settings.max_bad_share, **reading._asdict())
  if settings.unlabeled is None:
    return open_one(settings, mesh, labeled, len(original), how)
  return open_two(settings, mesh, labeled, original, how)


def open_one(settings: Settings, mesh, labeled: Source, indexed: int, how: dict[str, Any]) -> Streams:
  """The stream of config.source.

  Args:
    indexed: examples with an index, those that `labels` leaves out among them.
    how: what a loader wants to know beside its batches.
  """
  batch, epoch = settings.batch, len(labeled)
  raw = abstract(labeled, batch)
  count = drawn_from = epoch
  if settings.subset is not None:
    count, drawn_from = round_of(configs.call(Subset, settings.subset, 'config.subset'), epoch)
    how = how | {'epoch': drawn_from}
  batches = functools.partial(loader, labeled, batch=batch, rows=sharding.local_rows(mesh, batch), **how)
  return Streams({'source': labeled}, batches, raw, batch, count, indexed, ('config.batch', batch, drawn_from))


def open_two(settings: Settings, mesh, labeled: Source, original: Source, how: dict[str, Any]) -> Streams:
  """The streams of config.source and config.unlabeled; arguments as those of `open_one`.

  Args:
    original: config.source before `labels`.
  """
  if settings.subset is not None:
    raise ConfigError('config.subset: wanted one stream, got config.unlabeled too')
  batch, second = settings.batch, configs.call(Unlabeled, settings.unlabeled or {}, 'config.unlabeled')
  sharding.check_divisible(second.batch, mesh, 'config.unlabeled.batch')
  others = original
  if second.source:
    others = configs.build(data.sources, second.source, 'config.unlabeled.source')
  others = others.unlabeled()
  check_encoding(others, labeled, 'config.unlabeled.source')
  raw = {'labeled': abstract(labeled, batch), 'unlabeled': abstract(others, second.batch)}
  batches = functools.partial(
      two_streams, labeled, others, labeled_batch=batch, unlabeled_batch=second.batch,
      labeled_rows=sharding.local_rows(mesh, batch), unlabeled_rows=sharding.local_rows(mesh, second.batch), **how)
  return Streams({'source': labeled, 'unlabeled': others}, batches, raw, batch + second.batch,
                 len(others) * batch // second.batch, len(others),
                 ('config.unlabeled.batch', second.batch, len(others)))


def step_spec(settings: Settings, steps: int, examples: int, skip: int = 0) -> StepSpec:
  """What the step of a config is made of; arguments as in `StepSpec` and `StepOptions`."""
  options = StepOptions(settings.accumulate, settings.grad_cache, skip, settings.gather_once, settings.rules,
                        settings.compiler_options)
  return StepSpec(settings.views, settings.backbone, settings.objective, settings.optimizer, settings.schedule, steps,
                  examples, settings.seed, options)


def make_phases(phases: tuple, raw, mesh, spec: StepSpec, last: Training) -> tuple[Phase, ...]:
  """The phases of a run, the last of which is that of `spec` itself.

  Args:
    phases: config.phases.
    raw: abstract global batch.
    last: what `assemble` makes of `spec`.
  Raises:
    ConfigError: what `check_phases` does; or views that the model cannot take, which is said here and not in the
      middle of the run.
  """
  models = plainly(spec.backbone, spec.objective, remat='none', attention='xla')
  same = spec.options.grad_cache == 1 and models == dict(backbone=spec.backbone, objective=spec.objective)
  once = spec._replace(**models, options=StepOptions(skip=spec.options.skip))

  def phase(until: int, changes: dict) -> Phase:
    views = {**(spec.views or {}), **changes} or None
    made = assemble(raw, mesh, spec._replace(views=views)).training if changes else last
    counted = made if same else assemble(raw, mesh, once._replace(views=views)).training
    if phases:
      jax.eval_shape(made.step, last.abstract, raw)
    return Phase(until, changes, made, functools.partial(operations.of_step, counted.step, counted.abstract, raw))

  check_phases(phases, spec.views, spec.steps)
  found = []
  for until, changes in (*phases, (spec.steps, {})):
    try:
      found.append(phase(until, changes))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
      if not changes:
        raise
      raise ConfigError(f'config.phases, in the steps before {until}, with {changes}: {error}') from error
  return tuple(found)


def initialization(settings: Settings, training: Training) -> Initialize | None:
  """config.initialize; raises ConfigError unless it, or config.continues, fits the rest of the config."""
  initialize = None
  if settings.initialize is not None:
    initialize = configs.call(Initialize, settings.initialize, 'config.initialize')
  check_fits(initialize, training.abstract.memory)
  if settings.continues is not None and (initialize or settings.steps is None):
    raise ConfigError('config.continues: the whole state is that of another run, and its steps count; wanted steps, '
                      f'and no initialize, got steps={settings.steps}, initialize={settings.initialize}')
  return initialize


def check_repeats(where: str, batch: int, examples: int) -> None:
  """Raises ConfigError for a batch of more examples than there are, for objectives that tell them from each other."""
  if batch > examples:
    raise ConfigError(f'{where}: the objective tells the examples of a batch from each other, and of {examples} '
                      f'examples some would be twice in a batch of {batch}; wanted at most {examples}')


def check_learnable(labeled: Source, backbone: dict, objective: dict, indexed: int) -> None:
  """Raises ConfigError unless labels, prototypes and vocabulary of the specs fit the data.

  Args:
    indexed: examples with an index.
  """
  classes = min(spec.get('classes', math.inf) for spec in members(objective))
  if labeled.labels is not None and labeled.labels.max() >= classes:
    raise ConfigError(f'config.objective.classes: {classes}, but the labels of config.source go up to '
                      f'{labeled.labels.max()}; wanted at least {labeled.labels.max() + 1}')
  for spec in members(objective):
    if configs.fits(most := spec.get('prototypes', 0), int) and most > indexed:
      raise ConfigError(f'config.objective.prototypes: wanted at most as many as examples of the source, {indexed}, '
                        f'got {most}')
  check_vocabulary(labeled, backbone, objective)
  if labeled.labels is not None and labeled.labels.min() < 0:
    raise ConfigError(f'config.source: {(labeled.labels < 0).sum()} of its examples are of no class (label -1); wanted '
                      'config.labels, which choose among the others')


def check_phases(phases: tuple, views: dict | None, steps: int) -> None:
  """Raises ConfigError unless phases are pairs of an ascending step inside the run and changes of its views."""
  before = 0
  for phase in phases:
    if not isinstance(phase, tuple | list) or len(phase) != 2 or not configs.fits(phase[0], int) or \
        not isinstance(phase[1], dict):
      raise ConfigError(f'config.phases: wanted ((until_step, dict(key=value)), ...), got {phase!r}')
    if views is None:
      raise ConfigError('config.phases: wanted config.views, which they change, got none')
    if not before < phase[0] < steps:
      raise ConfigError(f'config.phases: wanted steps that ascend between 0 and the last one, {steps}, got {phase[0]} '
                        f'after {before}')
    if not phase[1] or 'name' in phase[1] or phase[1].items() <= views.items():
      raise ConfigError(f'config.phases: wanted changes of config.views other than its name, got {phase[1]} for the '
                        f'steps before {phase[0]}')
    before = phase[0]


def round_of(spec: Subset, examples: int) -> tuple[int, int]:
  """(examples of a round, examples of an epoch of the loader) for a source of so many examples.

  Without replacement rounds are consecutive pieces of the ordinary order, so that the loader's epochs stay whole.

  Raises ConfigError for a round of no example.
  """
  size = round(spec.fraction * examples)
  if not size:
    raise ConfigError(f'config.subset.fraction: {spec.fraction} of {examples} examples is none; wanted at least '
                      f'{1 / examples:.3g}')
  return size, size if spec.replacement else examples


def assemble(raw, mesh, spec: StepSpec) -> Assembled:
  """The part of `prepare` that needs no data: the objective, the views and the step of a config, on any mesh.

  Args:
    raw: abstract global batch, as the loader's.
    mesh: of the devices here, or of others that are only compiled for.
  """
  views = views_of(spec.views, 'config.views') if spec.views else unchanged
  backbone = configs.build(pretrain.models, spec.backbone, 'config.backbone')
  with sharding.laid_on(mesh):  # models refuse kernels of another device
    objective = objective_of(spec.objective, 'config.objective', backbone=backbone, steps=spec.steps,
                             examples=spec.examples)
  schedule = configs.build(optim.schedules, spec.schedule, 'config.schedule', steps=spec.steps)
  tx = configs.build(optim.optimizers, spec.optimizer, 'config.optimizer', schedule=schedule, steps=spec.steps,
                     spec=objective.spec())
  training = compile_step(objective, views, tx, schedule, seed=spec.seed, batch=raw, mesh=mesh, options=spec.options)
  return Assembled(objective, views, training)


def views_of(spec: dict, where: str) -> Callable:
  """The view set of a config; those in `parts`, {name: spec}, first."""
  if isinstance(spec, dict) and isinstance(parts := spec.get('parts'), dict):
    spec = {**spec, 'parts': {name: views_of(part, f'{where}.parts.{name}') for name, part in parts.items()}}
  return configs.build(pretrain.views, spec, where)


def objective_of(spec: dict, where: str, *, steps: int, **given) -> Objective:
  """The objective of a config; first what it is made of: other models than the backbone, other objectives.

  Args:
    where: its place in the config, for messages.
    steps: of the whole run; parts of `alternate` are told how many of them are theirs.
    given: what else the program knows.
  """
  if parts := parts_of(spec, where):
    lengths = [length for *_, length in parts if configs.fits(length, int) and length > 0]
    alternating = spec.get('name') == 'alternate' and len(lengths) == len(parts)
    own = [max(1, turns(lengths, place, steps)) if alternating else steps for place in range(len(parts))]
    spec = {**spec, 'parts': tuple((name, objective_of(part, f'{where}.parts.{name}', steps=known, **given), number)
                                   for (name, part, number), known in zip(parts, own, strict=True))}
  models = {name: configs.build(pretrain.models, spec[name], f'{where}.{name}') for name in MODELS if name in spec}
  return configs.build(pretrain.objectives, spec | models, where, steps=steps, **given)


def parts_of(spec: dict, where: str = 'config.objective') -> list[tuple[str, dict, Any]]:
  """The (name, spec, number) of each objective that one is made of; [] for others. Raises ConfigError for other parts.
  """
  parts = spec.get('parts', ())
  for part in parts if isinstance(parts, tuple | list) else [parts]:
    if not configs.fits(part, tuple[str, dict, NonNegative]):
      raise ConfigError(f"{where}.parts: wanted ((name, dict(name='...', ...), weight or steps), ...), got {part!r}")
  return [tuple(part) for part in parts]


def members(spec: dict) -> Iterator[dict]:
  """The objectives' specs in one: itself, and those that it is made of."""
  yield spec
  for _, part, _ in parts_of(spec):
    yield from members(part)


def plainly(backbone: dict, objective: dict, **levers) -> dict[str, Any]:
  """Both specs, with these levers where their models set them to something else, those of objectives and parts too."""
  plain = lambda model: model | {key: value for key, value in levers.items() if key in model}
  models = {name: plain(objective[name]) for name in MODELS if name in objective}
  parts = tuple((name, plainly({}, part, **levers)['objective'], number) for name, part, number in parts_of(objective))
  return dict(backbone=plain(backbone), objective=objective | models | ({'parts': parts} if parts else {}))


def unchanged(batch, key):
  """The views of batches that are given as the source has them."""
  del key
  return batch


def check_vocabulary(source: Source, backbone: dict, objective: dict) -> None:
  """Raises ConfigError unless the text model has the ids of the source's tokeniser, and at most 127 more."""
  texts = [spec['text'] for spec in members(objective) if 'text' in spec]
  where, model = ('objective.text', texts[0]) if texts else ('backbone', backbone)
  found = source.vocabulary
  got = model.get('vocabulary') if isinstance(model, dict) else None
  if found and got and not found <= got < found + 128:
    raise ConfigError(f'config.{where}.vocabulary: {got}, but the tokeniser of config.source has {found} ids; wanted '
                      f'{found}, or the next number that a mesh or a chip divides')


def abstract(source: Source, batch: int):
  """Shapes and dtypes of the loader's global batches."""
  if not len(source):
    raise ConfigError(f'{source.origin} is empty: wanted at least one example')
  rows = source.read(np.zeros(1, np.int64))[0] | {'epoch': np.zeros(1, np.int32)}
  return {key: jax.ShapeDtypeStruct((batch, *value.shape[1:]), value.dtype) for key, value in rows.items()}
