"""`python -m pretrain plan`: what a config needs on a machine, found without one, in tiers of rising cost.

free:     shapes, divisibility, bytes a device, FLOPs of the traced step; no compiler, seconds.
compile:  the very `jit` object that `train` runs, compiled by the target's own compiler: memory, communication.
estimate: from these and published figures of the chip, a range for the time of a step.
"""
import collections
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType

import data.sources
import pretrain.models
from data.wrap import few_labels
from pretrain import config as configs
from pretrain import frontends, run
from pretrain.config import ConfigError
from pretrain.machine import flops, hardware, sharding
from pretrain.method.objective import Objective
from pretrain.plan import cache, hlo
from pretrain.step import Training

TIGHT, LARGE, SYNC, WASTE = .92, 1e6, .1, .25  # thresholds of the warnings, see `warn`
ASKED = {'all-gather', 'all-reduce', 'reduce-scatter'}  # what batches and parameters split by config.mesh need
CHECKS = {'hbm_bytes_per_device': .05, 'wire_bytes_per_device': .10}  # what `check` lets grow, and by how much


def plan(config: dict, topology: str, *, slices: int = 1, free: bool = False, examples: int | None = None,
         price: float | None = None) -> dict:
  """One JSON-ready object; `docs/scale.md` says what each key means. Bytes, seconds and FLOPs throughout.

  Args:
    config: as `train` takes it; its data set need not be here.
    topology, slices: see `hardware.target`.
    free: leave out the compiler.
    examples: of the source, where the config counts in epochs and the source is not here.
    price: of a chip for an hour.
  Raises:
    ConfigError: an unknown topology, a config that `train` would refuse, a compiler that is not installed.
  """
  where = hardware.target(topology, slices)
  configs.check(run.prepare, config, 'config')
  config = run.Settings._field_defaults | config
  mesh = make_mesh(config['mesh'] or {}, where, None if free else devices(where))
  raw, count, indexed = batches(config, mesh, examples)
  steps = configs.total_steps(config['steps'], config['epochs'], count, config['batch'])
  spec = run.step_spec(run.Settings(**config), steps, indexed)
  objective, views, training = run.assemble(raw, mesh, spec)
  plain = spec._replace(**run.plainly(spec.backbone, spec.objective, attention='xla'))
  counted = training if plain == spec else run.assemble(raw, mesh, plain).training
  report = free_tier(where, mesh, raw, steps, views, training, counted)
  if not free:
    began = time.process_time()
    compile_tier(report, where, mesh, training, raw, config['compiler_options'] or {})
    report['compile_cpu_seconds'] = round(time.process_time() - began, 1)
    estimate_tier(report, where, price)
  report['warnings'] = warn(report, where)
  if report['fits'] is False:
    report['would_fit'] = would_fit(report, config, mesh, objective, training)
  return report


# What there is --------------------------------------------------------------------------------------------------------

def make_mesh(sizes: dict, where: hardware.Target, found):
  """The config's mesh, over the topology's devices or, without any, an abstract one."""
  if found is not None:
    return configs.call(sharding.make_mesh, sizes, 'config.mesh', devices=found)
  configs.check(sharding.make_mesh, sizes, 'config.mesh', given=('devices',))
  shape = sharding.mesh_sizes(where.devices, 1 if where.gpu else where.slices, **sizes)
  return AbstractMesh(tuple(shape.values()), tuple(shape), axis_types=(AxisType.Auto,) * len(shape))


def batches(config: dict, mesh, examples: int | None):
  """(abstract raw batch, examples of an epoch, examples with an index), as `run.prepare` has them.

  A source that is not here is taken to be as large as the config says (a table as wide as the backbone), labeled and
  of `examples` examples.
  """
  size = config['batch']
  sharding.check_divisible(size, mesh, 'config.batch')

  def planned(spec):
    said = {name: value for name, value in spec.items() if value is not None}
    return frontends.planned(said, config['backbone'])

  def opened(spec, key):
    try:
      return configs.build(data.sources, spec, key)
    except OSError as error:
      if not planned(spec):
        raise ConfigError(f'{key}: {error}; to plan without it wants {key}.size, the side of its images') from error
      if config['steps'] is None and examples is None:
        raise ConfigError(f'{key}: {error}; the config counts in epochs, so planning without it wants --examples=N, '
                          'their number') from error
      return None

  def shapes(source, spec, n, labeled=True):
    if source is not None:
      return run.abstract(source, n)
    kinds = planned(spec)
    arrays = {kind.key: jax.ShapeDtypeStruct((n, *shape), kind.dtype) for kind, shape in kinds}
    labeled = labeled and all(kind.labeled for kind, _ in kinds)
    return arrays | {k: jax.ShapeDtypeStruct((n,), np.int32) for k in ('index', 'epoch', *(['label'] * labeled))}

  original = opened(config['source'], 'config.source')
  indexed = len(original) if original is not None else examples or size
  labeled = few_labels(original, **config['labels']) if config['labels'] and original is not None else original
  if config['unlabeled'] is None:
    count = len(labeled) if labeled is not None else indexed
    if config['subset']:
      count, _ = run.round_of(configs.call(run.Subset, config['subset'], 'config.subset'), count)
    return shapes(labeled, config['source'], size), count, indexed
  second = configs.call(run.Unlabeled, config['unlabeled'], 'config.unlabeled')
  sharding.check_divisible(second.batch, mesh, 'config.unlabeled.batch')
  others = opened(second.source, 'config.unlabeled.source') if second.source else original
  indexed = len(others) if others is not None else examples or second.batch
  others = others if others is None else others.unlabeled()
  raw = {'labeled': shapes(labeled, config['source'], size),
         'unlabeled': shapes(others, second.source or config['source'], second.batch, labeled=False)}
  return raw, indexed * size // second.batch, indexed


def devices(where: hardware.Target) -> list:
  """The devices of a topology that is not here. Raises ConfigError if its compiler is not installed."""
  if where.gpu:
    return gpu_devices(where)
  if importlib.util.find_spec('libtpu') is None:
    raise ConfigError(f'--topology={where.name}: compiling for TPUs needs libtpu, about 500 MB: '
                      'pip install -e .[plan]; --free does what can be done without')
  os.environ.update({  # several at once; no log files; nothing on stderr. No TPU is looked for
      'ALLOW_MULTIPLE_LIBTPU_LOAD': '1', 'TPU_LOG_DIR': 'disabled', 'TPU_WORKER_ID': '0',
      'TPU_WORKER_HOSTNAMES': 'localhost', 'TPU_ACCELERATOR_TYPE': 'v5litepod-256'})
  from jax.experimental import topologies
  given = {'chip_config_name': 'megacore'} if where.chip.kind == 'TPU v4' else {}
  given |= {'num_slices': where.slices} if where.slices > 1 else {}
  return list(topologies.get_topology_desc(where.name, platform='tpu', **given).devices)


def gpu_devices(where: hardware.Target) -> list:
  """GPUs of a machine that is not here: XLA's plugin for CUDA holds a description of each kind."""
  plugin = importlib.util.find_spec('jax_plugins') and importlib.util.find_spec('jax_plugins.xla_cuda13')
  if not plugin or not plugin.origin:
    raise ConfigError(f'--topology={where.name}: compiling for GPUs needs jax-cuda13-plugin, its ptxas and nvlink: '
                      'pip install -e .[cuda]; no GPU or driver; --free does what can be done without')
  os.environ['JAX_SKIP_CUDA_CONSTRAINTS_CHECK'] = '1'  # of a driver
  library = b''.join(path.read_bytes() for path in Path(plugin.origin).parent.glob('*.so'))
  from jax.experimental import topologies
  hosts, each = where.shape
  return list(topologies.get_topology_desc(platform='cuda', topology=f'1x{hosts * where.slices}x{each}',
                                           target_config=description(library, where)).devices)


def description(library: bytes, where: hardware.Target) -> str:
  """XLA's text of a whole GPU, of those in its plugin; the names of parts of one (MIG) begin with that of the whole.

  Raises:
    ConfigError: none has the name, the multiprocessors and, to 2 %, the memory that `hardware.CHIPS` says.
  """
  chip, others = where.chip, []
  for found in re.finditer(f'device_description_str: "({re.escape(chip.kind)}[^"]*)"'.encode(), library):
    text = library[library.rfind(b'\0', 0, found.start()) + 1:library.find(b'\0', found.start())].decode()
    cores, memory = (int((re.search(rf'\b{key}: (\d+)', text) or [0, 0])[1])
                     for key in ('core_count', 'device_memory_size'))
    if cores == chip.cores and abs(.9 * memory / chip.hbm - 1) < .02:
      return text
    others.append(f'{found[1].decode()} ({cores}, {gb(memory)})')
  raise ConfigError(f'--topology={where.name}: the installed plugin for CUDA describes no {chip.kind} of {chip.cores} '
                    f'multiprocessors and {gb(chip.hbm / .9)}, but {", ".join(others) or "none of that name"}')


# Tiers ----------------------------------------------------------------------------------------------------------------

def free_tier(where: hardware.Target, mesh, raw, steps: int, views, training: Training, counted: Training) -> dict:
  """Exact arithmetic on shapes; the HBM it gives is a lower bound, as activations are not in it.

  Args:
    counted: whose FLOPs are counted: the same step without kernels, which a trace does not see into.
  """
  leaves = [Leaf(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(training.abstract)]
  gradients = sum(x.here for x in leaves if x.path.startswith('params/'))
  shares = math.prod(mesh.shape[axis] for axis in sharding.BATCH)
  batch = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(raw)) / shares
  work = flops.of_step(counted.step, counted.abstract, raw)
  augmenting = flops.count(jax.make_jaxpr(views)(raw, jax.random.key(0)).jaxpr)
  streams = [raw] if 'index' in raw else list(raw.values())
  examples = sum(stream['index'].shape[0] for stream in streams)
  contents = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(raw) if x.ndim > 1)  # images, tokens
  state = sum(x.here for x in leaves)
  ceiling = where.chip.seconds(work.total, work.int8, work.fp8) / where.devices
  hosts = max(1, where.chips // where.chip.host)
  return {
      'tier': 'free', 'topology': where.name, 'slices': where.slices, 'chips': where.chips, 'devices': where.devices,
      'mesh': dict(mesh.shape), 'steps': steps, 'examples_per_step': examples,
      'examples_per_device': examples / shares,
      'parameters': sum(x.size for x in leaves if x.path.startswith('params/')),
      'fits': False if state + gradients + batch > where.chip.hbm else None,
      'hbm_limit_bytes': where.chip.hbm, 'hbm_bytes_per_device': state + gradients + batch,
      'hbm': {'state': state, 'gradients': gradients, 'batch': batch},
      'state_bytes': sum(x.whole for x in leaves),
      'largest': [x.row() for x in sorted(leaves, key=lambda x: -x.here)[:8]],
      'replicated': [x.row() for x in sorted(leaves, key=lambda x: -x.here) if x.replicated and x.whole > LARGE],
      'flops_per_step': work.total, 'flops_of_views': augmenting.total, 'flops_f32': work.f32,
      'flops_int8': work.int8, 'flops_fp8': work.fp8,
      'flops_of_dots': work.dots, 'flops_padded': work.padded, 'loops_of_unknown_length': work.loops,
      'ceiling_seconds': ceiling, 'collectives': None, 'step_seconds': None, 'examples_per_second': None, 'mfu': None,
      'bound_by': None,
      'feed': {'hosts': hosts, 'bytes_per_example': contents / examples,
               'examples_per_second_per_host_at_most': examples / ceiling / hosts if ceiling else None},
      'versions': {name: version(name) for name in ('jax', 'jaxlib', 'libtpu')}}


class Leaf:
  """An array of the state: bytes in all (`whole`), bytes on a device (`here`)."""

  def __init__(self, path, leaf):
    self.path, self.shape = jax.tree_util.keystr(path, simple=True, separator='/'), leaf.shape
    self.size, bytes_each = math.prod(leaf.shape), jnp.dtype(leaf.dtype).itemsize
    self.whole, self.split = self.size * bytes_each, str(leaf.sharding.spec)
    self.here = math.prod(leaf.sharding.shard_shape(leaf.shape)) * bytes_each
    self.replicated = leaf.sharding.is_fully_replicated

  def row(self) -> dict:
    return {'path': self.path, 'shape': list(self.shape), 'split': self.split, 'bytes': self.whole,
            'bytes_per_device': self.here}


def compile_tier(report: dict, where: hardware.Target, mesh, training: Training, raw, options: dict) -> None:
  """Adds what the compiler says, given a config's own options; what does not fit has no more than its memory."""
  report['tier'] = 'compile'
  step: Any = training.step
  versions = {name: version(name) for name in ('jax', 'jaxlib', 'libtpu', 'jax-cuda13-plugin')}
  about = {'topology': where.name, 'slices': where.slices, 'device': mesh.devices.flat[0].device_kind,
           'options': hardware.compiler_options(mesh, options)} | versions
  try:
    compiled = cache.compiled(step.lower(training.abstract, raw), about)
  except jax.errors.JaxRuntimeError as error:
    number = r'\(?([\d.]+)([KMGT])\)?'
    whole = re.search(f'Used {number} of {number}', str(error))
    part = re.search(f'temporaries {number} exceeds available HBM {number}', str(error))  # known before the rest is
    if not (found := whole or part):
      raise
    used, limit = (float(n) * 2. ** (10 * ('KMGT'.index(unit) + 1)) for n, unit in re.findall(number, found[0]))
    held = 0. if whole else report['hbm']['state'] + report['hbm']['batch']
    report.update(fits=False, hbm_bytes_per_device=used + held, hbm_limit_bytes=limit)
    return
  memory, costs = compiled.memory, hlo.costs(compiled.text)
  hbm = {'arguments': memory.argument_size_in_bytes, 'temporaries': memory.temp_size_in_bytes,
         'output_not_donated': memory.output_size_in_bytes - memory.alias_size_in_bytes,
         'code': memory.generated_code_size_in_bytes}
  total = sum(hbm.values())
  rows = collections.defaultdict(list)
  for one in costs.collectives:
    rows[one.kind, one.hidden, one.group or where.devices].append(one)
  report.update(
      fits=total <= where.chip.hbm, hbm_bytes_per_device=total, hbm=hbm, compiled_before=compiled.kept,
      flops_per_device=costs.flops, flops_f32=costs.f32 * where.devices, flops_int8=costs.int8 * where.devices,
      flops_fp8=costs.fp8 * where.devices, bytes_per_device=costs.bytes,
      cycles=costs.cycles, loops_of_unknown_length=costs.loops, kernels=costs.kernels, flops_in_kernels=costs.inside,
      wire_bytes_per_device=sum(one.wire for one in costs.collectives), bytes_between_slices=costs.slices,
      collectives=[{'kind': kind, 'async': hidden, 'group': group, 'instructions': len(ones),
                    'count': sum(one.count for one in ones), 'wire_bytes': sum(one.wire for one in ones),
                    'source': max(ones, key=lambda one: one.wire).source}
                   for (kind, hidden, group), ones in sorted(rows.items(), key=lambda r: -sum(o.wire for o in r[1]))])


def estimate_tier(report: dict, where: hardware.Target, price: float | None) -> None:
  """Adds a range for the time of a step, between two sums whichever is longer.

  One: arithmetic, memory and network, nothing overlapping. The other: the compiler's own cycles (GPUs: the ceiling
  instead), for kernels their arithmetic at the peak, and the communication that nothing overlaps. The ceiling,
  everything overlapping, is never reached.
  """
  if report['fits'] is False and report['collectives'] is None:
    return
  chip = where.chip
  eight = (report[key] / where.devices for key in ('flops_int8', 'flops_fp8'))
  seconds = {'compute': chip.seconds(report['flops_per_device'], *eight),
             'memory': report['bytes_per_device'] / chip.bandwidth,
             'network': report['bytes_between_slices'] / chip.outside}
  exposed = seconds['network']
  for row in report['collectives']:
    took = row['wire_bytes'] / where.network(row['group'])
    seconds['network'] += took
    exposed += 0. if row['async'] else took
  ceiling, total = max(seconds.values()), sum(seconds.values())
  cycles = ceiling
  if chip.clock and report['cycles']:
    cycles = report['cycles'] / chip.clock + report['flops_in_kernels'] / chip.flops + exposed
  low, high = sorted((total, cycles))
  model = report['flops_per_step'] - report['flops_of_views']
  hours = [report['steps'] * t / 3600 for t in (low, high)]
  report.update(
      tier='estimate', ceiling_seconds=ceiling, step_seconds=[low, high], seconds=seconds | {'exposed': exposed},
      examples_per_second=[report['examples_per_step'] / t for t in (high, low)],
      mfu=[model / (t * chip.flops * where.devices) for t in (high, low)],
      bound_by=max(seconds, key=lambda name: seconds[name]), days=[h / 24 for h in hours],
      chip_hours=[h * where.chips for h in hours])
  report['feed']['examples_per_second_per_host'] = report['examples_per_second'][1] / report['feed']['hosts']
  if price is not None:
    report['cost'] = [h * price for h in report['chip_hours']]


def warn(report: dict, where: hardware.Target) -> list[str]:
  """What deserves a look, in words."""
  found = []
  if near := where.unsold():
    found.append(f'{where.name} is not sold; nearest: {near}')
  if report['mesh']['fsdp'] > 1 and (rows := report['replicated']):
    found.append(f'{len(rows)} arrays above {LARGE / 1e6:.0f} MB stay whole on every device although fsdp is '
                 f'{report["mesh"]["fsdp"]}, {gb(sum(r["bytes"] for r in rows))} in all; largest: {rows[0]["path"]} '
                 f'{rows[0]["shape"]}, of which it divides no side')
  if (wasted := report['flops_padded'] - report['flops_of_dots']) > WASTE * report['flops_per_step']:
    found.append(f'matrix products whose sides are rounded up to 128 add {wasted / report["flops_per_step"]:.0%} to '
                 'the FLOPs')
  if report['flops_f32'] > .1 * report['flops_per_step']:
    found.append(f'{report["flops_f32"] / report["flops_per_step"]:.0%} of the FLOPs have a float32 operand: twice the '
                 "traffic of bfloat16, on GPUs half the rate or less; backbones take dtype='bfloat16'")
  for kind, peak in (('int8', where.chip.int8), ('fp8', where.chip.fp8)):
    if report[f'flops_{kind}'] and not peak:
      found.append(f'{report[f"flops_{kind}"] / report["flops_per_step"]:.0%} of the FLOPs are of {kind}, which '
                   f'{where.chip.kind} does not multiply faster than bfloat16, as far as is published')
  if report['loops_of_unknown_length']:
    found.append(f'{report["loops_of_unknown_length"]} loops of unknown length are counted once')
  if report['hbm_bytes_per_device'] > TIGHT * report['hbm_limit_bytes'] and report['fits']:
    found.append(f'{report["hbm_bytes_per_device"] / report["hbm_limit_bytes"]:.0%} of the memory is used: '
                 'fragmentation or a runtime with more in reserve can break it')
  if report['collectives'] is None:
    return found
  for kind in sorted({row['kind'] for row in report['collectives']} - ASKED):
    rows = [row for row in report['collectives'] if row['kind'] == kind]
    found.append(f'{sum(row["count"] for row in rows)} x {kind}, {gb(sum(row["wire_bytes"] for row in rows))} a step, '
                 'which no axis of the mesh asks for: an array changes its layout, most at '
                 f'{rows[0]["source"] or "an unknown line"}')
  if report['seconds']['exposed'] > SYNC * report['seconds']['compute']:
    found.append(f'communication that nothing overlaps takes {report["seconds"]["exposed"] * 1e3:.1f} ms, '
                 f'{report["seconds"]["exposed"] / report["seconds"]["compute"]:.0%} of the arithmetic\'s time')
  if report['hbm']['output_not_donated'] > .1 * report['hbm']['arguments']:
    found.append(f'{gb(report["hbm"]["output_not_donated"])} of the new state do not take the place of the old one')
  if calls := report['kernels'].get('tpu_custom_call'):
    found.append(f'{calls} Pallas kernels run, whose FLOPs and traffic are not counted')
  if calls := sum(report['kernels'].get(name, 0) for name in hlo.KERNELS):
    found.append(f'{calls} attention kernels run, for whose time the compiler has no estimate: their products at the '
                 "chip's peak are counted, which is the least they take")
  return found


def would_fit(report: dict, config: dict, mesh, objective: Objective, training: Training) -> list[str]:
  """What would, by arithmetic: activations go with the examples of a device, state and gradients with fsdp."""
  limit, used = report['hbm_limit_bytes'], report['hbm_bytes_per_device']
  at = {axis: state_bytes(training, mesh, axis) for axis in divisors(mesh.shape['data'] * mesh.shape['fsdp'])
        if axis >= mesh.shape['fsdp']}
  now = at[mesh.shape['fsdp']]
  activations, found = max(used - now, 0.), []
  for fsdp, held in at.items():
    if held + activations <= limit and fsdp > mesh.shape['fsdp']:
      data_ = mesh.shape['data'] * mesh.shape['fsdp'] // fsdp
      found.append(f'--config.mesh.fsdp={fsdp} --config.mesh.data={data_}: state and gradients take {gb(held)} '
                   f'instead of {gb(now)}')
      break
  shares = math.prod(mesh.shape[axis] for axis in sharding.BATCH)
  if activations and (most := int((limit - now) / activations * config['batch'] / shares)) >= 1:
    found.append(f'--config.batch={most * shares}: activations go with the batch (and so does the learning rate)')
    parts = [k for k in divisors(config['batch'] // shares) if k > 1 and now + at_gradients(training) +
             activations / k <= limit]
    if parts and (not objective.couples_batch or objective.halves):
      key = 'grad_cache' if objective.couples_batch else 'accumulate'
      found.append(f'--config.{key}={parts[0]}: the same batch in {parts[0]} parts')
  backbone = configs.find(pretrain.models, config['backbone']['name'])
  if activations and backbone and 'remat' in configs.schema(backbone) and config['backbone'].get('remat') in (
      None, 'none'):
    found.append('--config.backbone.remat=everything: keeps little more than the inputs of the blocks and computes the '
                 'rest again, about a third more arithmetic; how much it saves is not computed here')
  if activations:
    found.append(f'{math.ceil(used / limit)} times as many chips for the same batch, if fsdp grows with them')
  return found or [f'state and gradients alone take {gb(min(at.values()))} a device at the largest fsdp; more chips']


def at_gradients(training: Training) -> float:
  return sum(Leaf(path, leaf).here for path, leaf in jax.tree_util.tree_leaves_with_path(training.abstract.params))


def state_bytes(training: Training, mesh, fsdp: int) -> float:
  """State and gradients a device if fsdp were this; rules of the config left aside."""
  sizes = dict(mesh.shape) | {'fsdp': fsdp, 'data': mesh.shape['data'] * mesh.shape['fsdp'] // fsdp}
  other: Any = AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
  shapes = sharding.abstract(training.abstract, sharding.shardings(training.abstract, other, training.spec))
  leaves = [Leaf(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)]
  return sum(x.here * (2 if x.path.startswith('params/') else 1) for x in leaves)


def divisors(n: int) -> list[int]:
  return [k for k in range(1, n + 1) if n % k == 0]


def version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


# Words ----------------------------------------------------------------------------------------------------------------

def check(report: dict, baseline: str | os.PathLike) -> list[str]:
  """What has become worse than in a stored report: HBM by 5 %, wire bytes by 10 %, a new kind of collective.

  Raises:
    ConfigError: no report there, or one of another tier or topology.
  """
  try:
    old = json.loads(Path(baseline).read_text())
  except (OSError, ValueError) as error:
    raise ConfigError(f'--check: {baseline} is no report: {error}; `plan --json > {baseline}` writes one') from error
  for key in ('tier', 'topology', 'slices'):
    if old.get(key) != report[key]:
      raise ConfigError(f'--check: {baseline} has {key}={old.get(key)!r}, this is {report[key]!r}')
  worse = [f'{key}: {report[key]:.4g}, {report[key] / old[key] - 1:+.1%}; {share:.0%} are allowed'
           for key, share in CHECKS.items() if old.get(key) and report.get(key, 0) > (1 + share) * old[key]]
  kinds = lambda r: {row['kind'] for row in r['collectives'] or ()}
  return worse + [f'a new kind of collective: {kind}' for kind in sorted(kinds(report) - kinds(old))]


def gb(n: float) -> str:
  scale, unit = next((s, u) for s, u in ((1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB'), (1, 'B')) if n >= s / 10 or s == 1)
  return f'{n / scale:.3g} {unit}'


def between(pair, unit: str = '', digits: int = 3, scale: float = 1.) -> str:
  low, high = (float(f'{x * scale:.{digits}g}') for x in pair)
  return f'{low:,g}{unit}' if low == high else f'{low:,g} to {high:,g}{unit}'


def words(r: dict) -> str:
  """The report as lines of text."""
  mesh = ' '.join(f'{k}={v}' for k, v in r['mesh'].items() if v > 1)
  versions = ', '.join(f'{k} {v}' for k, v in r['versions'].items() if v)
  rows = [('target', f'{r["topology"]}{f" x {r['slices']} slices" if r["slices"] > 1 else ""}: {r["chips"]} chips, '
           f'{r["devices"]} devices, mesh {mesh or "of one"}'),
          ('model', f'{r["parameters"] / 1e6:,.1f} M parameters; state {gb(r["state_bytes"])} in all'),
          ('run', f'{r["steps"]:,} steps of {r["examples_per_step"]:,} examples, {r["examples_per_device"]:g} a '
           'device'),
          ('FLOPs a step', f'{r["flops_per_step"]:.4g}, of which views {r["flops_of_views"]:.3g}')]
  parts = ', '.join(f'{k.replace("_", " ")} {gb(v)}' for k, v in r['hbm'].items())
  verdict = {True: 'fits', False: 'DOES NOT FIT', None: 'activations not counted'}[r['fits']]
  rows += [('', f'of which {r[key] / r["flops_per_step"]:.0%} in {key[6:]}')
           for key in ('flops_int8', 'flops_fp8') if r[key]]
  rows += [('HBM a device', f'{gb(r["hbm_bytes_per_device"])} of {gb(r["hbm_limit_bytes"])}: {verdict}'), ('', parts)]
  if r['step_seconds']:
    span = between(r['days'], ' days', 2) if r['days'][0] > 2 else between(r['days'], ' hours', 2, 24)
    rows += [('step', f'{between(r["step_seconds"], " ms", 3, 1e3)}; never below {r["ceiling_seconds"] * 1e3:.3g} ms; '
              f'bound by {r["bound_by"]}'),
             ('', ', '.join(f'{k} {v * 1e3:.3g} ms' for k, v in r['seconds'].items())),
             ('', f'{between(r["examples_per_second"], " examples/s", 3)}, MFU {between(r["mfu"], " %", 2, 100)}'),
             ('all steps', f'{span}, {between(r["chip_hours"], " chip-hours", 2)}' +
              (f', cost {between(r["cost"], "", 2)}' if 'cost' in r else ''))]
  else:
    rows += [('step', f'never below {r["ceiling_seconds"] * 1e3:.3g} ms, the arithmetic at the peak')]
  feed = r['feed']
  rate = feed.get('examples_per_second_per_host') or feed['examples_per_second_per_host_at_most']
  rows += [('feed', f'{feed["hosts"]} hosts, each up to {rate:,.0f} examples/s = '
            f'{gb(rate * feed["bytes_per_example"])}/s to be decoded')]
  out = [f'{name:13} {text}' for name, text in rows]
  if r['collectives']:
    out += ['', 'received a device a step, by collective:']
    out += [f'  {row["kind"]:19} {gb(row["wire_bytes"]):>10}  {row["count"]:5} x, groups of {row["group"]:4}, '
            f'{"overlapped" if row["async"] else "nothing overlaps":16} {row["source"]}' for row in r['collectives']]
  elif not r['collectives'] and r['largest']:
    out += ['', 'largest arrays, bytes a device:']
    out += [f'  {gb(row["bytes_per_device"]):>10}  {row["path"]} {row["shape"]} {row["split"]}'
            for row in r['largest']]
  out += ['', *(f'warning: {text}' for text in r['warnings'])]
  out += [f'would fit: {text}' for text in r.get('would_fit', ())]
  how = 'computed from shapes, nothing compiled' if r['tier'] == 'free' else 'predicted by the compiler, not measured'
  return '\n'.join([*out, f'({how}; {versions})'])
