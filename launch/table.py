"""A paper's table: a grid of configs, overrides and seeds, run where it is missing, collected beside the paper's.

`python -m launch.table launch/tables/FILE.py run|status|collect|plan`. A cell is a run directory; what is done, failed
or missing is read from there, so that nothing else has to be kept and everything may be killed.
"""
import argparse
import contextlib
import sys
import time
from pathlib import Path

import jax
from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from launch.__main__ import FLAGS as ENGINE_FLAGS
from launch.__main__ import (
  check_config,
  check_engine,
  check_flags,
  distributed,
  engine_flags,
  given,
  launch,
  machine_fields,
  outcome,
  sliced,
)
from launch.collect import entries, markdown, plot, rows_of_csv
from launch.job import AGAIN, LOST, Job, again, named
from launch.local import Local
from launch.spec import (
  DAMAGED,
  DONE,
  FAILED,
  MISSING,
  OTHER,
  RUNNING,
  Cell,
  counts,
  read,
  refuse_others,
  slug,
  state,
)
from pretrain import config as configs
from pretrain.config import ConfigError, nearest
from pretrain.files import write_bytes

USAGE = """\
  launch.table launch/tables/FILE.py run     [--workers=N] [--engine=...: flags of `python -m launch`] [--dry-run]
  launch.table launch/tables/FILE.py status  [--watch]
  launch.table launch/tables/FILE.py collect [--out=DIR]     Markdown, CSV and a plot
  launch.table launch/tables/FILE.py plan    --topology=v5e:16x16 [--slices=N] [--examples=N]
         all: [--runs=DIR] [--only=ROW ...] [--config.KEY=VALUE ...], the same for each command of a table"""
COMMANDS = ('run', 'status', 'collect', 'plan')
OF = dict(status=('watch',), collect=('out',), plan=('topology', 'slices', 'examples'))  # flags; `run` has the others
FLAGS = ('--workers', '--watch', '--out', '--runs', '--only', '--config.KEY', '--examples', *ENGINE_FLAGS)


def run(path: str, cells: list[Cell], args: argparse.Namespace, logs: Path) -> int:
  """Runs what is not done; on a cluster submits it."""
  states = [state(cell) for cell in cells]
  refuse_others(cells, states)
  todo = [cell for cell, (word, _) in zip(cells, states, strict=True) if word not in (DONE, RUNNING)]
  print(f'{len(cells)} cells: {counts(states)}; to run: {len(todo)}')
  if not todo:
    return 0
  places = tuple(cell.workdir for cell in todo)
  job = distributed(Job(named(slug(Path(path).stem), *places), tuple(cell.argv for cell in todo), logs,
                        parallel=args.workers or 1, progress=places, **machine_fields(args)))
  check_cells(todo, job, args)
  if args.engine != 'local' or args.dry_run:
    return launch(job, args)
  console = Console(stderr=True)
  shown = Live(get_renderable=lambda: grid(cells), console=console, refresh_per_second=0.5, transient=True) \
      if console.is_terminal else contextlib.nullcontext()
  with shown:
    codes = Local(console.print).run(job)
  states = [state(cell) for cell in cells]
  print(f'{len(cells)} cells: {counts(states)}')
  code = outcome(codes)
  return code if code in (0, AGAIN) else LOST if again(code) else 1


def check_cells(cells: list[Cell], job: Job, args: argparse.Namespace) -> None:
  """Refuses a config that the machines would refuse, by row and column, of each the first: seeds are alike."""
  seen = set()
  for cell in cells:
    if (cell.row, cell.column) not in seen:
      seen.add((cell.row, cell.column))
      try:
        check_config(cell.config, job, args)
      except ConfigError as error:
        raise ConfigError(f'row {cell.row!r}{f", column {cell.column!r}" if cell.column else ""}: {error}') from error


def grid(cells: list[Cell]) -> Grid:
  """States by row and column, a mark for each seed."""
  columns = list(dict.fromkeys(cell.column for cell in cells))
  table = Grid('', *(column or 'seeds' for column in columns))
  marks = {DONE: '[green]done[/]', FAILED: '[red]failed[/]', MISSING: '[dim]missing[/]', OTHER: '[red]other config[/]',
           DAMAGED: '[red]damaged[/]'}
  for row in dict.fromkeys(cell.row for cell in cells):
    line = []
    for column in columns:
      words = [state(cell) for cell in cells if (cell.row, cell.column) == (row, column)]
      line.append(', '.join(marks.get(word, f'{word} {about}') for word, about in words))
    table.add_row(row, *line)
  return table


def plan(cells: list[Cell], args: argparse.Namespace) -> int:
  """Whether each cell's first seed fits on machines that are not here; see `pretrain plan --free`."""
  from pretrain.plan import plan as planning
  if not args.topology:
    raise ConfigError('plan needs --topology=CHIP:SHAPE, such as v5e:16x16 or h100:2x8')
  jax.config.update('jax_platforms', 'cpu')  # nothing is computed, and an accelerator that is here stays free
  worst = 0
  for cell in cells:
    if cell.seed == cells[0].seed:
      for stage, config in stages_of(cell.config).items():
        report = planning.plan(config, args.topology, slices=sliced(args).slices, free=True, examples=args.examples)
        state_gb = report['hbm']['state'] / 1e9
        print(f'{" ".join(filter(None, (cell.row, cell.column, stage)))}: {report["parameters"]:,} parameters, '
              f'{state_gb:.2f} GB of state a device, {report["flops_per_step"] / 1e12:,.1f} TFLOP a step; '
              f'{len(report["warnings"])} warnings')
        worst |= report['fits'] is False
  return int(worst)


def stages_of(config: dict) -> dict[str, dict]:
  """What a cell trains: itself, or the stages of a program whose images its config names."""
  if 'program' not in config:
    return {'': config}
  saving = {'checkpoint': {'every_steps': 1000}}  # which a program's cell leaves out, and which no plan depends on
  return {name: saving | stage for name, stage in config.items() if isinstance(stage, dict) and 'source' in stage}


def main(argv: list[str] | None = None) -> int:
  """One command of one table. Bad input ends in one line on stderr and 1."""
  argv = sys.argv[1:] if argv is None else argv
  flags = [arg for arg in argv if arg.startswith('--config.')]
  parser = argparse.ArgumentParser('launch.table', usage=USAGE, allow_abbrev=False, exit_on_error=False)
  parser.add_argument('spec', nargs='?')
  parser.add_argument('command', nargs='?')
  engine_flags(parser)
  parser.add_argument('--workers', type=int)
  parser.add_argument('--watch', action='store_true', default=None)
  parser.add_argument('--out', type=Path)
  parser.add_argument('--runs', type=Path)
  parser.add_argument('--examples', type=int)
  parser.add_argument('--only', action='append')
  try:
    args, unknown = configs.flags(parser, [arg for arg in argv if arg not in flags])
    if unknown:
      raise ConfigError(f'no flag {unknown[0]!r}{nearest(unknown[0], FLAGS)}')
    if not args.spec or args.command not in COMMANDS:
      raise ConfigError(f'no command {args.command!r}{nearest(args.command, COMMANDS)}' if args.command else
                        f'wanted a table and a command\n{USAGE}')
    check_command(args)
    check_flags(args, flags)
    if args.command == 'run':
      check_engine(args)
    if args.workers is not None and args.workers < 1:
      raise ConfigError(f'--workers: wanted at least 1, got {args.workers}')
    runs = args.runs or Path('runs/tables') / Path(args.spec).stem
    spec, cells = read(args.spec, runs, 'python' if args.engine == 'k8s' else sys.executable,
                       tuple(flag.removeprefix('--config.') for flag in flags), tuple(args.only or ()))
    if args.command == 'run':
      return run(args.spec, cells, args, runs / 'logs')
    if args.command == 'plan':
      return plan(cells, args)
    if args.command == 'status':
      return status(cells, args.watch)
    rows, out = entries(spec, cells), args.out or runs
    name = Path(args.spec).stem
    mine = [f'--runs={args.runs}'] * bool(args.runs) + [f'--only={row}' for row in args.only or ()]
    text = markdown(spec, args.spec, cells, rows, [*mine, *flags])
    for suffix, content in (('md', text.encode()), ('csv', rows_of_csv(spec, cells).encode()),
                            ('png', plot(spec, rows))):
      write_bytes(out / f'{name}.{suffix}', content)
    print(f'{text}\n{out / name}.md, .csv, .png')
    return 0
  except (ConfigError, argparse.ArgumentError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1


def check_command(args: argparse.Namespace) -> None:
  """Raises ConfigError for a flag that the command does not use."""
  for name in sorted(given(args).keys() - {'spec', 'command', 'runs', 'only'}):
    users = [command for command, own in OF.items() if name in own]
    if name not in ('watch', 'out', 'examples'):
      users.append('run')
    if args.command not in users:
      raise ConfigError(f'--{name.replace("_", "-")}: not used by `{args.command}`, but by {" and ".join(users)}')


def status(cells: list[Cell], watch: bool) -> int:
  """Prints the states; with `watch` until nothing runs any more."""
  console = Console()
  if watch:
    with Live(get_renderable=lambda: grid(cells), console=console, refresh_per_second=0.5) as live:
      while any(state(cell)[0] == RUNNING for cell in cells):
        time.sleep(2)
        live.refresh()
  else:
    console.print(grid(cells))
  states = [state(cell) for cell in cells]
  print(counts(states))
  for cell, (word, about) in zip(cells, states, strict=True):
    if word in (FAILED, OTHER, DAMAGED):
      print(f'{word}: {cell.workdir}: {about}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
