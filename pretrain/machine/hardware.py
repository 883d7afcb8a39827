"""The accelerators that can be planned for: published figures, and the shapes in which they are sold."""
import difflib
import itertools
import math
import re
from typing import NamedTuple

from jax.sharding import AbstractMesh

from pretrain.config import ConfigError

GIB = 2 ** 30
FLAT = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))  # v5e and v6e, docs.cloud.google.com/tpu
SMALL = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))
HOSTS = tuple((n, 8) for n in (1, 2, 4, 8, 16, 32, 64, 128))  # machines with eight GPUs


def cubes(chips: int) -> tuple[tuple[int, ...], ...]:
  """v4, v5p and tpu7x: less than a cube of 4 x 4 x 4, or up to `chips` in cubes, sides ascending.

  MaxText's src/maxtext/utils/accelerator_to_spec_map.py lists most of these.
  """
  sides = range(4, 33, 4)
  return SMALL + tuple(s for s in itertools.combinations_with_replacement(sides, 3) if math.prod(s) <= chips)


class Chip(NamedTuple):
  """An accelerator; what is 'a device' is so for what JAX counts as one: half a chip of v3 and tpu7x.

  kind:      `device.device_kind`.
  devices:   a chip.
  host:      chips a host.
  flops:     peak a device a second, dense, of bfloat16.
  int8, fp8: the same of these; 0 where they are no faster than bfloat16, or not published.
  hbm:       bytes a device that a program can use. TPUs: from the compiler's own message when it runs out, libtpu
             0.0.50; GPUs: nine tenths of the memory.
  bandwidth: of that memory, bytes a second a device.
  link:      bytes a second a device, one way, of one link to a neighbour (GPUs: of NVLink in all).
  outside:   bytes a second a device, one way, of the network beyond the slice (GPUs: beyond the host).
  clock:     Hz, to turn the compiler's cycles into seconds; 0: it gives none. Peak / (2 x multipliers), so inferred.
  shapes:    sold, in chips (GPUs: hosts x 8).
  source:    of the figures.
  options:   of the compiler, that a step is compiled with; what they change: docs/scale.md.
  cores:     of a GPU (streaming multiprocessors); 0: a TPU.
  """
  kind: str
  devices: int
  host: int
  flops: float
  int8: float
  fp8: float
  hbm: float
  bandwidth: float
  link: float
  outside: float
  clock: float
  shapes: tuple[tuple[int, ...], ...]
  source: str
  options: dict = {}
  cores: int = 0

  def seconds(self, flops: float, int8: float, fp8: float) -> float:
    """Of a device for so many FLOPs at its peak, of which some are of int8 and of fp8."""
    return (flops - int8 - fp8) / self.flops + int8 / (self.int8 or self.flops) + fp8 / (self.fp8 or self.flops)


# Collectives run on the SparseCores, beside the arithmetic, where the compiler by itself overlaps none. Most are those
# of MaxText's benchmarks/xla_flags_library.py, which has no reduce_scatter and no 2d and 3d.
OFFLOADED = {f'xla_tpu_enable_sparse_core_collective_offload_{kind}': True for kind in (
    'all_gather', 'all_reduce', 'reduce_scatter', '2d_all_gather', '3d_all_gather')} | {
        'xla_tpu_enable_async_collective_fusion_fuse_all_gather': False, 'xla_tpu_use_tc_device_shape_on_sc': True,
        'xla_sc_disable_megacore_partitioning': True}
# a small array is gathered, not summed with zeros from the others, which moves twice the bytes
GATHERED = {'xla_tpu_prefer_async_allgather_to_allreduce': True}
DCN = 25e9 / 4  # bytes a second a chip: 25 GB/s a host of four; jax-ml.github.io/scaling-book
CHIPS = {
    'v3': Chip('TPU v3', 2, 4, 61.5e12, 0, 0, 15.48 * GIB, 450e9, 5e10, DCN / 2, .94e9,
               ((2, 2), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32)),
               'docs.cloud.google.com/tpu/docs/v3; links: jax-ml.github.io/scaling-book/tpus'),
    'v4': Chip('TPU v4', 1, 4, 275e12, 0, 0, 30.75 * GIB, 1200e9, 4.5e10, DCN, 1.05e9, cubes(4096),
               'docs.cloud.google.com/tpu/docs/v4; links: jax-ml.github.io/scaling-book/tpus'),
    'v5e': Chip('TPU v5 lite', 1, 4, 197e12, 393e12, 0, 15.75 * GIB, 819e9, 5e10, DCN, 1.5e9, FLAT,
                'docs.cloud.google.com/tpu/docs/v5e: 400 GB/s both ways over 4 ports', GATHERED),
    'v5p': Chip('TPU v5', 1, 4, 459e12, 918e12, 0, 95.73 * GIB, 2765e9, 1e11, DCN, 1.75e9, cubes(6144),
                'docs.cloud.google.com/tpu/docs/v5p: 1200 GB/s both ways over 6 ports', OFFLOADED),
    'v6e': Chip('TPU v6 lite', 1, 4, 918e12, 1836e12, 0, 31.24 * GIB, 1638e9, 1e11, DCN, 1.75e9, FLAT,
                'docs.cloud.google.com/tpu/docs/v6e: 800 GB/s both ways over 4 ports', OFFLOADED),
    'tpu7x': Chip('TPU7x', 2, 4, 1153.5e12, 0, 2307e12, 94.74 * GIB, 3690e9, 5e10, 100e9 / 8 / 2, 2.2e9, cubes(9216),
                  'docs.cloud.google.com/tpu/docs/tpu7x: 1200 GB/s both ways over 6 ports, 100 Gb/s a chip'),
    'a100': Chip('NVIDIA A100-SXM4-80GB', 1, 8, 312e12, 624e12, 0, .9 * 79.26 * GIB, 2039e9, 300e9, 25e9, 0, HOSTS,
                 'NVIDIA A100 data sheet; memory: XLA target_config; 200 Gb/s a GPU outside', cores=108),
    'h100': Chip('NVIDIA H100 80GB HBM3', 1, 8, 989.4e12, 1979e12, 1979e12, .9 * 79.11 * GIB, 3352e9, 450e9, 50e9, 0,
                 HOSTS, 'NVIDIA H100 SXM data sheet, dense; memory: XLA target_config; 400 Gb/s a GPU outside',
                 cores=132),
    'h200': Chip('NVIDIA H200', 1, 8, 989.4e12, 1979e12, 1979e12, .9 * 139.8 * GIB, 4800e9, 450e9, 50e9, 0, HOSTS,
                 'NVIDIA H200 SXM data sheet, dense; memory: XLA target_config; 400 Gb/s a GPU outside', cores=132),
    'b200': Chip('NVIDIA B200', 1, 8, 2250e12, 4500e12, 4500e12, .9 * 178.4 * GIB, 7672e9, 900e9, 50e9, 0, HOSTS,
                 'NVIDIA HGX B200 data sheet, dense; memory: XLA target_config; 400 Gb/s a GPU outside', cores=148),
}


class Target(NamedTuple):
  """So many slices of a shape of a chip, 'v5e:16x16'; a slice of GPUs is all of them."""
  name: str
  chip: Chip
  shape: tuple[int, ...]
  slices: int

  @property
  def gpu(self) -> bool:
    return self.chip.kind.startswith('NVIDIA')

  @property
  def chips(self) -> int:
    return math.prod(self.shape) * self.slices

  @property
  def devices(self) -> int:
    return self.chips * self.chip.devices

  def network(self, group: int) -> float:
    """Bytes a second that each device of a group of this many can receive from its neighbours.

    TPUs: all links along the axes of the torus that the group spans, both ways where the axis is a ring (a whole 16 of
    v5e and v6e, any multiple of 4 in three dimensions). An upper bound: the compiler may use fewer.
    """
    if self.gpu:
      return self.chip.link if group <= self.shape[1] else self.chip.outside
    sides = sorted(n for n in self.shape if n > 1) or [1]
    axes, reached = 0, self.chip.devices
    while axes < len(sides) and reached < group:
      axes, reached = axes + 1, reached * sides[-1 - axes]
    ring = all(n % 4 == 0 for n in sides) if len(self.shape) == 3 else sides[-1] >= 16
    return self.chip.link * max(axes, 1) * (2 if ring else 1)

  def unsold(self) -> str | None:
    """Which sold shape is nearest, if this one is not sold."""
    shape = tuple(sorted(self.shape)) if not self.gpu and self.shape not in SMALL else self.shape
    if shape in self.chip.shapes:
      return None
    chip = self.name.partition(':')[0]
    return written(chip, nearest_shape(chip, math.prod(self.shape)))


def written(name: str, shape: tuple[int, ...]) -> str:
  return f'{name}:{"x".join(map(str, shape))}'


def target(name: str, slices: int = 1) -> Target:
  """Reads 'v5e:16x16' (chips along each axis) or 'h100:32x8' (hosts x GPUs a host).

  Raises:
    ConfigError: another chip, another number of axes; names the nearest.
  """
  chip, _, shape = name.lower().partition(':')
  if slices < 1:
    raise ConfigError(f'--slices: wanted at least 1, got {slices}')
  if chip in CHIPS and re.fullmatch(r'\d+(x\d+)*', shape):
    sides = tuple(map(int, shape.split('x')))
    if len(sides) == len(CHIPS[chip].shapes[0]) and min(sides) > 0:
      return Target(written(chip, sides), CHIPS[chip], sides, slices)
  near = chip if chip in CHIPS else difflib.get_close_matches(re.split('[-=_:]', chip)[0], CHIPS, 1, 0.)[0]
  sizes = re.findall(r'\d+', re.sub(r'^[a-z]*\d+[a-z]*', '', name.lower()))  # '-256' of 'v5e-256'
  shapes = [written(near, s) for s in CHIPS[near].shapes]
  likely = written(near, nearest_shape(near, math.prod(map(int, sizes))))
  raise ConfigError(f'--topology: no {name!r}; nearest: {likely!r}; all: {", ".join(CHIPS)}, '
                    f'of which {near} is sold as {", ".join(shapes[:9])}'
                    f'{", ..." if len(shapes) > 9 else ""}')


def nearest_shape(chip: str, chips: int) -> tuple[int, ...]:
  """The sold shape nearest in chips; the most cubic of those."""
  return min(CHIPS[chip].shapes, key=lambda s: (abs(math.log(math.prod(s) / max(chips, 1))), max(s)))


def compiler_options(mesh, own: dict) -> dict:
  """Those that a step is compiled with on a mesh: the chip's, and a config's own; empty for a mesh without devices."""
  chip = None if isinstance(mesh, AbstractMesh) else by_kind(mesh.devices.flat[0].device_kind)
  return {name: value for name, value in ((chip.options if chip else {}) | own).items() if value is not None}


def by_kind(device_kind: str) -> Chip | None:
  """The chip of a live device, for its share of the peak (MFU); None for a CPU and for chips that are not listed."""
  kinds = {'TPU v5e': 'TPU v5 lite', 'TPU v5p': 'TPU v5', 'TPU v6e': 'TPU v6 lite'}
  kind = kinds.get(device_kind, device_kind)
  return next((chip for chip in CHIPS.values() if kind == chip.kind), None)
