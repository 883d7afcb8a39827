"""`python -m launch --engine=local|slurm|k8s --config=... --workdir=...`: one run, on any machines."""
import argparse
import os
import re
import sys
from pathlib import Path

from launch import k8s, local, slurm
from launch.job import AGAIN, Job, check_fits, machines
from pretrain.config import ConfigError, load, nearest
from pretrain.plan.hardware import target

USAGE = """\
  launch --engine=local|slurm|k8s --config=configs/FILE.py[:ARG] --workdir=DIR [--config.KEY=VALUE ...] [--dry-run]
  launch --engine=...  [...]  -- COMMAND ...      another command that ends with 75 when it wants to go on
         machines:   --topology=h100:2x8 or v5e:16x16 [--slices=N], else CPUs: [--nodes=N] [--processes=N a node]
                     [--devices=N simulated a process]
         the job:    [--name=NAME] [--restarts=20] [--env=KEY=VALUE ...]
         slurm:      [--hours=24] [--partition=P] [--account=A] [--after=ID ...]
         k8s:        --image=REGISTRY/NAME:TAG [--queue=KUEUE_QUEUE] [--volume=CLAIM:/path]

The run directory is the only state: the same command again goes on, or says that the run is complete."""
ENGINES = {'slurm': slurm, 'k8s': k8s}
FLAGS = ('--engine', '--config', '--config.KEY', '--workdir', '--dry-run', '--topology', '--slices', '--nodes',
         '--processes', '--devices', '--name', '--hours', '--restarts', '--env', '--partition', '--account', '--after',
         '--image', '--queue', '--volume')


def main(argv: list[str] | None = None) -> int:
  """Submits or runs one job. Bad input ends in one line on stderr and 1."""
  argv = sys.argv[1:] if argv is None else argv
  own, command = (argv[:argv.index('--')], argv[argv.index('--') + 1:]) if '--' in argv else (argv, [])
  overrides = [arg for arg in own if arg.startswith('--config.')]
  parser = argparse.ArgumentParser('launch', usage=USAGE, allow_abbrev=False, exit_on_error=False)
  engine_flags(parser)
  parser.add_argument('--config')
  parser.add_argument('--workdir')
  parser.add_argument('--name')
  parser.add_argument('--after', action='append', default=[])
  try:
    args, unknown = parser.parse_known_args([arg for arg in own if arg not in overrides])
    if unknown:
      raise ConfigError(f'no flag {unknown[0]!r}{nearest(unknown[0], FLAGS)}')
    return launch(make_job(args, overrides, command), args)
  except (ConfigError, argparse.ArgumentError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1


def engine_flags(parser: argparse.ArgumentParser) -> None:
  """The flags that say on which machines."""
  parser.add_argument('--engine', default='local')
  parser.add_argument('--dry-run', action='store_true')
  parser.add_argument('--topology')
  for name in ('--slices', '--nodes', '--processes', '--devices'):
    parser.add_argument(name, type=int, default=1)
  parser.add_argument('--hours', type=float, default=24.)
  parser.add_argument('--restarts', type=int, default=20)
  parser.add_argument('--env', action='append', default=[])
  for name in ('--partition', '--account', '--image', '--queue', '--volume'):
    parser.add_argument(name)


def machine_fields(args: argparse.Namespace) -> dict:
  """Fields of `Job` that the flags of `engine_flags` set.

  Raises:
    ConfigError: an unknown engine or topology, counts below 1, both a topology and a count of nodes.
  """
  if args.engine not in ('local', *ENGINES):
    raise ConfigError(f'--engine: no {args.engine!r}{nearest(args.engine, ("local", *ENGINES))}')
  for name in ('slices', 'nodes', 'processes', 'devices'):
    if getattr(args, name) < 1:
      raise ConfigError(f'--{name}: wanted at least 1, got {getattr(args, name)}')
  if args.hours <= 0 or args.restarts < 0:
    raise ConfigError(f'wanted --hours above 0 and --restarts of at least 0, got {args.hours} and {args.restarts}')
  if wrong := [pair for pair in args.env if not re.fullmatch(r'\w+=.*', pair, re.DOTALL)]:
    raise ConfigError(f'--env: wanted KEY=VALUE, got {wrong[0]!r}')
  fields = dict(env=dict(pair.split('=', 1) for pair in args.env), hours=args.hours, restarts=args.restarts)
  if not args.topology:
    if args.engine == 'local' and args.nodes > 1:
      raise ConfigError(f'--nodes: {args.nodes}; wanted 1: --engine=local is this machine alone, --processes are its '
                        'processes')
    return fields | dict(nodes=args.nodes, processes=args.processes, devices=args.devices)
  if args.engine == 'local' or args.nodes * args.processes * args.devices > 1:
    raise ConfigError('--topology: it says how many nodes and processes there are, of a cluster; wanted it alone, and '
                      '--engine=slurm or k8s. On this machine: --processes, or nothing for one with all its devices')
  machine = target(args.topology, args.slices)
  nodes, processes = machines(machine)
  return fields | dict(target=machine, nodes=nodes, processes=processes if args.engine == 'slurm' else 1)


def make_job(args: argparse.Namespace, overrides: list[str], command: list[str]) -> Job:
  """The job of the flags: training of a config, or the command given."""
  fields = machine_fields(args)
  python = 'python' if args.engine == 'k8s' else sys.executable  # SLURM: the same environment on every node
  if command:
    if args.config or args.workdir or overrides:
      raise ConfigError(f'a command after -- is run as it is; wanted no --config and no --workdir beside it, got '
                        f'{args.config or args.workdir or overrides[0]}')
    return Job(args.name or Path(command[0]).name, (tuple(command),), Path('runs/launch'), after=tuple(args.after),
               **fields)
  if not args.config or not args.workdir:
    raise ConfigError(f'wanted --config=configs/FILE.py and --workdir=DIR, or a command after --\n{USAGE}')
  args.workdir = os.path.expanduser(args.workdir)
  if '://' in args.workdir:
    raise ConfigError(f'--workdir: {args.workdir} is an object store; wanted a path of a file system that all nodes '
                      'see: mount the store (gcsfuse, for Kubernetes as a --volume), or NFS')
  argv = [python, '-m', 'pretrain', 'train', f'--config={args.config}', f'--workdir={args.workdir}', *overrides]
  job = Job(args.name or Path(args.workdir).name, (tuple(argv),), Path(args.workdir), after=tuple(args.after), **fields)
  if job.distributed:
    job = job._replace(commands=((*argv, '--distributed'),))
  check_fits(load(args.config, [text.removeprefix('--config.') for text in overrides]), job)
  return job


def launch(job: Job, args: argparse.Namespace) -> int:
  """Runs the job here, or submits it, or prints what would be submitted."""
  if args.engine == 'local':
    if args.dry_run:
      for command in job.commands:
        print(' '.join(command))
      return 0
    codes = local.Local().run(job)
    return next((abs(code) for code in codes if code not in (0, AGAIN)), max(codes))
  engine = ENGINES[args.engine]
  names = ('partition', 'account') if args.engine == 'slurm' else ('image', 'queue', 'volume')
  options = {name: getattr(args, name) for name in names}
  if args.dry_run:
    print(engine.render(job, **options), end='')
    return 0
  identity = engine.submit(job, **options)
  print(f'submitted {identity}\n{engine.follow(identity, job)}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
