"""What is launched: commands that resume by themselves, on so many machines, for so long.

The run directory is the only state. Every command here keeps one contract: exit code 0 is done (at once, if it was done
before); 75 is saved on request, and 76 a machine that failed: both want to be run again, and so does what a signal has
killed (negative, 128 + n in a shell); 1, and every other code, is a mistake that another attempt would make again.

An engine runs again what wants it, at most `restarts` times, and gives up after `FRUITLESS` attempts in a row that left
no new checkpoint behind.
"""
import hashlib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pretrain.config import ConfigError
from pretrain.machine import sharding
from pretrain.machine.hardware import Target

AGAIN = 75  # EX_TEMPFAIL, as in pretrain.train.STOPPED
LOST = 76  # EX_PROTOCOL, here: a machine failed
FRUITLESS = 2  # attempts in a row without a new checkpoint
FOLLOWS = (LOST, -6, 128 + 6)  # from what befell another process: JAX's coordination service ends those by SIGABRT
SETTLE = 0.3  # seconds


class Job(NamedTuple):
  """Commands that need the same machines: one, or the elements of an array that do not know each other.

  name:      see `named`.
  commands:  each an argv.
  logs:      directory of the engine's own logs.
  target:    accelerators; None for CPUs.
  nodes:     machines of one slice.
  processes: a node; they find each other, so each command must then have --distributed.
  devices:   simulated CPU devices a process.
  env:       set for each process.
  inherited: names of variables whose values are those of the environment that submits.
  secrets:   {variable: 'NAME:KEY' of a Kubernetes secret}.
  hours:     SLURM's time limit; the run is asked to save shortly before.
  restarts:  at most, of each command.
  after:     ids of jobs that must have ended well before.
  parallel:  elements of an array at a time, at most.
  progress:  of each command the run directory or label store in which its checkpoints or parts appear; () where nobody
             knows: then 75 is progress, and everything else none.
  """
  name: str
  commands: tuple[tuple[str, ...], ...]
  logs: Path
  target: Target | None = None
  nodes: int = 1
  processes: int = 1
  devices: int = 1
  env: Mapping[str, str] = {}
  inherited: tuple[str, ...] = ()
  secrets: Mapping[str, str] = {}
  hours: float = 24.
  restarts: int = 20
  after: tuple[str, ...] = ()
  parallel: int = 1
  progress: tuple[Path, ...] = ()

  @property
  def slices(self) -> int:
    return self.target.slices if self.target else 1

  @property
  def distributed(self) -> bool:
    return self.nodes * self.processes * self.slices > 1


def again(code: int) -> bool:
  """Whether a command that ended like this wants to be run again."""
  return code in (AGAIN, LOST) or code < 0 or 128 < code <= 192


def verdict(ended: list[tuple[float, int]]) -> int | None:
  """The exit code of a command's processes that says why all ended; None where all ended well, or were asked to.

  It is the first one. But a peer whose collective fails can be gone a little before the process that it failed for:
  what FOLLOWS gives way to a kill or a mistake within `SETTLE` seconds.

  Args:
    ended: (time, exit code) of each; in any order where times are equal.
  """
  bad = sorted((at, not again(code), code) for at, code in ended if code not in (0, AGAIN))  # a kill before a mistake
  causes = [code for at, _, code in bad if code not in FOLLOWS and at <= bad[0][0] + SETTLE]
  return causes[0] if causes else bad[0][2] if bad else None


def progress(place: Path) -> int:
  """A number that grows with every new checkpoint of a run, of a program's stages, and with every part of labels."""
  newest = sum(max((int(step.name) for step in folder.glob('[0-9]*') if step.name.isdecimal()), default=0)
               for folder in (place / 'checkpoints', *place.glob('*/checkpoints')))
  return newest + sum(len(list(folder.glob('[!.]*'))) for folder in (place / 'parts', *place.glob('*/parts')))


def named(text: str, *places: str | Path) -> str:
  """A name that files, SLURM and Kubernetes take, and that no job of another directory has: 'seed0-1a2b3c4d'.

  Args:
    text: its first part, without the characters that are special anywhere.
    places: the run directories, or whatever else makes the job this one.
  """
  return f'{re.sub(r"[^A-Za-z0-9_.]+", "-", text)[:31].strip("-.") or "job"}-{digest(*places)}'


def digest(*places: str | Path) -> str:
  """8 hexadecimal digits of absolute paths."""
  paths = '\0'.join(os.path.abspath(place) for place in places)
  return hashlib.sha256(paths.encode(errors='surrogateescape')).hexdigest()[:8]


def simulated(env: Mapping[str, str], devices: int) -> dict[str, str]:
  """Environment variables with which JAX sees so many CPU devices, and has threads for them.

  By default XLA has a thread a device. A device that waits for several collectives of a program at once (one in a
  branch of lax.switch, one beside it) takes those of others, and all wait for ever: with four a device they did not.
  """
  if devices == 1:
    return dict(env)
  flag = f'--xla_force_host_platform_device_count={devices}'
  return {'PJRT_NPROC': str(4 * devices), **env, 'XLA_FLAGS': f'{env.get("XLA_FLAGS", "")} {flag}'.strip()}


def machines(target: Target) -> tuple[int, int]:
  """Nodes of a slice and processes a node: TPUs have one process a host, GPUs one each."""
  if target.gpu:
    return target.shape[0], target.shape[1]
  return max(1, math.prod(target.shape) // target.chip.host), 1


def check_fits(config: dict, devices: int, slices: int = 1, where: str = 'config') -> None:
  """Refuses before anything is submitted what would be refused on every machine once it is there.

  Raises:
    ConfigError: the mesh or a batch does not fit the devices.
  """
  sizes = sharding.mesh_sizes(devices, slices, **(config.get('mesh') or {}))
  parts = math.prod(sizes[axis] for axis in sharding.BATCH)
  unlabeled = config.get('unlabeled') or {}
  for key, batch in (('batch', config.get('batch', 0)), ('unlabeled.batch', unlabeled.get('batch', 0))):
    if batch % parts:
      raise ConfigError(f'{where}.{key}: {batch} does not divide over the {parts} parts of the mesh {sizes}; nearest: '
                        f'{max(1, round(batch / parts)) * parts}')
