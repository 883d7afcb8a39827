"""What is launched: commands that resume by themselves, on so many machines, for so long.

The run directory is the only state. Every command here keeps one contract: exit code 0 is done (at once, if it was done
before), 75 is saved and wants to go on, anything else is a mistake. So an engine only has to run it again on 75.
"""
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pretrain import sharding
from pretrain.config import ConfigError
from pretrain.plan.hardware import Target

AGAIN = 75  # EX_TEMPFAIL, as in pretrain.train.STOPPED


class Job(NamedTuple):
  """Commands that need the same machines: one, or the elements of an array that do not know each other.

  commands:  each an argv.
  logs:      directory of the engine's own logs.
  target:    accelerators; None for CPUs.
  nodes:     machines of one slice.
  processes: a node; they find each other, so each command must then have --distributed.
  devices:   simulated CPU devices a process.
  env:       set for each process.
  hours:     SLURM's time limit; the run is asked to save shortly before.
  restarts:  at most, after an exit code of 75.
  after:     ids of jobs that must have ended well before.
  parallel:  elements of an array at a time, at most.
  """
  name: str
  commands: tuple[tuple[str, ...], ...]
  logs: Path
  target: Target | None = None
  nodes: int = 1
  processes: int = 1
  devices: int = 1
  env: Mapping[str, str] = {}
  hours: float = 24.
  restarts: int = 20
  after: tuple[str, ...] = ()
  parallel: int = 1

  @property
  def slices(self) -> int:
    return self.target.slices if self.target else 1

  @property
  def distributed(self) -> bool:
    return self.nodes * self.processes * self.slices > 1


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


def check_fits(config: dict, job: Job) -> None:
  """Refuses before anything is submitted what would be refused on every machine once it is there.

  Raises:
    ConfigError: the mesh or a batch does not fit the devices.
  """
  devices = job.target.devices if job.target else job.nodes * job.processes * job.devices
  sizes = sharding.mesh_sizes(devices, job.slices, **(config.get('mesh') or {}))
  parts = math.prod(sizes[axis] for axis in sharding.BATCH)
  unlabeled = config.get('unlabeled') or {}
  for key, batch in (('batch', config.get('batch', 0)), ('unlabeled.batch', unlabeled.get('batch', 0))):
    if batch % parts:
      raise ConfigError(f'config.{key}: {batch} does not divide over the {parts} parts of the mesh {sizes}; nearest: '
                        f'{max(1, round(batch / parts)) * parts}')
