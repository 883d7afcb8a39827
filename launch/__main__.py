"""`python -m launch --engine=local|slurm|k8s --config=... --workdir=...`: one run, on any machines."""
import argparse
import os
import re
import sys
import unicodedata
from pathlib import Path

from launch import k8s, local, slurm
from launch.check import check
from launch.job import AGAIN, Job, again, machines, named
from pretrain import config as configs
from pretrain.__main__ import FLAGS as COMMANDS
from pretrain.config import ConfigError, load, local_path, nearest, override
from pretrain.machine.hardware import target
from pretrain.programs.label import write_labels

USAGE = """\
  launch --engine=local|slurm|k8s --config=configs/FILE.py[:ROW] --workdir=DIR [--config.KEY=VALUE ...] [--dry-run]
  launch --engine=...  [...]  -- python -m pretrain COMMAND ...
  launch --engine=...  [...]  -- COMMAND ...      any other with the exit codes below
         machines:   --topology=h100:2x8 or v5e:16x16 [--slices=N], else CPUs: [--nodes=N] [--processes=N a node]
                     [--devices=N simulated a process]
         the job:    [--name=NAME] [--restarts=20] [--env=KEY=VALUE ...]
                     [--env=KEY ...]: the value that it has here, by which no secret is written down (local, slurm)
         slurm:      [--hours=24] [--partition=P] [--account=A] [--after=ID ...]
         k8s:        --image=REGISTRY/NAME:TAG [--queue=KUEUE_QUEUE] [--volume=CLAIM:/path]
                     [--secret=KEY=SECRET_NAME:KEY_IN_SECRET ...]

Several processes are one run, whose command has --distributed: `python -m pretrain` is given it, any other command must
have it. The run directory is the only state: the same command again goes on, or says that the run is complete.
exit codes: 0 done, 75 saved on request and 76 a machine failed (run it again), 1 a mistake"""
ENGINES = {'slurm': slurm, 'k8s': k8s}
USED = dict(topology=('slurm', 'k8s'), slices=('k8s',), nodes=('slurm', 'k8s'), processes=('local', 'slurm'),
            hours=('slurm',), partition=('slurm',), account=('slurm',), after=('slurm',), image=('k8s',),
            queue=('k8s',), volume=('k8s',), secret=('k8s',), workers=('local', 'slurm'))  # others are of all engines
WHY = {('local', 'nodes'): 'it is this machine alone, --processes are its processes',
       ('local', 'topology'): 'wanted it alone, and the nodes and processes that it means, on a cluster; on this '
                              'machine: --processes, or nothing for one with all its devices',
       ('k8s', 'processes'): 'wanted 1 on Kubernetes: a pod is a node, its process has all devices of it',
       ('k8s', 'after'): 'Kubernetes knows no order of JobSets; wait for result.json, or submit the next then'}
RESERVED = re.compile(r'JAX_(COORDINATOR_ADDRESS|NUM_PROCESSES|PROCESS_ID)|PRETRAIN_RESTARTS|JOB_COMPLETION_INDEX|'
                      r'TPU_WORKER_\w+|(SLURM|SBATCH|SRUN)_\w+')
SECRET = re.compile(r'(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|(ACCESS|PRIVATE|SECRET)_?KEY|CREDENTIALS?)$',
                    re.IGNORECASE)
FLAGS = ('--engine', '--config', '--config.KEY', '--workdir', '--dry-run', '--topology', '--slices', '--nodes',
         '--processes', '--devices', '--name', '--hours', '--restarts', '--env', '--secret', '--partition', '--account',
         '--after', '--image', '--queue', '--volume')


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
  parser.add_argument('--after', action='append')
  try:
    args, unknown = configs.flags(parser, [arg for arg in own if arg not in overrides])
    if unknown:
      raise ConfigError(f'no flag {unknown[0]!r}{nearest(unknown[0], FLAGS)}')
    check_flags(args, overrides)
    check_engine(args)
    return launch(make_job(args, overrides, command), args)
  except (ConfigError, argparse.ArgumentError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1


def engine_flags(parser: argparse.ArgumentParser) -> None:
  """The flags that say on which machines; None where one is not given."""
  parser.add_argument('--engine')
  parser.add_argument('--dry-run', action='store_true', default=None)
  parser.add_argument('--topology')
  for name in ('--slices', '--nodes', '--processes', '--devices', '--restarts'):
    parser.add_argument(name, type=int)
  parser.add_argument('--hours', type=float)
  for name in ('--env', '--secret'):
    parser.add_argument(name, action='append')
  for name in ('--partition', '--account', '--image', '--queue', '--volume'):
    parser.add_argument(name)


def given(args: argparse.Namespace) -> dict:
  """The flags that are given, by name."""
  return {name: value for name, value in vars(args).items() if value is not None}


def check_flags(args: argparse.Namespace, overrides: list[str]) -> None:
  """Raises ConfigError for text that is not one line, or could be taken for a flag."""
  for name, value in given(args).items():
    for text in value if isinstance(value, list) else [value]:
      if isinstance(text, str | Path):
        check_text(f'--{name}', str(text), secret=name in ('env', 'secret'))
  for text in overrides:
    check_line('--config.KEY=VALUE', text, f', got {text!r}')


def check_engine(args: argparse.Namespace) -> None:
  """Raises ConfigError for an unknown engine, and for flags that the engine does not use."""
  args.engine = args.engine or 'local'
  if args.engine not in ('local', *ENGINES):
    raise ConfigError(f'--engine: no {args.engine!r}{nearest(args.engine, ("local", *ENGINES))}')
  for name in given(args):
    if args.engine not in (engines := USED.get(name, (args.engine,))):
      why = WHY.get((args.engine, name))
      raise ConfigError(f'--{name}: not used by --engine={args.engine}, but by {" and ".join(engines)}'
                        + (f': {why}' if why else ''))


def check_text(flag: str, text: str, secret: bool = False) -> None:
  """Raises ConfigError unless a flag's text is one line that no program takes for a flag of its own.

  Args:
    secret: whether the text must not be shown.
  """
  shown = '' if secret else f', got {text!r}'
  if not text:
    raise ConfigError(f'{flag}: wanted a value, got none')
  if text.startswith('-'):
    raise ConfigError(f'{flag}: wanted a value that begins with no -{shown}')
  check_line(flag, text, shown)


def check_line(flag: str, text: str, shown: str) -> None:
  if any(unicodedata.category(c) in ('Cc', 'Cs', 'Zl', 'Zp') for c in text):
    raise ConfigError(f'{flag}: wanted one line without control characters{shown}')


def machine_fields(args: argparse.Namespace) -> dict:
  """Fields of `Job` that the flags of `engine_flags` set.

  Raises:
    ConfigError: an unknown topology, numbers out of range, both a topology and a count of nodes; see `environment`.
  """
  for name in ('slices', 'nodes', 'processes', 'devices'):
    if (count := getattr(args, name)) is not None and count < 1:
      raise ConfigError(f'--{name}: wanted at least 1, got {count}')
  hours, restarts = 24. if args.hours is None else args.hours, 20 if args.restarts is None else args.restarts
  if not 0 < hours <= 24 * 366 or restarts < 0:
    raise ConfigError(f'wanted --hours above 0, up to a year, and --restarts of at least 0, got {hours} and {restarts}')
  if args.volume and not re.fullmatch(r'[a-z0-9.-]+:/.+', args.volume):
    raise ConfigError(f'--volume: wanted CLAIM:/path, got {args.volume!r}')
  if args.queue and not re.fullmatch(r'[a-z0-9]([a-z0-9-]*[a-z0-9])?', args.queue):
    raise ConfigError(f'--queue: wanted the name of a local queue, of lower-case letters, digits and -, got '
                      f'{args.queue!r}')
  fields = dict(hours=hours, restarts=restarts, **environment(args))
  if not args.topology:
    if args.slices is not None:
      raise ConfigError('--slices: they are those of a --topology=v5e:16x16; wanted both, or neither')
    return fields | dict(nodes=args.nodes or 1, processes=args.processes or 1, devices=args.devices or 1)
  if beside := [f'--{name}' for name in ('nodes', 'processes', 'devices') if getattr(args, name) is not None]:
    raise ConfigError(f'--topology: it says how many nodes and processes there are; wanted it alone, got '
                      f'{" and ".join(beside)} too')
  machine = sliced(args)
  nodes, processes = machines(machine)
  return fields | dict(target=machine, nodes=nodes, processes=processes if args.engine == 'slurm' else 1)


def sliced(args: argparse.Namespace):
  """The target of --topology and --slices."""
  machine = target(args.topology, args.slices or 1)
  if machine.gpu and args.slices is not None:
    raise ConfigError(f'--slices: {machine.name} are GPUs, which have none; wanted --topology=CHIP:HOSTSxGPUS alone')
  return machine


def environment(args: argparse.Namespace) -> dict:
  """env, inherited and secrets of a `Job`.

  Raises:
    ConfigError: no variable's name, one twice, one that the engine sets; a secret that would be written down.
  """
  env, inherited, secrets = {}, [], {}
  for flag, text in [(f'--{name}', text) for name in ('env', 'secret') for text in getattr(args, name) or ()]:
    key, equals, value = text.partition('=')
    if not re.fullmatch(r'[A-Za-z_][A-Za-z0-9_]*', key, re.ASCII):
      raise ConfigError(f'{flag}: wanted KEY=VALUE, and letters, digits and _ in KEY, got {key!r}')
    if RESERVED.fullmatch(key):
      raise ConfigError(f'{flag}: {key} is set by the engine; wanted another variable')
    if key in env or key in inherited or key in secrets:
      raise ConfigError(f'{flag}: {key} is given twice; wanted it once')
    if flag == '--secret':
      if not re.fullmatch(r'[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[\w.-]+', value, re.ASCII):
        raise ConfigError(f'--secret: wanted KEY=SECRET_NAME:KEY_IN_SECRET, a secret of the cluster, for {key}')
      secrets[key] = value
    elif not equals:
      if args.engine == 'k8s' or key not in os.environ:
        raise ConfigError(f'--env: wanted KEY=VALUE, got {key!r}; ' + (
            f'Kubernetes knows no variable of this machine: --secret={key}=SECRET_NAME:KEY_IN_SECRET'
            if args.engine == 'k8s' else 'without a value it takes the one that is set here, and none is'))
      inherited.append(key)
    elif args.engine != 'local' and SECRET.search(key):
      way = f'--env={key}, which takes the value that is set here' if args.engine == 'slurm' else \
          f'--secret={key}=SECRET_NAME:KEY_IN_SECRET'
      raise ConfigError(f'--env: {key} looks like a secret, and its value would be written down; wanted {way}')
    else:
      env[key] = value
  return dict(env=env, inherited=tuple(inherited), secrets=secrets)


def make_job(args: argparse.Namespace, overrides: list[str], command: list[str]) -> Job:
  """The job of the flags: training of a config, or the command given."""
  fields = machine_fields(args)
  for identity in args.after or ():
    if not re.fullmatch(r'\d+(_\d+)?', identity, re.ASCII):
      raise ConfigError(f'--after: wanted the id of a job, such as 4711 or 4711_3, got {identity!r}')
  fields['after'] = tuple(args.after or ())
  python = 'python' if args.engine == 'k8s' else sys.executable  # SLURM: the same environment on every node
  if command:
    if args.config or args.workdir or overrides:
      raise ConfigError(f'a command after -- is run as it is; wanted no --config and no --workdir beside it, got '
                        f'{args.config or args.workdir or overrides[0]}')
    return job_of(args, command, fields)
  if not args.config or not args.workdir:
    raise ConfigError(f'wanted --config=configs/FILE.py[:ROW] and --workdir=DIR, or a command after --\n{USAGE}')
  workdir = local_path(args.workdir, '--workdir')
  config = load(args.config, [text.removeprefix('--config.') for text in overrides])
  argv = [python, '-m', 'pretrain', 'program' if 'program' in config else 'train', f'--config={args.config}',
          f'--workdir={workdir}', *overrides]
  job = Job(named(args.name or Path(os.path.abspath(workdir)).name, workdir), (tuple(argv),), Path(workdir),
            progress=(Path(workdir),), **fields)
  check_config(config, job, args)
  return distributed(job)


def job_of(args: argparse.Namespace, command: list[str], fields: dict) -> Job:
  """The job of a command after `--`."""
  name, logs = args.name or Path(command[0]).name, Path('runs/launch')
  if (arguments := of_pretrain(command)) is None:
    job = Job(named(name, os.getcwd(), *command), (tuple(command),), logs, **fields)
    if job.distributed and '--distributed' not in command:
      raise ConfigError(f'{command[0]} would be run by each of several processes, which know nothing of each other; '
                        'wanted one process, `python -m pretrain`, or a command that has --distributed, as one that '
                        "finds the others (such as bash -c '...' bash --distributed)")
    return job
  word = next((word for word in arguments if word in COMMANDS), None)
  if word is None:
    wrong = next((word for word in arguments if not word.startswith('-')), None)
    raise ConfigError(f'python -m pretrain: no command {wrong!r}{nearest(str(wrong), COMMANDS)}')
  flags = {flag: value(arguments, flag) for flag in ('--config', '--workdir', '--out')}
  for flag, text in flags.items():
    if text is not None:
      check_text(flag, text)
  place = flags['--out'] if word == 'label' else flags['--workdir']
  overrides = [text.removeprefix('--config.') for text in arguments if text.startswith('--config.')]
  job = Job(named(name, *([local_path(place, '--out' if word == 'label' else '--workdir')] if place else
                          [os.getcwd(), *command])),
            (tuple(command),), logs, progress=(Path(os.path.expanduser(place)),) if place else (), **fields)
  if word in ('train', 'program') and flags['--config']:
    check_config(load(flags['--config'], overrides), job, args)
  if word == 'label':
    options: dict = {}
    override(options, overrides)
    configs.check(write_labels, options, 'config', ('workdir', 'out'))
  if job.distributed and word in ('plan', 'report'):
    raise ConfigError(f'python -m pretrain {word} is one process; wanted --processes=1 and one node')
  return distributed(job)


def of_pretrain(command: list[str]) -> list[str] | None:
  """What follows `python -m pretrain` in a command; None where it is another."""
  for place, word in enumerate(command):
    if word == '-mpretrain':
      return command[place + 1:]
    if word == '-m' and command[place + 1:place + 2] == ['pretrain']:
      return command[place + 2:]
  return None


def value(arguments: list[str], flag: str) -> str | None:
  """The value of a flag, written in one word or in two; None where it is not there."""
  for place, word in enumerate(arguments):
    if word == flag:
      return (arguments[place + 1:place + 2] or [None])[0]
    if word.startswith(f'{flag}='):
      return word.partition('=')[2]
  return None


def distributed(job: Job) -> Job:
  """The job whose commands have --distributed, if they are of several processes."""
  if not job.distributed:
    return job
  return job._replace(commands=tuple(argv if '--distributed' in argv else (*argv, '--distributed')
                                     for argv in job.commands))


def check_config(config: dict, job: Job, args: argparse.Namespace) -> None:
  """`launch.check.check` of a config on the job's machines."""
  alone = args.engine == 'local' and not job.distributed and args.devices is None  # has whatever devices there are
  check(config, None if alone else job.target.devices if job.target else job.nodes * job.processes * job.devices,
        job.slices, here=args.engine != 'k8s')


def launch(job: Job, args: argparse.Namespace) -> int:
  """Runs the job here, or submits it, or prints what would be submitted."""
  if args.engine == 'local':
    if args.dry_run:
      print(local.render(job), end='')
      return 0
    return outcome(local.Local().run(job))
  engine = ENGINES[args.engine]
  names = ('partition', 'account') if args.engine == 'slurm' else ('image', 'queue', 'volume')
  options = {name: getattr(args, name) for name in names}
  if args.dry_run:
    print(engine.render(job, **options), end='')
    return 0
  identity = engine.submit(job, **options)
  print(f'submitted {identity}\n{engine.follow(identity, job)}')
  return 0


def outcome(codes: list[int]) -> int:
  """The exit code for many: a mistake's, else that of what wants to be run again, as a shell has it, else 0."""
  shell = [128 - code if code < 0 else code for code in codes]
  return next((code for code in shell if code and not again(code)),
              next((code for code in shell if code not in (0, AGAIN)), max(shell)))


if __name__ == '__main__':
  sys.exit(main())
