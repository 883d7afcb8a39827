"""The one loop, for every objective: steps, metrics, checkpoints, evaluation, result.

`pretrain.run.prepare` turns a config into a `Run`; `train` drives it in a run directory that can be killed and
continued at any moment. Read top to bottom.
"""
import collections
import contextlib
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from data import identity as identities
from pretrain import config as configs
from pretrain import frontends
from pretrain.config import ConfigError
from pretrain.evaluate.run import online, table
from pretrain.files import write_json
from pretrain.interop import initialize
from pretrain.machine import processes, rundir, sharding
from pretrain.machine.checkpoint import Checkpoints, NotFiniteState, check_kinds, kinds
from pretrain.machine.hardware import by_kind
from pretrain.machine.metrics import Recorder, event, goodput, read_events, read_metrics, shows_bar
from pretrain.machine.processes import stop_signals
from pretrain.machine.pulse import Pulse
from pretrain.plan import memory
from pretrain.report import report
from pretrain.run import NonFinite, Run, prepare
from pretrain.step import compile_ahead

SLOW, SLOW_ROWS = 0.1, 5  # share of the time spent waiting for batches that is worth a word, once in 5 rows running
DONE, FAILED, STOPPED = 0, 1, 75  # exit codes; 75 is EX_TEMPFAIL: run the same command again
# no trained number depends on these keys
MAY_CHANGE_ON_RESUME = ('mesh', 'gather_once', 'rules', 'compiler_options', 'reading', 'log_every_steps', 'checkpoint',
                        'evaluate', 'max_bad_share', 'accept_data')
PLACES = ('path', 'data_dir', 'tokenizer', 'store')  # keys of sources: where data lie; what they are is compared


class NotFinite(Exception):
  """The loss or its gradient is NaN or infinite since this step, or the parameters behind it; its text says which."""


def train(config: dict, workdir: str | os.PathLike, quiet: bool = False, profile: tuple[int, int] | None = None) -> int:
  """Trains, or goes on training, in a run directory; README lists the files in it.

  Args:
    profile: first step and the one after the last of a trace in workdir/profile, for XProf, TensorBoard or Perfetto.
  Returns:
    DONE, STOPPED (saved on SIGTERM, SIGINT or SIGUSR1: run it again), or FAILED (the loss is not finite).
  Raises:
    ConfigError: the directory belongs to another config; and what `prepare` raises.
  """
  rollbacks = rundir.rollbacks(workdir)
  with Pulse(processes.me() == 0 and not quiet and not shows_bar()) as pulse:
    while (code := attempt(config, Path(workdir), quiet, rollbacks, profile, pulse)) is None:
      rollbacks += 1
  return code


def attempt(config: dict, workdir: Path, quiet: bool, rollbacks: int, profile: tuple[int, int] | None, pulse: Pulse
            ) -> int | None:
  """`train` until it is over, or (None) until it has to go on from the last checkpoint with a smaller rate."""
  session = open_session(config, workdir, quiet, rollbacks, pulse)
  if session is None:
    return DONE
  run = session.run
  with stop_signals() as stop, contextlib.ExitStack() as stack:
    checkpoints = take_directory(session, stack)
    steps = Steps(session)
    stack.enter_context(enough_memory(run, config, lambda: steps.program))
    position = steps.restore(checkpoints)
    flops, peak = note_start(session, steps)
    steps.initialize()
    say_whole(session)
    batches = run.batches(start=position, bad_records=str(workdir / processes.own_file('bad_records.jsonl')))
    stack.enter_context(contextlib.closing(batches))
    if not quiet:
      session.say(f'compiling for {run.mesh.size} x {run.mesh.devices.flat[0].device_kind}')
    steps.compile()
    recorder = stack.enter_context(Recorder(workdir, steps=run.steps, start=steps.start, batch=run.examples,
                                            quiet=quiet, process=jax.process_index(), flops=flops, peak=peak,
                                            tokens=tokens_of(run.abstract_batch), say=pulse.say))
    in_flight = InFlight(session, recorder, steps.start)
    saves = Saves(session, checkpoints, in_flight)
    trace = stack.enter_context(rundir.Trace(workdir / 'profile', profile))
    stack.enter_context(processes.notices())
    pulse.now('training', steps.start)
    try:
      loop(steps, batches, in_flight, saves, trace, stop)
    except NotFinite as error:
      saves.finish()
      session.note('stop', step=steps.step, reason=str(error))
      recorder.close()
      return failed(session, saves, error)
    recorder.close()
    if steps.step < run.steps:
      reason = stop.signal or 'SIGTERM'
      session.note('stop', step=steps.step, reason=reason)
      session.say(f'stopped by {reason} after saving step {steps.step} of {run.steps}; the same command goes on from '
                  'there')
      return STOPPED
    return finish(session, steps, stop)


class Session(NamedTuple):
  """An attempt to train: what stays the same from its start to its end.

  rollbacks: how often the run has gone back to a checkpoint.
  seen:      the data as they are here, by name.
  began:     when, by `time.monotonic`.
  main:      whether this process writes and prints.
  say:       prints a line, in the main process.
  note:      (event, **fields): adds to events.jsonl, in the main process.
  """
  config: dict
  run: Run
  workdir: Path
  quiet: bool
  rollbacks: int
  seen: dict[str, identities.Seen]
  began: float
  main: bool
  pulse: Pulse
  say: Callable
  note: Callable


def open_session(config: dict, workdir: Path, quiet: bool, rollbacks: int, pulse: Pulse) -> Session | None:
  """Opens the data and makes the config real; None where the run is complete."""
  began, main = time.monotonic(), processes.me() == 0
  say = pulse.say if main else (lambda _: None)
  pulse.now('opening the data', 0)
  processes.agree(config=config, versions=dict(jax=jax.__version__, python=platform.python_version()),
                  rollbacks=rollbacks)
  if complete(workdir, config):
    say(f'{workdir} is complete: it holds result.json; nothing to do')
    return None
  factor = NonFinite(**config.get('nonfinite') or {}).factor ** rollbacks if rollbacks else 1.
  lowered = {'schedule': dict(name='lowered', schedule=config['schedule'], factor=factor)} if rollbacks else {}
  run = configs.call(prepare, config | lowered, 'config')
  check_traces(run)
  pulse.steps = run.steps
  for text in facts(run) if not quiet else ():
    say(text)
  if not (workdir / 'checkpoints').exists():
    learned = run.classes if run.objective.predict else None
    if run.initialize:
      initialize.check(run.initialize, run.training.abstract, learned)
    if run.continues:
      initialize.check_whole(run.continues, run.training.abstract, run.steps, learned)
  seen = {name: identities.look(source) for name, source in run.data.items()}
  processes.agree(data={name: each.identity.digest for name, each in seen.items()})  # else hosts read different sets
  note = functools.partial(event, workdir) if main else (lambda *_, **__: None)
  return Session(config, run, workdir, quiet, rollbacks, seen, began, main, pulse, say, note)


def take_directory(session: Session, stack: contextlib.ExitStack) -> Checkpoints:
  """The checkpoints of the run directory, which nobody else may write until the stack is left."""
  workdir = session.workdir
  if session.main:
    workdir.mkdir(parents=True, exist_ok=True)
    stack.enter_context(rundir.locked(workdir))
    rundir.check_renames(workdir)
    rundir.begin(workdir, session.config)
    rundir.check_progress(workdir)
  processes.check_shared(workdir / 'lock')
  checkpoints = stack.enter_context(contextlib.closing(Checkpoints(workdir / 'checkpoints', session.run.saving.keep)))
  processes.agree(checkpoint=checkpoints.latest or 0)
  stack.enter_context(rundir.noted(session.note))
  return checkpoints


@contextlib.contextmanager
def enough_memory(run: Run, config: dict, compiled: Callable) -> Iterator[None]:
  """Raises OutOfMemory, which says what takes it, where devices have not enough; `compiled` gives the step, or None."""
  try:
    yield
  except (MemoryError, RuntimeError) as error:
    if not memory.short(error):
      raise
    raise memory.OutOfMemory(memory.sentence(error, run, config, compiled())) from error


class Steps:
  """The state of a run, and the program that takes it from one step to the next.

  start:   the step that the attempt begins at.
  step:    how many are done.
  state:   a `TrainState`; None before it is restored or initialized.
  phase:   of the run, that the next step is of.
  program: the compiled step of the phase; None before the first is compiled.
  """

  def __init__(self, session: Session):
    self.session, self.start, self.step, self.phase = session, 0, 0, session.run.phases[0]
    self.state: Any = None
    self.program: Callable | None = None

  def restore(self, checkpoints: Checkpoints) -> int:
    """Reads the newest checkpoint, or that of `config.continues`, if there is one; gives the index of the next batch.
    """
    session, run, position = self.session, self.session.run, 0
    if newest := checkpoints.latest:
      session.pulse.now('restoring', newest)
      self.start, self.state, meta, damaged = checkpoints.restore_newest(run.training.abstract)
      for text in damaged:
        session.note('damaged', reason=text)
        session.say(text)
      position = meta['data']['next_index']
      check_kinds(meta.get('spec'), kinds(run.training.spec), f'checkpoint {self.start} in {session.workdir}')
      check_data(meta, session.seen, session.workdir, self.start, run.accept_data)
    elif run.continues:
      self.start, self.state = initialize.whole(run.continues, run.training, run.seed)
    self.step = self.start
    self.phase = next((phase for phase in run.phases if self.start < phase.until), run.phases[-1])
    return position

  def initialize(self) -> None:
    """Makes the state of step 0, unless one was restored."""
    run = self.session.run
    if self.state is None:
      self.state = initialize.start(run.initialize, run.training) if run.initialize else run.training.init()

  def compile(self) -> None:
    """Compiles the step of the phase."""
    clock, session, phase = time.perf_counter(), self.session, self.phase
    session.pulse.now('compiling', self.step)
    program = compile_ahead(phase.training, session.run.abstract_batch)
    about = dict(until=phase.until, views=phase.changes) if len(session.run.phases) > 1 else {}
    session.note('compile', step=self.step, seconds=round(time.perf_counter() - clock, 3), **about)
    if about:
      session.say(f'steps {self.step} to {phase.until}: compiled for the views ' +
                  (f'with {phase.changes}' if phase.changes else 'of the config'))
    self.program = program

  def next_phase(self) -> None:
    """Compiles the step of the phase that begins here."""
    phases = self.session.run.phases
    self.phase = phases[phases.index(self.phase) + 1]
    self.compile()

  def take(self, batch) -> dict:
    """Dispatches a step; gives its metrics, on the device."""
    assert self.program  # `compile` has made it
    self.state, metrics = self.program(self.state, batch)
    self.step += 1
    return metrics


def note_start(session: Session, steps: Steps) -> tuple[float, float]:
  """Says what begins, and where; gives the operations of a step, and those a second at the devices' peak, or 0."""
  run, device = session.run, session.run.mesh.devices.flat[0].device_kind
  chip = by_kind(device)
  peak, flops = chip.flops * run.mesh.size if chip else 0., steps.phase.flops().total
  data = {name: each.identity for name, each in session.seen.items()}
  session.note('start', step=steps.start, steps=run.steps, config=fingerprint(session.config), jax=jax.__version__,
               processes=jax.process_count(), devices=run.mesh.devices.size,
               device=device, mesh=dict(run.mesh.shape),
               parameters=sum(x.size for x in jax.tree.leaves(run.training.abstract.params)), flops_per_step=flops,
               data={name: {'digest': each.digest, 'examples': each.examples, 'unseen': each.unseen()}
                     for name, each in data.items()})
  for text in passed_over(run):
    session.say(text)
  return flops, peak


def say_whole(session: Session) -> None:
  """Says which large parameters the mesh does not split."""
  run = session.run
  if whole := sharding.left_whole(run.training.abstract.params, run.mesh):
    session.say(f'{len(whole)} large parameters are whole on every device, as no dimension divides by the mesh '
                f'{dict(run.mesh.shape)}: {", ".join(whole[:3])}; config.rules or another config.mesh would split them')


class InFlight:
  """The steps that were dispatched and whose metrics are not read yet, the oldest first."""

  def __init__(self, session: Session, recorder: Recorder, start: int):
    self.session, self.recorder, self.start = session, recorder, start
    self._steps: collections.deque[tuple[int, dict]] = collections.deque()
    self._slow = 0  # rows one after the other, in which the loop waited for batches

  def add(self, step: int, metrics: dict) -> None:
    self._steps.append((step, metrics))

  def settle(self, depth: int = 0) -> None:
    """Waits until only `depth` steps are in flight; logs those that are through.

    Raises:
      NotFinite: the loss of one, or its gradient, is not finite.
    """
    run = self.session.run
    while len(self._steps) > depth:
      step, metrics = self._steps.popleft()
      with self.recorder.spend('wait'):
        metrics = jax.device_get(metrics)
      if (bad := int(metrics.pop('nonfinite'))) >= 0:
        raise NotFinite(f'the loss or its gradient is not finite at step {bad}')
      self.session.pulse.now('training', step)
      if step == self.start + 1:
        self._first(step)
      if step % run.log_every_steps == 0 or step == run.steps:
        row = self.recorder.log(step, {name: float(value) for name, value in metrics.items()}, self.session.pulse.row)
        self._warn(step, row)
      self.recorder.advance(step)

  def _first(self, step: int) -> None:
    """Says how long the first step of the attempt took; the clocks of the rows begin behind it."""
    session = self.session
    session.note('first_step', step=step, seconds=round(time.monotonic() - session.began, 3))
    if not session.quiet:
      session.say(f'step {step}/{session.run.steps}  {time.monotonic() - session.began:.1f} s after the start')
    self.recorder.restart(step)

  def _warn(self, step: int, row: dict) -> None:
    """Says once that the loop waits for batches, if it did so in several rows running."""
    read = max((share or 0 for share in row.get('hosts/read', ())), default=row.get('time/read', 0))
    self._slow = self._slow + 1 if read > SLOW else 0
    if self._slow == SLOW_ROWS:
      whose = {'host': row['hosts/slowest']} if 'hosts/slowest' in row else {}
      self.session.note('slow_input', step=step, share=read, **whose)
      self.session.say(
          f'{read:.0%} of the time{" of " + whose["host"] if whose else ""} goes into waiting for batches: raise '
          'config.reading.threads or .workers, or store the images small and together with `python -m data '
          'prepare --size`')


class Saves:
  """The saves of an attempt, one of which may be under way.

  start:   the step that the attempt begins at.
  newest:  the step that was saved last, perhaps not on disk yet.
  on_disk: the newest step that is; as long as there is none, that of the start.
  """

  def __init__(self, session: Session, checkpoints: Checkpoints, in_flight: InFlight):
    self.session, self.checkpoints, self.in_flight = session, checkpoints, in_flight
    self.start = self.newest = self.on_disk = in_flight.start
    self._blocked = 0.  # seconds that the loop stood still when the newest save began

  def save(self, steps: Steps, batches: Any) -> None:
    """Begins to save the state and the position in the data, once the save before is on disk.

    Raises:
      NotFinite: the loss, its gradient or the parameters.
    """
    session, step, recorder = self.session, steps.step, self.in_flight.recorder
    self.in_flight.settle()  # a state whose loss is not finite is never saved
    with recorder.pause(), recorder.spend('save'):
      session.pulse.now('saving', step)
      self.finish()
      clock = time.perf_counter()
      try:
        self.checkpoints.save(step, steps.state, {
            'config': session.config, 'data': batches.get_state(), 'spec': kinds(session.run.training.spec),
            'identity': {name: each.identity._asdict() for name, each in session.seen.items()}})
      except NotFiniteState as error:
        raise NotFinite(f'{error}, behind step {step}') from error
      if session.main and self.newest == self.start:  # the data of the newest checkpoint
        identities.write(session.workdir / 'data.npz', session.seen)
      self.newest, self._blocked = step, time.perf_counter() - clock

  def finish(self) -> None:
    """Waits until the newest save is on disk."""
    clock = time.perf_counter()
    self.checkpoints.wait()  # what went wrong with the save under way is raised here
    if self.on_disk != self.newest:
      seconds = self._blocked + time.perf_counter() - clock  # that the loop stood still
      self.session.note('save', step=self.newest, seconds=round(seconds, 3))
    self.on_disk = self.newest


def loop(steps: Steps, batches: Any, in_flight: InFlight, saves: Saves, trace: rundir.Trace, stop: processes.Stop
         ) -> None:
  """Takes steps until the last one, or until a signal asks to stop; the step that it ends with is saved.

  Raises:
    NotFinite: the loss, its gradient or the parameters.
  """
  session, recorder = steps.session, in_flight.recorder
  run, pulse = session.run, session.pulse
  while steps.step < run.steps and not stop.signal and not processes.stopping(steps.step):
    trace.at(steps.step, in_flight.settle)
    if steps.step == steps.phase.until:
      in_flight.settle()
      with recorder.pause(), recorder.spend('compile'):
        steps.next_phase()
        recorder.flops = steps.phase.flops().total
    pulse.now('reading')
    with recorder.spend('read'):
      batch = next(batches)
    pulse.now('training')
    with recorder.spend('transfer'):
      batch = sharding.place(batch, run.mesh)
    metrics = steps.take(batch)
    in_flight.add(steps.step, metrics)
    in_flight.settle(1)  # one step stays queued while the host prepares the next: the device never waits for this loop
    if run.evaluation and run.evaluation.every_steps and steps.step % run.evaluation.every_steps == 0:
      in_flight.settle()
      pulse.now('evaluating', steps.step)
      with recorder.pause(), recorder.spend('evaluate'):
        recorder.write(steps.step, online(run, steps.state, session.workdir))
    if steps.step % run.saving.every_steps == 0:  # after the evaluation: its row is never lost between the two
      saves.save(steps, batches)
  if saves.newest != steps.step:
    saves.save(steps, batches)
  saves.finish()


def failed(session: Session, saves: Saves, error: NotFinite) -> int | None:
  """FAILED, or None where the run goes back to its last checkpoint, with a smaller rate from there on."""
  run, rollbacks, say = session.run, session.rollbacks, session.say
  say(f'error: {error}; that state was not saved. ' +
      (f'The last good checkpoint is that of step {saves.on_disk}.' if saves.on_disk else
       'There was no checkpoint before it.'))
  if rollbacks >= run.nonfinite.rollbacks:
    return FAILED
  if rollbacks and saves.on_disk == saves.start and (older := saves.checkpoints.set_aside(saves.on_disk)):
    say(f'it went wrong again before its next checkpoint: that of step {saves.on_disk} is kept as {older}, and not '
        'used')
  if session.main:
    rundir.roll_back(session.workdir, rollbacks + 1)
  say(f'going on from there with {run.nonfinite.factor ** (rollbacks + 1):g} times the learning rate')
  return None


def finish(session: Session, steps: Steps, stop: processes.Stop) -> int:
  """Evaluates a run that is through and writes its result and report: DONE, or STOPPED by a signal meanwhile."""
  run, workdir, step = session.run, session.workdir, steps.step
  session.note('stop', step=step, reason='done')
  session.pulse.now('evaluating', step)
  try:
    rows = table(run, steps.state, workdir) if run.evaluation and stop.raises() else []
    if session.main:
      logged = [row for row in read_metrics(workdir) if 'loss' in row] or [{'step': step}]
      report(workdir)
      write_json(workdir / 'result.json', {
          'steps': run.steps, 'examples': run.steps * run.examples, 'config': fingerprint(session.config),
          'metrics': logged[-1], 'evaluation': rows, 'goodput': goodput(read_events(workdir)),
          'made': rundir.made()})
      print(f'done: {workdir / "report.html"}')
  except Exception:  # `Stopping`, and what becomes of it where JAX compares its keys: an error of another type
    if not stop.signal:
      raise
    session.note('stop', step=step, reason=stop.signal)
    session.say(f'stopped by {stop.signal} while evaluating; the same command goes on from there')
    return STOPPED
  return DONE


def facts(run: Run) -> list[str]:
  """What is trained, in a few lines."""
  lines = []
  for name, source in run.data.items():
    shape = ' x '.join(map(str, source.shape))
    classes = f', {len(source.classes)} classes' if source.labels is not None and source.classes else ''
    whose = '' if name == 'source' else f'{name}: '
    lines.append(f'{whose}{source.origin}: {len(source):,} examples of {shape}{classes}')
  parameters = sum(x.size for x in jax.tree.leaves(run.training.abstract.params))
  axes = ', '.join(f'{axis}={size}' for axis, size in run.mesh.shape.items() if size > 1)
  lines.append(f'{parameters:,} parameters; {run.steps:,} steps of {run.examples:,} examples on {run.mesh.size} x '
               f'{run.mesh.devices.flat[0].device_kind}{f" ({axes})" if axes else ""}')
  return lines + processes.unused()


def check_traces(run: Run) -> None:
  """Raises ConfigError if the first step cannot even be written down; compiling it later does not trace it again."""
  step = run.phases[0].training.step
  configs.call(lambda: step.trace(run.training.abstract, run.abstract_batch), {}, 'config')


def check_data(meta: dict, seen: dict[str, identities.Seen], workdir: Path, step: int, accepted: str | None) -> None:
  """Raises ConfigError where the data are not those of the checkpoint, unless these very data are accepted.

  Args:
    meta: of the checkpoint.
    seen: of the data that are here now.
    accepted: config.accept_data.
  """
  found, here = [], '-'.join(each.identity.digest for each in seen.values())
  for name, now in seen.items():
    then = meta.get('identity', {}).get(name)
    if then is None:  # of a checkpoint from before data had an identity
      continue
    before, old = identities.read(workdir / 'data.npz', name), identities.Identity(**then)
    before = before if before and before.identity == old else None
    if differing := identities.differences(old, now.identity, before, now):
      found.append(f'{"config.source" if name == "source" else f"config.{name}.source"}: {"; ".join(differing)}')
  if found and accepted != here:
    raise ConfigError(f'these are not the data that {workdir} was trained on until step {step}. {". ".join(found)}. '
                      f'Restore them, choose another --workdir, or go on with these by --config.accept_data={here}')


def passed_over(run: Run) -> list[str]:
  """What was passed over when the sets of a run were opened, once each."""
  notes = [note for source in run.data.values() for note in source.notes]
  if run.evaluation:
    notes += [*run.evaluation.notes, *([run.evaluation.foreign] if run.objective.predict else [])]
  return list(filter(None, dict.fromkeys(notes)))


def tokens_of(batch) -> int:
  """Tokens of an example of a batch, of what has any that are counted."""
  return sum(batch[kind.key].shape[1] for kind in frontends.found(batch) if kind.tokens)


def complete(workdir: Path, config: dict) -> bool:
  """Whether the directory's run is over. Without a checkpoint and a result it is nobody's: another config begins there.

  Raises:
    ConfigError: it holds another config; names the keys that differ.
  """
  say = print if jax.process_index() == 0 else (lambda _: None)
  then, about = rundir.begun(workdir)
  result, lost = rundir.finished(workdir)
  for text in filter(None, (about, lost and f'{lost}; it is written again')):
    say(text)
  other = differing(then, config) if then else []
  if other and (saved := rundir.saved_config(workdir)) and not differing(saved, config):
    say(f'{workdir}/config.json is damaged: it is not the config of the newest checkpoint, in which these keys differ: '
        f'{"; ".join(other)}; it is written again')
    other = []
  if other and not (result or lost or (workdir / 'rollbacks.json').exists() or stages(workdir)):
    say(f'{workdir} holds another config, of a run without a checkpoint; this one begins there')
  elif other:
    raise ConfigError(f'{workdir} belongs to another config, in which these keys differ: {"; ".join(other)}. '
                      'Choose another --workdir, or remove this one')
  if result and not then and result['config'] != fingerprint(config):
    raise ConfigError(f'{workdir} has lost its config.json, and its result.json is of another config: fingerprint '
                      f'{result["config"]}, wanted {fingerprint(config)}. Choose another --workdir, or remove this one')
  return result is not None


def differing(then: dict, config: dict) -> list[str]:
  """What differs between two configs and may not change on resume, in words."""
  return configs.differences(without_places(configs.flatten(then)), without_places(configs.flatten(config)),
                             ignore=MAY_CHANGE_ON_RESUME)


def stages(workdir: Path) -> bool:
  """Whether a directory holds a checkpoint, or a stage of a program that has begun."""
  return any(workdir.glob('checkpoints/[0-9]*')) or any(workdir.glob('*/config.json'))


def without_places(flat: dict) -> dict:
  """A flat config without the places of the data, which may be moved: what they are is part of a checkpoint."""
  return {key: value for key, value in flat.items()
          if not ('source' in key.split('.')[:-1] and key.rpartition('.')[2] in PLACES)}


def fingerprint(config: dict) -> str:
  """12 hexadecimal digits that two configs share exactly if they train the same numbers."""
  flat = {key: value for key, value in without_places(configs.flatten(config)).items()
          if key.split('.')[0] not in MAY_CHANGE_ON_RESUME}
  return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


def evaluate(config: dict, workdir: str | os.PathLike) -> list[dict]:
  """The evaluation table of a run directory's newest checkpoint; writes and prints it, always with the pictures.

  Raises:
    ConfigError: the config has no `evaluate`, or the directory no checkpoint.
  """
  run, workdir = configs.call(prepare, config, 'config'), Path(workdir)
  if run.evaluation is None:
    raise ConfigError(f'{workdir}: its config has no evaluate=dict(train=..., test=...): there is nothing to evaluate')
  with Pulse(processes.me() == 0 and not shows_bar()) as pulse:
    pulse.now('restoring')
    with initialize.opened(str(workdir), '--workdir') as checkpoints:
      initialize.check_classes(checkpoints.meta(), run.classes, f'{workdir} was trained with')
      state, _ = checkpoints.restore(run.training.abstract)
    for text in passed_over(run):
      pulse.say(text)
    pulse.now('evaluating')
    return table(run._replace(evaluation=run.evaluation._replace(pictures=True)), state, workdir)
