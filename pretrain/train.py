"""The one loop, for every objective: config -> run -> steps, metrics, checkpoints, evaluation, result.

Read top to bottom: `prepare` turns a config into a `Run` (everything that can be refused is refused there, before the
first compile), `train` drives it in a run directory that can be killed and continued at any moment.
"""
import collections
import contextlib
import functools
import hashlib
import json
import math
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import data.sources
import pretrain.models
import pretrain.objectives
import pretrain.views
from data.loader import loader, two_streams
from data.wrap import few_labels
from pretrain import config as configs
from pretrain import initialize as beginning
from pretrain import optim, processes, rundir, sharding
from pretrain.checkpoint import Checkpoints
from pretrain.config import ConfigError
from pretrain.evaluate.run import Evaluation, Sets, online, open_sets, table
from pretrain.metrics import Recorder, event, goodput, read_rows, write_json
from pretrain.objective import Objective
from pretrain.plan import flops as operations
from pretrain.plan.hardware import by_kind
from pretrain.report import report
from pretrain.step import Training, compile_step

SLOW, SLOW_ROWS = 0.1, 5  # share of the time spent waiting for batches that is worth a word, once in 5 rows running
DONE, FAILED, STOPPED = 0, 1, 75  # exit codes; 75 is EX_TEMPFAIL: run the same command again
# keys that may change on resume: no trained number does
FREE = ('mesh', 'rules', 'reading', 'log_every_steps', 'checkpoint', 'evaluate')


class Unlabeled(NamedTuple):
  """config.unlabeled: the second stream; its `source` is config.source, without the labels, when None."""
  batch: int
  source: dict | None = None


class Saving(NamedTuple):
  """config.checkpoint: when to save, and how many of the newest to keep."""
  every_steps: int
  keep: int = 2


class Reading(NamedTuple):
  """config.reading: threads that read batches (None: the cores, where images are decoded), or processes instead."""
  threads: int | None = None
  workers: int = 0


class NonFinite(NamedTuple):
  """config.nonfinite: what to do about a loss or gradient that is NaN or infinite, before giving up.

  skip:      leave out so many steps in all; their batches are not seen again in that epoch.
  rollbacks: go back so many times to the last checkpoint, with `factor` times the learning rate from there on.
  """
  skip: int = 0
  rollbacks: int = 0
  factor: float = 0.5


class Run(NamedTuple):
  """A config made real; nothing is computed yet."""
  objective: Objective
  training: Training
  mesh: Any
  batches: Callable     # (*, start, bad_records) -> iterator over this process's rows of the raw global batches
  abstract_batch: Any
  views: Callable
  steps: int
  examples: int         # a step
  flops: Callable       # () -> those of a step, of all devices; not twice what is computed again to save memory
  seed: int
  log_every_steps: int
  saving: Saving
  nonfinite: NonFinite
  evaluation: Sets | None
  initialize: beginning.Initialize | None


def prepare(*, source: dict, backbone: dict, objective: dict, optimizer: dict, schedule: dict, batch: int,
            checkpoint: dict, views: dict | None = None, steps: int | None = None, epochs: float | None = None,
            seed: int = 0, log_every_steps: int = 50, accumulate: int = 1, grad_cache: int = 1,
            labels: dict | None = None,
            unlabeled: dict | None = None, mesh: dict | None = None, rules: tuple = (), evaluate: dict | None = None,
            reading: dict | None = None, initialize: dict | None = None, max_bad_share: float = 0.01,
            nonfinite: dict | None = None) -> Run:
  """The keys of every config are the arguments of this function.

  Args:
    source: of data/sources; `labels` (arguments of data.wrap.few_labels) keeps a few of its examples.
    unlabeled: `Unlabeled`, for objectives with two streams.
    views, backbone, objective: of pretrain/views (None: batches as the source gives them), pretrain/models,
      pretrain/objectives; `objective.text` is a model too, of the texts that belong to images.
    optimizer, schedule: of pretrain/optim.py.
    batch: global, in examples (labeled ones, where there are two streams).
    steps, epochs: one of them; an epoch is one pass over `source` (over the unlabeled one, where there are two).
    accumulate, grad_cache: parts that a batch is computed in, one after the other; see `step.train_step`.
    mesh: sizes of the axes, see `sharding.make_mesh`; all devices on `data` when absent.
    rules: how arrays are split over the mesh where the default is not wanted, see `sharding.shardings`.
    checkpoint, evaluate, reading: `Saving`, `Evaluation`, `Reading`.
    initialize: `pretrain.initialize.Initialize`, parts of another run to start from.
    max_bad_share: of images that cannot be decoded; above it the run stops.
    nonfinite: `NonFinite`.
  Raises:
    ConfigError, ValueError, OSError: what is wrong with the config or the data, before anything is compiled.
  """
  saving = configs.call(Saving, checkpoint, 'config.checkpoint')
  if saving.every_steps < 1 or saving.keep < 1 or log_every_steps < 1:
    raise ConfigError('config: wanted checkpoint.every_steps, checkpoint.keep and log_every_steps of at least 1, got '
                      f'{saving.every_steps}, {saving.keep} and {log_every_steps}')
  bad = configs.call(NonFinite, nonfinite or {}, 'config.nonfinite')
  if min(bad.skip, bad.rollbacks) < 0 or not 0 < bad.factor <= 1:
    raise ConfigError(f'config.nonfinite: wanted skip and rollbacks of at least 0 and a factor in (0, 1], got {bad}')
  devices = configs.call(sharding.make_mesh, mesh or {}, 'config.mesh')
  sharding.check_divisible(batch, devices, 'config.batch')

  original = configs.build(data.sources, source, 'config.source')
  labeled = configs.call(few_labels, labels, 'config.labels', source=original) if labels else original
  how = dict(seed=seed, max_bad_share=max_bad_share,
             **configs.call(Reading, reading or {}, 'config.reading')._asdict())
  rows = functools.partial(sharding.local_rows, devices)
  if unlabeled is None:
    count, examples, raw, indexed = len(labeled), batch, abstract(labeled, batch), len(original)
    batches = functools.partial(loader, labeled, batch=batch, rows=rows(batch), **how)
  else:
    second = configs.call(Unlabeled, unlabeled, 'config.unlabeled')
    sharding.check_divisible(second.batch, devices, 'config.unlabeled.batch')
    others = configs.build(data.sources, second.source, 'config.unlabeled.source') if second.source else original
    others = others.unlabeled()
    count, examples, indexed = len(others) * batch // second.batch, batch + second.batch, len(others)
    raw = {'labeled': abstract(labeled, batch), 'unlabeled': abstract(others, second.batch)}
    batches = functools.partial(two_streams, labeled, others, labeled_batch=batch, unlabeled_batch=second.batch,
                                labeled_rows=rows(batch), unlabeled_rows=rows(second.batch), **how)
  if labeled.labels is not None and labeled.labels.max() >= (classes := objective.get('classes', math.inf)):
    raise ConfigError(f'config.objective.classes: {classes}, but the labels of config.source go up to '
                      f'{labeled.labels.max()}; wanted at least {labeled.labels.max() + 1}')
  check_vocabulary(labeled, backbone, objective)
  if labeled.labels is not None and labeled.labels.min() < 0:
    raise ConfigError(f'config.source: {(labeled.labels < 0).sum()} of its examples are of no class (label -1); wanted '
                      'config.labels, which choose among the others')
  evaluation = None if evaluate is None else open_sets(configs.call(Evaluation, evaluate, 'config.evaluate'), labeled)
  total = configs.total_steps(steps, epochs, count, batch)
  parts = dict(views=views, objective=objective, optimizer=optimizer, schedule=schedule, steps=total, examples=indexed,
               seed=seed, skip=bad.skip)
  method, augment, training = assemble(raw, devices, backbone=backbone, accumulate=accumulate, grad_cache=grad_cache,
                                       rules=rules, **parts)
  once = {**backbone, 'remat': 'none'} if 'remat' in backbone else backbone
  if 'remat' in (text := objective.get('text', {})):
    parts['objective'] = {**objective, 'text': {**text, 'remat': 'none'}}
  plainly = once == backbone and parts['objective'] == objective and grad_cache == 1
  counted = training if plainly else assemble(raw, devices, backbone=once, **parts)[2]
  flops = functools.partial(operations.of_step, counted.step, counted.abstract, raw)
  begin = None if initialize is None else configs.call(beginning.Initialize, initialize, 'config.initialize')
  return Run(method, training, devices, batches, raw, augment, total, examples, flops, seed, log_every_steps, saving,
             bad, evaluation, begin)


def assemble(raw, mesh, *, views: dict | None, backbone: dict, objective: dict, optimizer: dict, schedule: dict,
             steps: int, examples: int, seed: int, accumulate: int = 1, grad_cache: int = 1, rules: tuple = (),
             skip: int = 0) -> tuple[Objective, Callable, Training]:
  """The part of `prepare` that needs no data: the objective, the views and the step of a config, on any mesh.

  Args:
    raw: abstract global batch, as the loader's.
    mesh: of the devices here, or of others that are only compiled for.
    steps: of the whole run.
    examples: in the source (the unlabeled one, where there are two) whose places the batch's 'index' are.
    skip: steps that are not finite to leave out.
    others: as in `prepare`.
  """
  augment = configs.build(pretrain.views, views, 'config.views') if views else unchanged
  build = configs.build(pretrain.models, backbone, 'config.backbone')
  if 'text' in objective:
    objective = {**objective, 'text': configs.build(pretrain.models, objective['text'], 'config.objective.text')}
  method = configs.build(pretrain.objectives, objective, 'config.objective', backbone=build, steps=steps,
                         examples=examples)
  rate = configs.build(optim, schedule, 'config.schedule', steps=steps)
  tx = configs.build(optim, optimizer, 'config.optimizer', schedule=rate)
  return method, augment, compile_step(method, augment, tx, rate, seed=seed, batch=raw, mesh=mesh,
                                       accumulate=accumulate, grad_cache=grad_cache, rules=rules, skip=skip)


def unchanged(batch, key):
  """The views of batches that are given as the source has them."""
  del key
  return batch


def check_vocabulary(source, backbone: dict, objective: dict) -> None:
  """Raises ConfigError unless the text model has the ids of the source's tokeniser, and at most 127 more."""
  where, model = ('objective.text', objective['text']) if 'text' in objective else ('backbone', backbone)
  captions = getattr(source, 'captions', None)
  found = captions.tokenizer.vocabulary if captions else getattr(source, 'vocabulary', None)
  got = model.get('vocabulary') if isinstance(model, dict) else None
  if found and got and not found <= got < found + 128:
    raise ConfigError(f'config.{where}.vocabulary: {got}, but the tokeniser of config.source has {found} ids; wanted '
                      f'{found}, or the next number that a mesh or a chip divides')


def abstract(source, batch: int):
  """Shapes and dtypes of the loader's global batches."""
  rows = source.batch(np.zeros(1, np.int32)) | {'epoch': np.zeros(1, np.int32)}
  return {key: jax.ShapeDtypeStruct((batch, *value.shape[1:]), value.dtype) for key, value in rows.items()}


class NotFinite(Exception):
  """The loss or its gradient is NaN or infinite since this step."""


def train(config: dict, workdir: str | os.PathLike, quiet: bool = False) -> int:
  """Trains, or goes on training, in a run directory; README lists the files in it.

  Returns:
    DONE, STOPPED (saved on SIGTERM, SIGINT or SIGUSR1: run it again), or FAILED (the loss is not finite).
  Raises:
    ConfigError: the directory belongs to another config; and what `prepare` raises.
  """
  rollbacks = rundir.rollbacks(workdir)
  while (code := attempt(config, Path(workdir), quiet, rollbacks)) is None:
    rollbacks += 1
  return code


def attempt(config: dict, workdir: Path, quiet: bool, rollbacks: int) -> int | None:
  """`train` until it is over, or (None) until it has to go on from the last checkpoint with a smaller rate."""
  began = time.time()
  main = jax.process_index() == 0  # what writes and prints
  say = print if main else (lambda _: None)
  processes.agree(config=config, versions=dict(jax=jax.__version__, python=platform.python_version()),
                  rollbacks=rollbacks)
  if complete(workdir, config):
    say(f'{workdir} is complete: it holds result.json; nothing to do')
    return DONE
  run = configs.call(prepare, config, 'config')
  if rollbacks:
    lower = dict(name='lowered', schedule=config['schedule'], factor=run.nonfinite.factor ** rollbacks)
    run = configs.call(prepare, config | {'schedule': lower}, 'config')
  if run.initialize and not (workdir / 'checkpoints').exists():
    beginning.check(run.initialize, run.training.abstract)
  workdir.mkdir(parents=True, exist_ok=True)
  with stop_signals() as stop, contextlib.ExitStack() as stack:
    if main:
      stack.enter_context(rundir.alone(workdir))
      write_json(workdir / 'config.json', config)
    checkpoints = stack.enter_context(contextlib.closing(Checkpoints(workdir / 'checkpoints', run.saving.keep)))
    start = checkpoints.latest or 0
    processes.agree(checkpoint=start)  # another one: the directory is not shared
    note = functools.partial(event, workdir) if main else (lambda *_, **__: None)
    stack.enter_context(rundir.noted(note))
    state, meta = None, {}
    if start:
      start, state, meta, damaged = checkpoints.restore_newest(run.training.abstract)
      for text in damaged:
        note('damaged', reason=text)
        say(text)
    device = run.mesh.devices.flat[0].device_kind
    chip = by_kind(device)
    peak, flops = chip.flops * run.mesh.size if chip else 0., run.flops().total
    note('start', step=start, steps=run.steps, config=fingerprint(config), jax=jax.__version__,
         processes=jax.process_count(), devices=run.mesh.devices.size,
         device=device, mesh=dict(run.mesh.shape),
         parameters=sum(x.size for x in jax.tree.leaves(run.training.abstract.params)), flops_per_step=flops)
    if start:
      position = meta['data']['next_index']
    else:
      state = beginning.start(run.initialize, run.training) if run.initialize else run.training.init()
      position = 0
    bad_records = 'bad_records.jsonl' if main else f'bad_records-{jax.process_index()}.jsonl'
    batches = run.batches(start=position, bad_records=str(workdir / bad_records))
    stack.enter_context(contextlib.closing(batches))
    clock = time.perf_counter()
    step_fn = run.training.step.lower(run.training.abstract, run.abstract_batch).compile()
    note('compile', step=start, seconds=round(time.perf_counter() - clock, 3))
    recorder = stack.enter_context(Recorder(workdir, steps=run.steps, start=start, batch=run.examples, quiet=quiet,
                                            process=jax.process_index(), flops=flops, peak=peak))
    step, saving, saved, slow, inflight = start, start, start, 0, collections.deque()

    def settle(depth):
      """Waits until only `depth` steps are in flight; logs those that are through."""
      nonlocal slow
      while len(inflight) > depth:
        past, metrics = inflight.popleft()
        metrics = jax.device_get(metrics)
        if (bad := int(metrics.pop('nonfinite'))) >= 0:
          raise NotFinite(bad)
        if past == start + 1:
          note('first_step', step=past, seconds=round(time.time() - began, 3))
          recorder.restart(past)
        if past % run.log_every_steps == 0 or past == run.steps:
          row = recorder.log(past, {name: float(value) for name, value in metrics.items()})
          slow = slow + 1 if row.get('time/read', 0) > SLOW else 0
          if slow == SLOW_ROWS:
            note('slow_input', step=past, share=row['time/read'])
            say(f'{row["time/read"]:.0%} of the time goes into waiting for batches: raise config.reading.threads or '
                '.workers, or store the images small and together with `python -m data prepare --size`')
        recorder.advance(past)

    def save():
      nonlocal saving
      settle(0)  # a state whose loss is not finite is never saved
      with recorder.pause(), recorder.spend('save'):
        finish_saving()
        checkpoints.save(step, state, {'config': config, 'data': batches.get_state()})
      saving = step

    def finish_saving():
      nonlocal saved
      checkpoints.wait()  # what went wrong with the save under way is raised here
      if saved != saving:
        note('save', step=saving)
      saved = saving

    try:
      while step < run.steps and not stop.signal and not processes.stopping(step):
        with recorder.spend('read'):
          batch = next(batches)
        with recorder.spend('transfer'):
          batch = sharding.place(batch, run.mesh)
        state, metrics = step_fn(state, batch)
        step += 1
        inflight.append((step, metrics))
        settle(1)  # one step stays queued while the host prepares the next, so the device never waits for this loop
        if run.evaluation and run.evaluation.every_steps and step % run.evaluation.every_steps == 0:
          settle(0)
          with recorder.pause(), recorder.spend('evaluate'):
            recorder.write(step, online(run, state))
        if step % run.saving.every_steps == 0:  # after the evaluation: its row is never lost between the two
          save()
      if saving != step:
        save()
      finish_saving()
    except NotFinite as error:
      finish_saving()
      note('stop', step=step, reason=f'loss or gradient not finite at step {error}')
      recorder.close()
      say(f'error: the loss or its gradient is not finite at step {error}; that state was not saved. ' +
          (f'The last good checkpoint is that of step {saved}.' if saved else 'There was no checkpoint before it.'))
      if rollbacks >= run.nonfinite.rollbacks:
        return FAILED
      if main:
        rundir.roll_back(workdir, rollbacks + 1)
      say(f'going on from there with {run.nonfinite.factor ** (rollbacks + 1):g} times the learning rate')
      return None
    recorder.close()
    if step < run.steps:
      reason = stop.signal or 'SIGTERM'
      note('stop', step=step, reason=reason)
      say(f'stopped by {reason} after saving step {step} of {run.steps}; the same command goes on from there')
      return STOPPED
    note('stop', step=step, reason='done')
    try:
      rows = table(run, state, workdir) if run.evaluation and stop.raises() else []
    except Stopping as error:
      note('stop', step=step, reason=str(error))
      say(f'stopped by {error} while evaluating; the same command goes on from there')
      return STOPPED
    if main:
      logged = [row for row in read_rows(workdir / 'metrics.jsonl') if 'loss' in row]
      report(workdir)
      write_json(workdir / 'result.json', {
          'steps': run.steps, 'examples': run.steps * run.examples, 'config': fingerprint(config),
          'metrics': logged[-1], 'evaluation': rows, 'goodput': goodput(read_rows(workdir / 'events.jsonl')),
          'made': rundir.made()})
      print(f'done: {workdir / "report.html"}')
    return DONE


def complete(workdir: Path, config: dict) -> bool:
  """Whether the directory's run is over.

  Raises:
    ConfigError: it holds another config; names the keys that differ.
  """
  if (workdir / 'config.json').exists():
    other = configs.differences(json.loads((workdir / 'config.json').read_text()), config, ignore=FREE)
    if other:
      raise ConfigError(f'{workdir} belongs to another config, in which these keys differ: {"; ".join(other)}. '
                        'Choose another --workdir, or remove this one')
  return (workdir / 'result.json').exists()


def fingerprint(config: dict) -> str:
  """12 hexadecimal digits that two configs share exactly if they train the same numbers."""
  flat = {key: value for key, value in configs.flatten(config).items() if key.split('.')[0] not in FREE}
  return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


def evaluate(config: dict, workdir: str | os.PathLike) -> list[dict]:
  """The evaluation table of a run directory's newest checkpoint; writes and prints it.

  Raises:
    ConfigError: the config has no `evaluate`, or the directory no checkpoint.
  """
  run, workdir = configs.call(prepare, config, 'config'), Path(workdir)
  if run.evaluation is None:
    raise ConfigError(f'{workdir}: its config has no evaluate=dict(train=..., test=...): there is nothing to evaluate')
  with contextlib.closing(Checkpoints(workdir / 'checkpoints', run.saving.keep)) as checkpoints:
    if checkpoints.latest is None:
      raise ConfigError(f'{workdir} holds no checkpoint yet')
    state, _ = checkpoints.restore(run.training.abstract)
  return table(run, state, workdir)


class Stopping(Exception):
  """A signal asked to stop at once."""


class Stop:
  """`signal` is the name of the signal that asked to stop, None while none did."""
  signal: str | None = None
  at_once = False

  def raises(self) -> bool:
    """From here on a signal, also one that has come already, raises `Stopping`; True if none has come."""
    if self.signal:
      raise Stopping(self.signal)
    self.at_once = True
    return True


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
  """Turns the first SIGTERM, SIGINT or SIGUSR1 into a wish; a second one acts as if nothing were installed.

  With several processes SIGTERM is the preemption service's (`processes.stopping`), and the others are turned into it.
  """
  stop = Stop()
  asking = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]

  def ask(number, frame):
    del frame
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
      return
    stop.signal = signal.Signals(number).name
    for each, handler in before.items():
      signal.signal(each, handler)
    if stop.at_once:
      raise Stopping(stop.signal)

  before = {each: signal.signal(each, ask) for each in asking[jax.process_count() > 1:]}
  try:
    yield stop
  finally:
    for each, handler in before.items():
      signal.signal(each, handler)
