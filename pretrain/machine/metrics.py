"""What a run says while it runs: metrics.jsonl, events.jsonl, TensorBoard scalars, and one line that a human reads."""

import contextlib
import datetime
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tensorboardX import SummaryWriter

from pretrain.config import Natural, Number
from pretrain.files import encoded, json_line, read_rows, write_bytes

SMOOTHING = 0.7  # share of the old value in the examples/s that is shown; the rows hold the plain interval


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
  """The rows of workdir/metrics.jsonl, each with its step."""
  return read_rows(Path(workdir) / 'metrics.jsonl', step=Natural)


def read_events(workdir: str | os.PathLike) -> list[dict]:
  """The rows of workdir/events.jsonl, each with its time and its event."""
  return read_rows(Path(workdir) / 'events.jsonl', time=Number, event=str)


def event(workdir: str | os.PathLike, name: str, **fields) -> None:
  """Appends {"time": unix seconds, "event": name, **fields} to workdir/events.jsonl. Call it on one process only."""
  path = Path(workdir) / 'events.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('ab+') as file:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
    cut = file.read(1) not in (b'', b'\n')  # the last attempt was killed in the middle of a line: leave it alone
    file.write(b'\n' * cut + encoded(json_line({'time': round(time.time(), 3), 'event': name, **fields})))


def goodput(events: list[dict]) -> float | None:
  """Share of a run's life, restarts and the time between them included, that went into steps that were kept.

  Args:
    events: of events.jsonl, in order. An attempt's steps count from its first one to its last save or its stop: what
      came after the last save of a killed attempt was done again.
  Returns:
    In [0, 1]; None before anything was saved. A clock that is set back counts as one that stands still.
  """
  attempts: list[list[dict]] = []
  life, last = 0., events[0]['time'] if events else 0.
  for row in events:
    life, last = life + max(0., row['time'] - last), row['time']
    if row['event'] == 'start':
      attempts.append([])
    if attempts:
      attempts[-1].append(row | {'time': life})
  useful = 0.
  for attempt in attempts:
    times = {row['event']: row['time'] for row in attempt if row['event'] in ('first_step', 'save', 'stop')}
    if 'first_step' in times and len(times) > 1:
      useful += max(times.values()) - times['first_step']
  return round(useful / life, 4) if useful > 0 else None


def shows_bar() -> bool:
  """Whether there is a terminal for a progress bar."""
  return sys.stdout.isatty() and sys.stderr.isatty()


class Recorder:
  """Writes one run's metrics: metrics.jsonl, TensorBoard, and a progress bar, or plain rows where no terminal is.

  Use it as a context manager, or call `close`. Metrics arrive as host numbers, so the caller has already waited for
  the device; wait before `pause` too, or steps that are still queued run inside the pause and look free.

  Args:
    workdir: the run directory, made if absent.
    steps: total steps of the run.
    start: the step that the state is at. Rows past it, of an earlier attempt, are dropped; at 0 all rows are.
    batch: global batch, in examples; examples/s counts all hosts.
    quiet: True shows nothing; the files are written all the same.
    process: index of this process; only process 0 writes and shows.
    flops: operations a step, for the rows' 'tflops_per_second'; 0: unknown.
    tokens: of an example, for 'tokens_per_second'; 0: there are none.
    peak: operations a second of all devices together, for 'mfu', the share of it that is used; 0: unknown.
    say: what prints a line.
    description: what the bar is called; the directory's name if empty.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    steps: int,
    start: int,
    batch: int,
    quiet: bool,
    process: int = 0,
    flops: float = 0.0,
    peak: float = 0.0,
    tokens: int = 0,
    say: Callable[[str], None] = functools.partial(print, flush=True),  # noqa: B008
    description: str = '',
  ):
    self.flops, self.peak, self.tokens, self.say = flops, peak, tokens, say
    self.steps, self.batch, self.writes = steps, batch, process == 0
    self.shows = self.writes and not quiet
    self.rate: float | None = None
    self.bar: Progress | None = None
    self.depth = 0  # of pauses
    if self.writes:
      path = Path(workdir) / 'metrics.jsonl'
      rows = [row for row in read_metrics(workdir) if start > 0 and row['step'] <= start]
      write_bytes(path, encoded(''.join(map(json_line, rows))))
      self.file = path.open('a', encoding='utf-8', errors='backslashreplace')
      # TensorBoard hides what an earlier attempt wrote at purge_step and later.
      purge = start + 1 if start > 0 else 0
      self.board = SummaryWriter(str(path.parent / 'tensorboard'), purge_step=purge, flush_secs=10)
    if self.shows and shows_bar():
      texts = ('{task.description}', '{task.completed:,.0f}/{task.total:,.0f}', '{task.fields[note]}')
      name, count, note = (TextColumn(text, markup=False) for text in texts)
      eta = TextColumn('ETA {task.fields[eta]}')
      columns = name, BarColumn(), count, note, TimeElapsedColumn(), eta
      self.bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
      description = description or Path(workdir).resolve().name
      self.task = self.bar.add_task(description, total=steps, completed=start, note='', eta='-:--:--')
      self.bar.start()
    self.restart(start)

  def restart(self, step: int) -> None:
    """Starts the clocks of examples/s and ETA at `step`; call it once the first step is through, to leave out XLA."""
    self.begun = self.since = time.perf_counter()
    self.begun_step = self.since_step = step
    self.paused, self.spent = 0.0, {}

  @contextlib.contextmanager
  def spend(self, name: str) -> Iterator[None]:
    """Context whose share of the time since the last row is logged with the next one, as 'time/<name>' in [0, 1]."""
    begin = time.perf_counter()
    try:
      yield
    finally:
      self.spent[name] = self.spent.get(name, 0.) + time.perf_counter() - begin

  @contextlib.contextmanager
  def pause(self) -> Iterator[None]:
    """Context whose time examples/s leaves out (evaluation, checkpoints); may be nested. The ETA counts it."""
    begin, self.depth = time.perf_counter(), self.depth + 1
    try:
      yield
    finally:
      self.depth -= 1
      if self.depth == 0:
        self.paused += time.perf_counter() - max(begin, self.since)  # a log inside has begun a new interval

  def advance(self, step: int) -> None:
    """Moves the bar to `step`; cheap enough for every step."""
    if self.bar:
      self.bar.update(self.task, completed=step)

  def log(self, step: int, metrics: Mapping[str, Any], hosts: Callable[[float, float], dict] | None = None) -> dict:
    """Records a training row; adds examples_per_second over the interval since the last one, and the shares of `spend`.

    Args:
      hosts: what `Pulse.row` is: (share of the time in 'read', seconds a step outside of 'wait') -> more of the row.

    Returns the row as it was written: NaN and infinity are None, and "nonfinite" names their keys. Every process gets
    its row, process 0 writes it.
    """
    now = time.perf_counter()
    seconds = now - self.since - self.paused
    if step > self.since_step and seconds > 0:
      speed = (step - self.since_step) * self.batch / seconds
      self.rate = speed if self.rate is None else SMOOTHING * self.rate + (1 - SMOOTHING) * speed
      metrics = {**metrics, 'examples_per_second': round(speed, 2)}
      if self.tokens:
        metrics['tokens_per_second'] = round(speed * self.tokens, 1)
      if self.flops:
        each = self.flops * speed / self.batch
        metrics['tflops_per_second'] = round(each / 1e12, 4)
        if self.peak:
          metrics['mfu'] = round(each / self.peak, 4)
      metrics |= {f'time/{name}': round(spent / (now - self.since), 4) for name, spent in sorted(self.spent.items())}
      if hosts:
        metrics |= hosts(self.spent.get('read', 0.) / (now - self.since),
                         (seconds - self.spent.get('wait', 0.)) / (step - self.since_step))
    self.since, self.since_step, self.paused, self.spent = now, step, 0.0, {}
    row = self._write(step, metrics)
    eta = self._eta(now, step)
    loss = 'not finite' if row.get('loss') is None else f'{row["loss"]:.4g}'
    parts = {f'loss {loss}': 'loss' in row, f'{self.rate or 0:,.0f} examples/s': self.rate is not None}
    note = '  '.join(text for text, known in parts.items() if known)
    if self.bar:
      self.bar.update(self.task, completed=step, note=note, eta=eta)
    elif self.shows:
      self.say(f'step {step}/{self.steps}  {note}  ETA {eta}')
    return row

  def write(self, step: int, metrics: Mapping[str, float]) -> dict:
    """Records a row of other numbers, such as {'eval/knn': 0.71}, and shows all of them; returns it as `log` does."""
    row = self._write(step, metrics)
    if self.shows:
      shown = (f'{key} {row[key]:.4g}' if isinstance(row[key], float) else f'{key} {row[key]}' for key in metrics)
      text = f'step {step}/{self.steps}  ' + '  '.join(shown)
      if self.bar:
        self.bar.console.print(text, markup=False, highlight=False)
      else:
        self.say(text)
    return row

  def _write(self, step: int, metrics: Mapping[str, float]) -> dict:
    line = json_line({'step': step, **metrics})
    row = json.loads(line)
    if self.writes:
      self.file.write(line)
      self.file.flush()
      for key, value in row.items():
        if key != 'step' and isinstance(value, int | float):
          self.board.add_scalar(key, value, step)
    return row

  def _eta(self, now: float, step: int) -> str:
    if step <= self.begun_step:
      return '-:--:--'
    seconds = (now - self.begun) * max(0, self.steps - step) / (step - self.begun_step)
    return str(datetime.timedelta(seconds=round(seconds)))

  def close(self) -> None:
    """Ends the bar and closes the files; a second call does nothing."""
    if self.bar:
      self.bar.stop()
      self.bar = None
    if self.writes:
      self.writes = self.shows = False
      self.file.close()
      self.board.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *exception) -> None:
    self.close()
