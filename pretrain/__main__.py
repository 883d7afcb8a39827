"""`python -m pretrain train|evaluate|report|plan|label|program|list|describe`: flags in, one call, an exit code out."""
import argparse
import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from pretrain.config import (
  ConfigError,
  Count,
  Positive,
  call,
  fits,
  flags,
  load,
  local_path,
  nearest,
  override,
  user_cache,
  wanted,
)

USAGE = """\
  pretrain train    --config=configs/FILE.py[:ROW] --workdir=DIR [--config.KEY=VALUE ...] [--quiet]
                    [--profile=START:STOP]: a trace of these steps in DIR/profile
                    [--distributed]: one of several processes, which find each other through SLURM, a TPU pod, or
                    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID
  pretrain evaluate --workdir=DIR [--config.mesh.AXIS=N] [--config.evaluate.KEY=VALUE ...]
                    kNN and linear probes of the newest checkpoint, then the report
  pretrain report   --workdir=DIR      report.html from what the directory holds
  pretrain plan     --config=configs/FILE.py[:ROW] --topology=v5e:16x16 [--config.KEY=VALUE ...] [--slices=N] [--free]
                    [--examples=N] [--price=X] [--json] [--check=FILE] [--sweep]
                    memory, communication and time on machines that are not here
  pretrain label    --workdir=DIR --out=DIR [--config.KEY=VALUE ...]
                    labels of a whole source by the newest checkpoint; keys: arguments of write_labels
  pretrain program  --config=configs/FILE.py[:ROW] --workdir=DIR [--config.KEY=VALUE ...] [--quiet]
                    runs one after the other, each from the one before: pretrain/programs
  pretrain list     papers|objectives|backbones|views|sources|schedules|configs [--family=F] [--modality=M]
                    [--markdown]: of papers, the page docs/papers.md
  pretrain describe NAME      facts, arguments, configs and results of a paper, or of what a config can name

exit codes: 0 done, 75 stopped on request after saving, 76 a machine failed (a lost process, a full disk): run either
again; 1 bad input or a bug"""
FLAGS = {  # of each command, beside --traceback
    'train': ('--config', '--config.KEY', '--workdir', '--quiet', '--profile', '--distributed'),
    'evaluate': ('--workdir', '--config.KEY', '--distributed'),
    'report': ('--workdir',),
    'plan': ('--config', '--config.KEY', '--topology', '--slices', '--free', '--examples', '--price', '--json',
             '--check', '--sweep'),
    'label': ('--workdir', '--out', '--config.KEY', '--quiet', '--distributed'),
    'program': ('--config', '--config.KEY', '--workdir', '--quiet', '--distributed'),
    'list': ('--family', '--modality', '--markdown'),
    'describe': ()}


def main(argv: list[str] | None = None) -> int:
  """Runs one command. Bad input ends in one line on stderr and 1; --traceback shows where it was noticed."""
  argv = sys.argv[1:] if argv is None else argv
  # --config.a.b=value are not argparse's: any key may be set
  overrides = [arg.removeprefix('--config.') for arg in argv if arg.startswith('--config.')]
  parser = argparse.ArgumentParser('pretrain', usage=USAGE, allow_abbrev=False, add_help=True, exit_on_error=False)
  parser.add_argument('command', nargs='?')
  parser.add_argument('--config')
  parser.add_argument('--workdir')
  parser.add_argument('--quiet', action='store_true')
  parser.add_argument('--distributed', action='store_true')
  parser.add_argument('--traceback', action='store_true')
  parser.add_argument('--topology')
  parser.add_argument('--slices', type=int, default=1)
  parser.add_argument('--examples', type=int)
  parser.add_argument('--price', type=float)
  parser.add_argument('--check')
  parser.add_argument('--out')
  parser.add_argument('--profile')
  parser.add_argument('--free', action='store_true')
  parser.add_argument('--sweep', action='store_true')
  parser.add_argument('--json', action='store_true')
  parser.add_argument('--family')
  parser.add_argument('--modality')
  parser.add_argument('--markdown', action='store_true')
  try:
    args, unknown = flags(parser, [arg for arg in argv if not arg.startswith('--config.')])
  except argparse.ArgumentError as error:
    return fail(f'{error}\n{USAGE}')
  args.what = unknown.pop(0) if args.command in ('list', 'describe') and unknown and unknown[0][0] != '-' else None
  if unknown:
    return fail(f'no flag {unknown[0]!r}{nearest(unknown[0], {each for flags in FLAGS.values() for each in flags})}')
  try:
    check_flags(args.command, argv)
    with leaving(args.distributed), stacks():
      return run(args, overrides)
  except Exception as error:
    return ended(error, args)


def check_flags(command: str | None, argv: list[str]) -> None:
  """Raises ConfigError for no command, a flag that it does not use, and one that is given twice."""
  if command not in FLAGS:
    raise ConfigError(f'no command {command!r}{nearest(command, FLAGS)}' if command else f'wanted a command\n{USAGE}')
  given = [arg.partition('=')[0] for arg in argv if arg.startswith('--')]
  for flag in given:
    name = '--config.KEY' if flag.startswith('--config.') else flag
    if name not in (*FLAGS[command], '--traceback'):
      users = ', '.join(each for each, flags in FLAGS.items() if name in flags)
      raise ConfigError(f'{flag}: {command} does not use it; wanted it for {users} alone')
    if given.count(flag) > 1 and name == flag:  # overrides apply in order
      raise ConfigError(f'{flag} is given {given.count(flag)} times; wanted it once')


def imported() -> Any:
  """`machine.processes` once it is there: a mistyped flag is told before JAX is, a signal may come while it is."""
  module = sys.modules.get('pretrain.machine.processes')
  return module if getattr(module, 'IMPORTED', False) else None


def ended(error: Exception, args: argparse.Namespace) -> int:
  """The exit code of a command that an error has ended, after a line about it; a bug shows where it is."""
  known = isinstance(error, ValueError | OSError | RuntimeError | MemoryError) and str(error)
  processes = imported()
  code, text = processes.verdict(error) if processes else (1, str(error))
  if not known or args.traceback:
    traceback.print_exception(error)
  else:
    fail(text)
  if args.distributed and processes and processes.client():
    processes.leave(code, text)
  return code


@contextlib.contextmanager
def leaving(distributed: bool) -> Iterator[None]:
  """A signal to stop ends the process at once with 75 where nothing has its own answer: nothing there is to be saved.

  Args:
    distributed: SIGTERM is JAX's once the processes have met, and is left to it.
  """
  def leave(number, frame):
    del frame
    print(f'stopped by {signal.Signals(number).name}; the same command goes on', file=sys.stderr, flush=True)
    processes = imported()
    if processes and processes.client():
      processes.leave(75, f'stopped by {signal.Signals(number).name}')
    os._exit(75)

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {each: signal.signal(each, leave) for each in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)}
  try:
    yield
  finally:
    for each, handler in before.items():
      if not (distributed and each == signal.SIGTERM):
        signal.signal(each, handler)


@contextlib.contextmanager
def stacks() -> Iterator[None]:
  """SIGQUIT has a process print where each of its threads is, and go on; of several processes all do."""
  if threading.current_thread() is not threading.main_thread() or not hasattr(signal, 'SIGQUIT'):
    yield
    return
  before = signal.signal(signal.SIGQUIT, lambda *_: None)  # for `Pulse`
  faulthandler.register(signal.SIGQUIT, 2, chain=True)
  try:
    yield
  finally:
    faulthandler.unregister(signal.SIGQUIT)
    signal.signal(signal.SIGQUIT, before)


def run(args: argparse.Namespace, overrides: list[str]) -> int:
  if args.command == 'plan':
    return plan(args, overrides)
  if args.command in ('list', 'describe'):
    from pretrain.catalog import pages
    print(pages.description(args.what) if args.command == 'describe' else
          pages.listing(args.what, args.family, args.modality, markdown=args.markdown), end='')
    return 0
  if not args.workdir:
    raise ConfigError(f'{args.command} needs --workdir=DIR, the directory of the run')
  args.workdir = local_path(args.workdir, '--workdir')
  args.out = local_path(args.out, '--out') if args.out else None
  # what XLA compiled is kept: a run that goes on, and another seed, begin at once
  os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', user_cache('compiled'))
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')
  if args.distributed:
    from pretrain.machine import processes
    processes.start()
  if args.command == 'label':
    if args.config or not args.out:
      raise ConfigError('label needs --out=DIR, the label store, and takes the config of --workdir')
    options: dict = {}
    override(options, overrides)
    from pretrain.machine.processes import check_devices
    check_devices()
    from pretrain.programs.label import write_labels
    return call(write_labels, {'quiet': args.quiet} | options, 'config', workdir=args.workdir, out=args.out)
  if args.command in ('train', 'program'):
    if not args.config:
      raise ConfigError(f'{args.command} needs --config=configs/FILE.py[:ROW]')
    config = load(args.config, overrides)
    if not args.traceback:  # Orbax logs the same traceback from each of its threads; the error itself is raised to us
      logging.getLogger('absl').setLevel(logging.CRITICAL)
    from pretrain.machine.processes import check_devices
    check_devices()
    if args.command == 'program':
      from pretrain.programs.stages import program
      return program(config, args.workdir, quiet=args.quiet)
    from pretrain.train import train  # jax is imported here, so that a mistyped flag is told at once
    return train(config, args.workdir, quiet=args.quiet, profile=span(args.profile))
  changed = {text.split('=')[0].split('.')[0] for text in overrides}
  allowed = {'mesh', 'evaluate'} if args.command == 'evaluate' else set()
  if args.config or not changed <= allowed:
    raise ConfigError(f'{args.command} takes the config of the directory; wanted no --config' +
                      (f'.KEY but those of {sorted(allowed)}' if allowed else '') + f', got {sorted(changed)}')
  if args.command == 'evaluate':
    from pretrain.machine.processes import check_devices
    from pretrain.machine.rundir import config_of
    from pretrain.train import evaluate
    check_devices()
    config = config_of(args.workdir, '--workdir: ')
    override(config, overrides)
    if not evaluate(config, args.workdir):  # process 0 has the rows
      return 0
  from pretrain.report import report
  print(report(args.workdir))
  return 0


def plan(args: argparse.Namespace, overrides: list[str]) -> int:
  """0 if the config fits and has not become worse than the stored report."""
  if not args.config or not args.topology:
    raise ConfigError('plan needs --config=configs/FILE.py[:ROW] and --topology=CHIP:SHAPE, such as v5e:16x16 or '
                      'h100:2x8')
  for flag, value, kind in (('--examples', args.examples, Count), ('--price', args.price, Positive)):
    if value is not None and not fits(value, kind):
      raise ConfigError(f'{flag}: wanted {wanted(kind)}, got {value}')
  config = load(args.config, overrides)
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # nothing is computed, and an accelerator that is here stays free
  from pretrain.plan import plan as planning
  if args.sweep:
    if args.free or args.check:
      raise ConfigError('--sweep compiles many times and compares nothing; wanted neither --free nor --check beside it')
    from pretrain.plan.sweep import sweep
    from pretrain.plan.sweep import words as table
    rows = sweep(config, args.topology, slices=args.slices, examples=args.examples,
                 say=lambda text: print(text, file=sys.stderr))
    command = f'python -m pretrain plan --config={args.config} --topology={args.topology}'
    print(json.dumps(rows) if args.json else table(rows, command))
    return int(all(row['batch'] is None for row in rows))
  report = planning.plan(config, args.topology, slices=args.slices, free=args.free, examples=args.examples,
                         price=args.price)
  print(json.dumps(report) if args.json else planning.words(report))
  worse = planning.check(report, args.check) if args.check else []
  for text in worse:
    print(f'worse than {args.check}: {text}', file=sys.stderr)
  return int(report['fits'] is False or bool(worse))


def span(text: str | None) -> tuple[int, int] | None:
  """'100:110' as numbers."""
  if text is None:
    return None
  first, _, last = text.partition(':')
  if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
    raise ConfigError(f'--profile: wanted START:STOP, two steps such as 100:110, got {text!r}')
  return int(first), int(last)


def fail(message: str) -> int:
  print(f'error: {message}', file=sys.stderr)
  return 1


def with_large_pages() -> None:
  """Starts the command anew with large pages for the heap of glibc, which can be asked for in no other way.

  On CPUs a compiled step takes its buffers from the heap and gives them back; on pages of 4 KiB a fifth of a small step
  went into zeroing and mapping these (`benchmarks/pages.py`). A user's own GLIBC_TUNABLES wins.
  """
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == '__main__':
  with_large_pages()
  sys.exit(main())
