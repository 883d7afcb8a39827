"""`pretrain plan --sweep`: the largest batch that fits, for each policy of rematerialisation and each mesh.

Each point is a compilation, so a sweep takes minutes to hours; what was compiled before is kept, see `plan.cache`.
"""
import math
from collections.abc import Callable
from typing import Any

import pretrain.models
from pretrain import config as configs
from pretrain.config import ConfigError
from pretrain.machine import hardware, sharding
from pretrain.plan.plan import between, gb, plan

POLICIES = ('none', 'dots', 'everything')
KEPT = ('hbm_bytes_per_device', 'step_seconds', 'examples_per_second', 'mfu')


def sweep(config: dict, topology: str, *, slices: int = 1, examples: int | None = None,
          most: int | None = None, planned: Callable = plan, say: Callable = print) -> list[dict]:
  """A row for each policy and mesh, the most examples a second first.

  Args:
    config: as `plan` takes it; its batch is where the search starts, by factors of two.
    most: largest batch to try; None: 16 times the config's.
    planned: what plans a config.
    say: prints a line for each compilation.
  Returns:
    policy (None: the backbone has none), mesh, batch (None: not even one example a device fits), pareto (no other row
    has as large a batch and as many examples a second), flags (those of the command), and of the report
    hbm_bytes_per_device, step_seconds, examples_per_second and mfu.
  Raises:
    ConfigError: what `plan` raises for the config itself.
  """
  where = hardware.target(topology, slices)
  most = most or 16 * config['batch']
  rows: list[dict[str, Any]] = []
  for policy in policies(config):
    for mesh in meshes(where, config):
      reports: dict[int, dict] = {}

      def fits(batch, policy=policy, mesh=mesh, reports=reports):
        changed = config | {'batch': batch, 'mesh': mesh}
        if policy is not None:
          changed['backbone'] = config['backbone'] | {'remat': policy}
        report = reports[batch] = planned(changed, topology, slices=slices, examples=examples)
        say(f'remat {policy}, mesh {mesh}, batch {batch}: {gb(report["hbm_bytes_per_device"])} of '
            f'{gb(report["hbm_limit_bytes"])}')
        return report['fits']

      batch = largest(fits, config['batch'], math.prod(mesh[axis] for axis in sharding.BATCH), most)
      best = {'batch': batch} | {key: reports[batch][key] for key in KEPT} if batch else None
      flags = [f'--config.mesh={mesh}'.replace(' ', ''), *([f'--config.backbone.remat={policy}'] if policy else [])]
      rows.append({'policy': policy, 'mesh': mesh, 'batch': None} | (best or {}) | {
          'flags': [*flags, f'--config.batch={batch}'] if batch else flags})
  rows.sort(key=lambda row: -row['examples_per_second'][0] if row['batch'] else math.inf)
  for row in rows:
    row['pareto'] = row['batch'] is not None and not any(
        other['batch'] and other['batch'] >= row['batch'] and
        other['examples_per_second'][0] >= row['examples_per_second'][0] and
        (other['batch'], other['examples_per_second'][0]) != (row['batch'], row['examples_per_second'][0])
        for other in rows)
  return rows


def policies(config: dict) -> tuple[str | None, ...]:
  """The policies that the backbone knows; (None,) for one that knows none."""
  backbone = configs.find(pretrain.models, config['backbone'].get('name', ''))
  return POLICIES if backbone and 'remat' in configs.schema(backbone) else (None,)


def meshes(where: hardware.Target, config: dict) -> list[dict]:
  """The config's own mesh, all data, all fsdp, and both in between: a host's, a row's and a square's worth of fsdp."""
  slices = 1 if where.gpu else where.slices
  inside = where.devices // slices
  sizes = sorted({1, where.chip.host, max(where.shape), 2 ** (inside.bit_length() // 2), inside})
  found = [sharding.mesh_sizes(where.devices, slices, **(config.get('mesh') or {}))]
  for fsdp in sizes:
    if inside % fsdp == 0 and (mesh := dict(replica=slices, data=inside // fsdp, fsdp=fsdp, tensor=1)) not in found:
      found.append(mesh)
  return found


def largest(fits: Callable, start: int, shares: int, most: int) -> int | None:
  """The largest batch that fits: by doublings of the first, or, where it does not fit, by halves of it.

  Raises:
    ConfigError: the first batch is above the most.
  """
  batch = max(shares, start // shares * shares)
  if batch > most:
    raise ConfigError(f'--sweep: {batch} is the smallest batch over {shares} parts of the mesh; wanted at most {most}')
  if fits(batch):
    while 2 * batch <= most and fits(2 * batch):
      batch *= 2
    return batch
  while batch % (2 * shares) == 0:
    batch //= 2
    if fits(batch):
      return batch
  return None


def words(rows: list[dict], command: str) -> str:
  """The rows as a table, * before those that no other beats in both, each with the rest of its command."""
  out = [f'{command} ...', '']
  for row in rows:
    if row['batch'] is None:
      out.append(f'  nothing fits                                {" ".join(row["flags"])}')
      continue
    out.append(f'{"*" if row["pareto"] else " "} {between(row["examples_per_second"], " examples/s", 3):34} '
               f'batch {row["batch"]:6}  {gb(row["hbm_bytes_per_device"]):>8}  MFU '
               f'{between(row["mfu"], " %", 2, 100):14} {" ".join(row["flags"])}')
  return '\n'.join([*out, '', 'predicted by the compiler, not measured; * no other has both as large a batch and as '
                    'many examples/s'])
