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

import jax

from data import identity as identities
from pretrain import config as configs
from pretrain.config import ConfigError
from pretrain.evaluate.run import online, table
from pretrain.files import write_json
from pretrain.interop import initialize as beginning
from pretrain.machine import processes, rundir, sharding
from pretrain.machine.checkpoint import Checkpoints, NotFiniteState
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
# keys that may change on resume: no trained number does
FREE = ('mesh', 'gather_once', 'rules', 'compiler_options', 'reading', 'log_every_steps', 'checkpoint', 'evaluate',
        'max_bad_share', 'accept_data')
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


@contextlib.contextmanager
def enough_memory(run: Run, config: dict, compiled: Callable) -> Iterator[None]:
  """Raises OutOfMemory, which says what takes it, where devices have not enough; `compiled` gives the step, or None."""
  try:
    yield
  except (MemoryError, RuntimeError) as error:
    if not memory.short(error):
      raise
    raise memory.OutOfMemory(memory.sentence(error, run, config, compiled())) from error


def attempt(config: dict, workdir: Path, quiet: bool, rollbacks: int, profile: tuple[int, int] | None, pulse: Pulse
            ) -> int | None:
  """`train` until it is over, or (None) until it has to go on from the last checkpoint with a smaller rate."""
  began = time.monotonic()
  main = processes.me() == 0  # what writes and prints
  say = pulse.say if main else (lambda _: None)
  pulse.now('opening the data', 0)
  processes.agree(config=config, versions=dict(jax=jax.__version__, python=platform.python_version()),
                  rollbacks=rollbacks)
  if complete(workdir, config):
    say(f'{workdir} is complete: it holds result.json; nothing to do')
    return DONE
  factor = NonFinite(**config.get('nonfinite') or {}).factor ** rollbacks if rollbacks else 1.
  lowered = {'schedule': dict(name='lowered', schedule=config['schedule'], factor=factor)} if rollbacks else {}
  run = configs.call(prepare, config | lowered, 'config')
  written_down(run)
  learned = run.classes if run.objective.predict else None
  pulse.steps = run.steps
  for text in facts(run) if not quiet else ():
    say(text)
  if not (workdir / 'checkpoints').exists():
    if run.initialize:
      beginning.check(run.initialize, run.training.abstract, learned)
    if run.continues:
      beginning.check_whole(run.continues, run.training.abstract, run.steps, learned)
  seen = {name: identities.look(source) for name, source in run.data.items()}
  data = {name: each.identity for name, each in seen.items()}
  processes.agree(data={name: each.digest for name, each in data.items()})  # else the hosts read different sets
  with stop_signals() as stop, contextlib.ExitStack() as stack:
    if main:
      workdir.mkdir(parents=True, exist_ok=True)
      stack.enter_context(rundir.alone(workdir))
      rundir.check_renames(workdir)
      rundir.begin(workdir, config)
      rundir.check_progress(workdir)
    processes.check_shared(workdir / 'lock')
    checkpoints = stack.enter_context(contextlib.closing(Checkpoints(workdir / 'checkpoints', run.saving.keep)))
    start = checkpoints.latest or 0
    processes.agree(checkpoint=start)
    note = functools.partial(event, workdir) if main else (lambda *_, **__: None)
    stack.enter_context(rundir.noted(note))
    state, position, step_fn = None, 0, None
    stack.enter_context(enough_memory(run, config, lambda: step_fn))
    if start:
      pulse.now('restoring', start)
      start, state, meta, damaged = checkpoints.restore_newest(run.training.abstract)
      for text in damaged:
        note('damaged', reason=text)
        say(text)
      position = meta['data']['next_index']
      check_data(meta, seen, workdir, start, run.accept_data)
    elif run.continues:
      start, state = beginning.whole(run.continues, run.training, run.seed)
    device = run.mesh.devices.flat[0].device_kind
    chip = by_kind(device)
    phase = next((phase for phase in run.phases if start < phase.until), run.phases[-1])
    peak, flops = chip.flops * run.mesh.size if chip else 0., phase.flops().total
    note('start', step=start, steps=run.steps, config=fingerprint(config), jax=jax.__version__,
         processes=jax.process_count(), devices=run.mesh.devices.size,
         device=device, mesh=dict(run.mesh.shape),
         parameters=sum(x.size for x in jax.tree.leaves(run.training.abstract.params)), flops_per_step=flops,
         data={name: {'digest': each.digest, 'examples': each.examples, 'unseen': each.unseen()}
               for name, each in data.items()})
    for text in passed_over(run):
      say(text)
    if state is None:
      state = beginning.start(run.initialize, run.training) if run.initialize else run.training.init()
    if whole := sharding.left_whole(run.training.abstract.params, run.mesh):
      say(f'{len(whole)} large parameters are whole on every device, as no dimension divides by the mesh '
          f'{dict(run.mesh.shape)}: {", ".join(whole[:3])}; config.rules or another config.mesh would split them')
    batches = run.batches(start=position, bad_records=str(workdir / processes.own_file('bad_records.jsonl')))
    stack.enter_context(contextlib.closing(batches))

    def compiled(phase, at):
      clock = time.perf_counter()
      pulse.now('compiling', at)
      step_fn = compile_ahead(phase.training, run.abstract_batch)
      about = dict(until=phase.until, views=phase.changes) if len(run.phases) > 1 else {}
      note('compile', step=at, seconds=round(time.perf_counter() - clock, 3), **about)
      if about:
        say(f'steps {at} to {phase.until}: compiled for the views ' + (f'with {phase.changes}' if phase.changes else
                                                                       'of the config'))
      return step_fn

    if not quiet:
      say(f'compiling for {run.mesh.size} x {device}')
    step_fn = compiled(phase, start)
    recorder = stack.enter_context(Recorder(workdir, steps=run.steps, start=start, batch=run.examples, quiet=quiet,
                                            process=jax.process_index(), flops=flops, peak=peak,
                                            tokens=tokens_of(run.abstract_batch), say=pulse.say))
    step, saving, saved, blocked, slow, inflight = start, start, start, 0., 0, collections.deque()

    def settle(depth):
      """Waits until only `depth` steps are in flight; logs those that are through."""
      nonlocal slow
      while len(inflight) > depth:
        past, metrics = inflight.popleft()
        with recorder.spend('wait'):
          metrics = jax.device_get(metrics)
        if (bad := int(metrics.pop('nonfinite'))) >= 0:
          raise NotFinite(f'the loss or its gradient is not finite at step {bad}')
        pulse.now('training', past)
        if past == start + 1:
          note('first_step', step=past, seconds=round(time.monotonic() - began, 3))
          if not quiet:
            say(f'step {past}/{run.steps}  {time.monotonic() - began:.1f} s after the start')
          recorder.restart(past)
        if past % run.log_every_steps == 0 or past == run.steps:
          row = recorder.log(past, {name: float(value) for name, value in metrics.items()}, pulse.row)
          read = max((share or 0 for share in row.get('hosts/read', ())), default=row.get('time/read', 0))
          slow = slow + 1 if read > SLOW else 0
          if slow == SLOW_ROWS:
            whose = {'host': row['hosts/slowest']} if 'hosts/slowest' in row else {}
            note('slow_input', step=past, share=read, **whose)
            say(f'{read:.0%} of the time{" of " + whose["host"] if whose else ""} goes into waiting for batches: raise '
                'config.reading.threads or .workers, or store the images small and together with `python -m data '
                'prepare --size`')
        recorder.advance(past)

    def save():
      nonlocal saving, blocked
      settle(0)  # a state whose loss is not finite is never saved
      with recorder.pause(), recorder.spend('save'):
        pulse.now('saving', step)
        finish_saving()
        clock = time.perf_counter()
        try:
          checkpoints.save(step, state, {'config': config, 'data': batches.get_state(),
                                         'identity': {name: each._asdict() for name, each in data.items()}})
        except NotFiniteState as error:
          raise NotFinite(f'{error}, behind step {step}') from error
        if main and saving == start:  # the data of the newest checkpoint
          identities.write(workdir / 'data.npz', seen)
        saving, blocked = step, time.perf_counter() - clock

    def finish_saving():
      nonlocal saved
      clock = time.perf_counter()
      checkpoints.wait()  # what went wrong with the save under way is raised here
      if saved != saving:
        note('save', step=saving, seconds=round(blocked + time.perf_counter() - clock, 3))  # that the loop stood still
      saved = saving

    trace = stack.enter_context(rundir.Trace(workdir / 'profile', profile))
    stack.enter_context(processes.notices())
    pulse.now('training', start)
    try:
      while step < run.steps and not stop.signal and not processes.stopping(step):
        trace.at(step, lambda: settle(0))
        if step == phase.until:
          settle(0)
          with recorder.pause(), recorder.spend('compile'):
            phase = run.phases[run.phases.index(phase) + 1]
            step_fn, recorder.flops = compiled(phase, step), phase.flops().total
        pulse.now('reading')
        with recorder.spend('read'):
          batch = next(batches)
        pulse.now('training')
        with recorder.spend('transfer'):
          batch = sharding.place(batch, run.mesh)
        state, metrics = step_fn(state, batch)
        step += 1
        inflight.append((step, metrics))
        settle(1)  # one step stays queued while the host prepares the next, so the device never waits for this loop
        if run.evaluation and run.evaluation.every_steps and step % run.evaluation.every_steps == 0:
          settle(0)
          pulse.now('evaluating', step)
          with recorder.pause(), recorder.spend('evaluate'):
            recorder.write(step, online(run, state, workdir))
        if step % run.saving.every_steps == 0:  # after the evaluation: its row is never lost between the two
          save()
      if saving != step:
        save()
      finish_saving()
    except NotFinite as error:
      finish_saving()
      note('stop', step=step, reason=str(error))
      recorder.close()
      say(f'error: {error}; that state was not saved. ' +
          (f'The last good checkpoint is that of step {saved}.' if saved else 'There was no checkpoint before it.'))
      if rollbacks >= run.nonfinite.rollbacks:
        return FAILED
      if rollbacks and saved == start and (older := checkpoints.set_aside(saved)):
        say(f'it went wrong again before its next checkpoint: that of step {saved} is kept as {older}, and not used')
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
    pulse.now('evaluating', step)
    try:
      rows = table(run, state, workdir) if run.evaluation and stop.raises() else []
      if main:
        logged = [row for row in read_metrics(workdir) if 'loss' in row] or [{'step': step}]
        report(workdir)
        write_json(workdir / 'result.json', {
            'steps': run.steps, 'examples': run.steps * run.examples, 'config': fingerprint(config),
            'metrics': logged[-1], 'evaluation': rows, 'goodput': goodput(read_events(workdir)),
            'made': rundir.made()})
        print(f'done: {workdir / "report.html"}')
    except Exception:  # `Stopping`, and what becomes of it where JAX compares its keys: an error of another type
      if not stop.signal:
        raise
      note('stop', step=step, reason=stop.signal)
      say(f'stopped by {stop.signal} while evaluating; the same command goes on from there')
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


def written_down(run: Run) -> None:
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
  """The length of a batch's texts, if it is one of texts."""
  return batch['tokens'].shape[1] if 'tokens' in batch else 0


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
                             ignore=FREE)


def stages(workdir: Path) -> bool:
  """Whether a directory holds a checkpoint, or a stage of a program that has begun."""
  return any(workdir.glob('checkpoints/[0-9]*')) or any(workdir.glob('*/config.json'))


def without_places(flat: dict) -> dict:
  """A flat config without the places of the data, which may be moved: what they are is part of a checkpoint."""
  return {key: value for key, value in flat.items()
          if not ('source' in key.split('.')[:-1] and key.rpartition('.')[2] in PLACES)}


def fingerprint(config: dict) -> str:
  """12 hexadecimal digits that two configs share exactly if they train the same numbers."""
  flat = {key: value for key, value in without_places(configs.flatten(config)).items() if key.split('.')[0] not in FREE}
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
    with beginning.opened(str(workdir), '--workdir') as checkpoints:
      beginning.check_classes(checkpoints.meta(), run.classes, f'{workdir} was trained with')
      state, _ = checkpoints.restore(run.training.abstract)
    for text in passed_over(run):
      pulse.say(text)
    pulse.now('evaluating')
    return table(run._replace(evaluation=run.evaluation._replace(pictures=True)), state, workdir)
