"""Planning for machines that are not here: arithmetic against hand counts, the parser against unrolled programs."""
import functools
import gzip
import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from data.sources import array_record, folder
from pretrain import config
from pretrain.__main__ import main
from pretrain.config import ConfigError
from pretrain.machine import flops, hardware, sharding
from pretrain.models.convolutions import convolution
from pretrain.plan import cache, hlo
from pretrain.plan.plan import check, devices, estimate_tier, plan, words
from pretrain.plan.sweep import sweep
from pretrain.plan.sweep import words as sweeping
from tests.shipped import RUNS

ROOT = Path(__file__).parents[1]
TINY, MAE = str(ROOT / 'tests' / 'tiny.py'), str(ROOT / 'configs' / 'mae.py:fashion_mnist')
KEYS = {'fits', 'hbm_bytes_per_device', 'hbm_limit_bytes', 'flops_per_step', 'collectives', 'step_seconds',
        'examples_per_second', 'mfu', 'bound_by', 'warnings', 'versions'}


# Chips ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(('name', 'words_'), [
    ('v5e-256', ["no 'v5e-256'", "nearest: 'v5e:16x16'", 'v5e:8x16']), ('v5p:4x4', ["nearest: 'v5p:2x2x4'", 'tpu7x']),
    ('v7x:4x4x4', ["nearest: 'tpu7x:4x4x4'"]), ('h100', ["nearest: 'h100:1x8'"]), ('', ['nearest'])])
def test_an_unknown_topology_is_told_the_nearest_one(name, words_):
  with pytest.raises(ConfigError) as error:
    hardware.target(name)
  assert all(word in str(error.value) for word in words_)


def test_a_topology_counts_chips_and_devices():
  assert [hardware.target(name).devices for name in ('v5e:16x16', 'v3:8x8', 'tpu7x:4x4x4', 'h100:32x8')] == [
      256, 128, 128, 256]
  assert hardware.target('v5e:16x16', 2).chips == 512
  assert [hardware.target(name).unsold() for name in ('v5e:8x16', 'v5e:32x32', 'v5p:4x8x8', 'v4:4x4x4')] == [
      None, 'v5e:16x16', None, None]


def test_a_group_uses_the_links_of_the_axes_it_spans():
  pod = hardware.target('v5e:16x16')  # rings of 16: both ways
  assert [pod.network(n) for n in (16, 256)] == [2 * 5e10, 4 * 5e10]
  assert hardware.target('v5e:4x4').network(16) == 2 * 5e10  # no ring
  gpus = hardware.target('h100:4x8')
  assert gpus.network(8) == 450e9 > gpus.network(16) == 50e9


def test_every_chip_has_its_source_and_is_found_by_its_kind():
  for chip in hardware.CHIPS.values():
    assert chip.source and hardware.by_kind(chip.kind) is chip and 0 < chip.hbm < 2e11 and chip.flops > 1e13
  assert hardware.by_kind('cpu') is None


MIG = {'a100': [], 'h100': [(' MIG 1g.10gb', 16, 10468982784)], 'h200': [],
       'b200': [(' MIG 1g.23gb', 18, 22011707392)]}  # what XLA's plugin describes beside the whole GPU


@pytest.fixture
def plugin(tmp_path, monkeypatch):
  """The text that `gpu_devices` finds in a plugin with these descriptions: (what follows the name, cores, bytes)."""
  def found(chip: str, *descriptions) -> str:
    texts = [f'gpu_device_info {{\n  core_count: {cores}\n  device_memory_size: {memory}\n}}\n'
             f'device_description_str: "{hardware.CHIPS[chip].kind}{more}"\n' for more, cores, memory in descriptions]
    (tmp_path / 'xla_cuda_plugin.so').write_bytes(b'\x7fELF\0' + b'\0'.join(text.encode() for text in texts) + b'\0')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: SimpleNamespace(origin=str(tmp_path / '__init__.py')))
    monkeypatch.setattr(topologies, 'get_topology_desc', lambda **given: SimpleNamespace(devices=given.values()))
    monkeypatch.setenv('JAX_SKIP_CUDA_CONSTRAINTS_CHECK', '1')
    return devices(hardware.target(f'{chip}:1x8'))[-1]
  return found


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('chip', MIG)
def test_a_gpu_is_planned_as_a_whole_not_as_the_slice_that_has_its_name(plugin, chip, first):
  cores, memory = {'a100': (108, 85100068864), 'h100': (132, 84942979072), 'h200': (132, 151397597184),
                   'b200': (148, 191514411008)}[chip]
  whole = [(' 141GB HBM3e' if chip == 'h200' else '', cores, memory)]
  text = plugin(chip, *(MIG[chip] + whole if first else whole + MIG[chip]))
  assert f'core_count: {cores}\n' in text and f'device_memory_size: {memory}\n' in text and 'MIG' not in text


@pytest.mark.parametrize(('given', 'says'), [
    ([(' MIG 1g.10gb', 16, 10468982784)], r'HBM3 MIG 1g.10gb \(16, 10.5 GB\)'), ([('', 132, 60000000000)], '60 GB'),
    ([('', 114, 84942979072)], r'but NVIDIA H100 80GB HBM3 \(114, 84.9 GB\)'), ([], 'none of that name')])
def test_a_gpu_with_other_figures_than_the_plans_is_refused(plugin, given, says):
  with pytest.raises(ConfigError, match=f'h100:1x8: .* describes no NVIDIA H100 80GB HBM3 of 132 .* 84.9 GB, .*{says}'):
    plugin('h100', *given)


# FLOPs of a trace -----------------------------------------------------------------------------------------------------

def counted(f, *args) -> flops.Flops:
  return flops.count(jax.make_jaxpr(f)(*args).jaxpr)


def test_dots_are_counted_by_hand():
  x, w = jnp.ones((7, 5, 3)), jnp.ones((7, 3, 11), jnp.bfloat16)
  got = counted(lambda x, w: jnp.einsum('bij,bjk->bik', x, w), x, w)
  assert got.total == got.dots == got.f32 == 2 * 7 * 5 * 3 * 11
  assert got.padded == 2 * 7 * 8 * 128 * 128  # 5 to 8, 3 and 11 to 128


def test_a_conditional_counts_as_its_branch_that_does_nothing_else_as_all():
  f = lambda far, x: jax.lax.cond(far, lambda: x @ x, lambda: x)
  text = jax.jit(lambda far, x: f(far, jnp.sin(x))).lower(True, jnp.ones((64, 64))).compile().as_text()
  assert 'conditional(' in text and 'dot' in text and hlo.costs(text).flops == 0
  whole = hlo.costs(text.replace('conditional(', 'call('))  # which runs both
  assert whole.flops == 2 * 64 ** 3 and whole.bytes > hlo.costs(text).bytes
  turns = lambda which, x: jax.lax.switch(which, [lambda: x @ x, lambda: (x @ x) @ x])
  text = jax.jit(lambda which, x: turns(which, jnp.sin(x))).lower(1, jnp.ones((64, 64))).compile().as_text()
  assert 'conditional(' in text and hlo.costs(text).flops == 3 * 2 * 64 ** 3


def test_products_of_eight_bits_are_counted_apart_and_take_the_time_of_the_chips_own_peak():
  dot = lambda a, b: jax.lax.dot(a, b, preferred_element_type=jnp.float32)
  x, flop = jnp.ones((8, 8)), 2 * 8 ** 3
  cast = lambda kind: x.astype(kind)
  found = {(a, b): counted(dot, cast(a), cast(b))
           for a, b in (('int8', 'int8'), ('float8_e5m2', 'float8_e4m3fn'), ('int8', 'float32'))}
  assert [(f.int8, f.fp8) for f in found.values()] == [(flop, 0), (0, flop), (0, 0)]
  text = '''ENTRY %main (a: s8[8,8], b: s8[8,8]) -> s32[8,8] {
  %a = s8[8,8]{1,0} parameter(0)
  %b = s8[8,8]{1,0} parameter(1)
  ROOT %dot = s32[8,8]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}'''
  of = hlo.costs(text), hlo.costs(text.replace('s8', 'f8e5m2')), hlo.costs(text.replace('b = s8', 'b = s32'))
  assert [(c.flops, c.int8, c.fp8) for c in of] == [(flop, flop, 0), (flop, 0, flop), (flop, 0, 0)]
  v5e, h100 = hardware.CHIPS['v5e'], hardware.CHIPS['h100']
  took = v5e.seconds(3e12, 2e12, 0), v5e.seconds(3e12, 0, 2e12), h100.seconds(3e12, 0, 3e12)
  assert took == pytest.approx((1 / 197 + 2 / 393, 3 / 197, 3 / 1979))


def test_convolutions_count_what_meets_an_input():
  x, w = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 5))
  same = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  assert counted(same, x, w).total == 2 * 2 * 5 * 3 * 10 ** 2  # of 3 x 4 taps a side, 2 lie in the padding
  valid = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  assert counted(valid, x, w).total == 2 * 2 * 5 * 3 * 6 ** 2
  strided = lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), [(0, 1)] * 2,
                                                      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  gradient = counted(jax.grad(lambda x, w: strided(x, w).sum(), (0, 1)), x, w)
  assert gradient.total == 3 * counted(strided, x, w).total == 3 * 2 * 2 * 5 * 3 * 5 ** 2


def layers(x, ws, unrolled: bool):
  if unrolled:
    for w in ws:
      x = jnp.tanh(x @ w)
    return x.sum()
  return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, ws)[0].sum()


def test_loops_count_their_length_and_branches_the_longest():
  x, ws = jnp.ones((8, 4)), jnp.ones((5, 4, 4))
  one = 2 * 8 * 4 * 4
  assert counted(functools.partial(layers, unrolled=False), x, ws).total == 5 * one
  gradient = jax.grad(functools.partial(layers, unrolled=False), argnums=1)
  assert counted(gradient, x, ws).total == 3 * 5 * one  # XLA cannot see that the first layer's input needs none
  branch = lambda x, ws: jax.lax.cond(x[0, 0] > 0, lambda: x @ ws[0] @ ws[1], lambda: x @ ws[0])
  assert counted(branch, x, ws).total == 2 * one
  unknown = counted(lambda x, ws: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ ws[0], x), x, ws)
  assert (unknown.total, unknown.loops) == (one, 1)
  checkpointed = jax.grad(lambda ws: jax.checkpoint(functools.partial(layers, unrolled=True))(x, ws))
  assert counted(checkpointed, ws).total == (5 + 5 + 2 * 5 - 1) * one  # forwards, again, both gradients


# The text of compiled programs ----------------------------------------------------------------------------------------

def text_of(f, *args, **kwargs) -> str:
  return jax.jit(f, **kwargs).lower(*args).compile().as_text()


def test_a_scanned_program_costs_what_the_unrolled_one_costs():
  x, ws = jnp.ones((8, 4)), jnp.ones((5, 4, 4))
  scanned, unrolled = (hlo.costs(text_of(jax.grad(functools.partial(layers, unrolled=u), argnums=1), x, ws))
                       for u in (False, True))
  one = 2 * 8 * 4 * 4
  assert scanned.flops == 3 * 5 * one and unrolled.flops == (3 * 5 - 1) * one and not scanned.loops
  assert scanned.f32 == scanned.flops


def test_convolutions_of_cudnn_cost_what_the_trace_says():
  """The calls of a convolution with stride 2 and of its two gradients, as XLA writes them for GPUs."""
  call = lambda name, kind, operands, target: (  # noqa: E731
      f'  %{name} = ({kind}{{3,2,1,0}}, u8[0]{{0}}) custom-call({operands}), '
      f'window={{size=3x3 stride=2x2 pad=1_1x1_1}}, dim_labels=b01f_o01i->b01f, '
      f'custom_call_target="__cudnn$conv{target}"\n')
  image, kernel, out = 'bf16[8,28,28,64]', 'bf16[128,3,3,64]', 'bf16[8,14,14,128]'
  text = 'ENTRY %main (a: f32[]) -> f32[] {\n' + ''.join(
      f'  %{name} = {kind}{{3,2,1,0}} parameter({i})\n' for i, (name, kind) in enumerate(
          {'x': image, 'w': kernel, 'y': out}.items()))
  f = lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), ((1, 1), (1, 1)),  # noqa: E731
                                                dimension_numbers=('NHWC', 'OHWI', 'NHWC'))
  shape = lambda *sides: jnp.zeros(sides, jnp.bfloat16)  # noqa: E731
  want = counted(f, shape(8, 28, 28, 64), shape(128, 3, 3, 64)).total
  for line in (call('c.1', out, '%x, %w', 'Forward'), call('c.2', image, '%y, %w', 'BackwardInput'),
               call('c.3', kernel, '%x, %y', 'BackwardFilter')):
    assert hlo.costs(text + line + '}\n').flops == want > 0


def test_convolutions_of_a_program_cost_what_the_trace_says():
  x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
  f = lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  assert hlo.costs(text_of(f, x, w)).flops == counted(f, x, w).total


def test_what_cpus_compute_in_another_way_is_counted_as_elsewhere():
  x, w = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 5))
  plain = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)),  # noqa: E731
                                                    dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  both = lambda f: counted(jax.grad(lambda x, w: jnp.square(f(x, w)).sum(), (0, 1)), x, w)  # noqa: E731
  assert both(lambda x, w: convolution(x, w, 1)) == both(plain)


def test_communication_of_a_program_on_eight_devices():
  mesh = sharding.make_mesh(data=2, fsdp=4)
  split = lambda *axes: NamedSharding(mesh, PartitionSpec(*axes))
  x, w = jnp.ones((16, 32)), jnp.ones((32, 64))
  gathered, = hlo.costs(text_of(lambda x, w: x @ w, x, w, in_shardings=(split('data'), split('fsdp')),
                                out_shardings=split('data'))).collectives
  assert gathered.kind in ('all-gather', 'all-reduce') and gathered.group == 4 and gathered.count == 1
  sized = {'all-gather': 32 * 64 * 4, 'all-reduce': 2 * 8 * 64 * 4}[gathered.kind]
  assert gathered.wire == sized * 3 / 4
  looped = lambda x: jax.lax.scan(lambda c, _: (c + x.sum(), None), 0., None, length=3)[0]
  assert all(one.group == 8 for one in hlo.costs(text_of(looped, jnp.ones(64), in_shardings=split(
      ('data', 'fsdp')))).collectives)


TPU = '''HloModule jit_step

FileNames
1 "/site-packages/jax/numpy.py"
2 "/here/pretrain/losses/basic.py"
3 "/here/pretrain/step.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=3 function_name_id=1 line=70 end_line=70 column=1 end_column=2}
2 {file_name_id=2 function_name_id=1 line=11 end_line=11 column=1 end_column=2}
3 {file_name_id=1 function_name_id=1 line=5 end_line=5 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}

%begin (p: bf16[4,8]) -> bf16[64,8] {
  %p = bf16[4,8]{1,0} parameter(0)
  %all-gather.1 = bf16[64,8]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, replica_groups=[16,16]<=[256], dimensions={0}, metadata={op_name="x" stack_frame_id=3}
  ROOT %c = bf16[64,8]{1,0} custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%go_on (p.1: bf16[4,8]) -> bf16[64,8] {
  %p.1 = bf16[4,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[64,8]{1,0} all-gather(%p.1), channel_id=7, replica_groups=[16,16]<=[256], dimensions={0}
}

%all-reduce-scatter.1 (q: f32[32,4]) -> f32[2,4] {
  %q = f32[32,4]{1,0} parameter(0)
  %all-reduce.1 = f32[32,4]{1,0} all-reduce(%q), channel_id=1, replica_groups=mesh['replica'=1,'data'=16,'fsdp'=16] {'fsdp'}, to_apply=%add
  ROOT %slice = f32[2,4]{1,0} dynamic-slice(%all-reduce.1), dynamic_slice_sizes={2,4}
}

%body (t: (s32[], f32[8,8], f32[3,8,8])) -> (s32[], f32[8,8], f32[3,8,8]) {
  %t = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)S(1)}, f32[3,8,8]{2,1,0}) parameter(0)
  %x = f32[8,8]{1,0:T(8,128)S(1)} get-tuple-element(%t), index=1
  %all = f32[3,8,8]{2,1,0} get-tuple-element(%t), index=2
  %w = f32[1,8,8]{2,1,0} dynamic-slice(%all, %i), dynamic_slice_sizes={1,8,8}, backend_config={"window_config":{"estimated_cycles":"100"}}
  %w.1 = f32[8,8]{1,0} bitcast(%w)
  %y = f32[8,8]{1,0:T(8,128)S(1)} convolution(%x, %w.1), dim_labels=bf_io->bf, backend_config={"window_config":{"estimated_cycles":"1000"}}
  ROOT %next = (s32[]{:T(128)}, f32[8,8]{1,0}, f32[3,8,8]{2,1,0}) tuple(%i, %y, %all)
}

%condition (t.1: (s32[], f32[8,8], f32[3,8,8])) -> pred[] {
  %t.1 = (s32[]{:T(128)}, f32[8,8]{1,0}, f32[3,8,8]{2,1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(3)
  %i.1 = s32[]{:T(128)} get-tuple-element(%t.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

ENTRY %main_spmd (a: bf16[4,8], b: f32[32,4]) -> f32[8,8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %b = f32[32,4]{1,0} parameter(1)
  %start = bf16[64,8]{1,0:S(1)} fusion(%a), kind=kCustom, calls=%begin
  %more = bf16[64,8]{1,0:S(1)} fusion(%a), kind=kOutput, calls=%go_on
  %scatter.1 = f32[2,4]{1,0:S(1)} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.1
  %permute = (f32[2,4]{1,0}, f32[2,4]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%scatter.1), channel_id=3, source_target_pairs={{0,1},{1,0}}
  %ahead = ((f32[32,4]{1,0}), f32[8,4]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%b), slice={[0:8], [0:4]}
  %loop = (s32[]{:T(128)}, f32[8,8]{1,0}, f32[3,8,8]{2,1,0}) while(%init), condition=%condition, body=%body
  ROOT %out = f32[8,8]{1,0} get-tuple-element(%loop), index=1
}
'''  # noqa: E501


def test_the_text_of_a_tpu_program():
  """The shapes that libtpu's text has: a hidden gather in two fusions, a reduce-scatter as an all-reduce, no trips."""
  got = hlo.costs(TPU)
  assert got.flops == 3 * 2 * 8 * 8 * 8 and got.cycles == 3 * 1100 and not got.loops
  found = {(one.kind, one.hidden, one.group, one.count): one for one in got.collectives}
  assert len(found) == len(got.collectives) == 3
  assert found['all-gather', True, 16, 1].wire == 64 * 8 * 2 * 15 / 16
  assert found['all-gather', True, 16, 1].source == 'pretrain/losses/basic.py:11'
  assert found['reduce-scatter', False, 16, 1].wire == 32 * 4 * 4 * 15 / 16
  assert found['collective-permute', True, 0, 1].wire == 2 * 4 * 4
  # a is read twice, b once and a quarter of it ahead; the permutation reads and writes; in the loop, the slice is read,
  # written and read again (x and y stay in VMEM), and the condition compares two numbers
  assert got.bytes == 2 * (4 * 8 * 2) + 32 * 4 * 4 + 8 * 4 * 4 + 2 * (2 * 4 * 4) + 3 * ((2 + 1) * 8 * 8 * 4 + 4 + 4 + 1)


def test_the_text_of_a_gpu_program():
  """A scan of five layers, tanh(x w) v + x in bfloat16, and its gradient on eight H100s: tests/plans/h100_scan.hlo.

  x is [512, 1024] on a device, w and v [1024, 2048] and float32, split over all. Slices of what a loop stacks are taken
  and written in fusions, most of them asynchronous; small reductions over devices stand in such, too.
  """
  got = hlo.costs((ROOT / 'tests' / 'plans' / 'h100_scan.hlo').read_text())
  x, h, w, shard, parts = 1, 2, 4, .5, 8  # MiB: float32 are the shards of the parameters and partial sums of products
  gather = 2 * shard + 2 * w
  products = [x + w + h, h + w + parts, x + parts + x]  # the second as four sums, which the third adds up
  there = [2 * (2 * shard + shard),  # of each parameter a float32 slice is read, a bfloat16 one written
           gather, 2 * x, 2 * x + 2 * h + 2 * h,  # copied; kept: x, tanh and its derivative
           2 * (2 * shard + shard), *products]  # the bfloat16 parameters are kept, too, computed once more
  back = [2 * x + 2 * h + 2 * h, 2 * 2 * shard, gather,  # what was kept is read as slices
          h + x + w, h + x + w + h, x + h + w, *products[1:], gather,  # both parameters' gradients are scattered
          2 * (shard + 2 * shard)]  # and written as float32
  once = [2 * x, 5 * (2 * shard + x + 2 * h), 2 * 5 * 2 * shard,  # what is stacked starts as zeros; v is transposed
          x + x + 2 * x, 2 * 5 * 2 * shard, 2 * 3 * 5 * 2 * shard]  # the loss; the gradients' zeros; both updates
  assert got.bytes == pytest.approx((5 * sum(there) + 5 * sum(back) + sum(once)) * 2 ** 20, rel=1e-4)
  assert got.flops == 5 * 6 * 2 * 512 * 1024 * 2048 and not got.loops
  found = {(one.kind, one.hidden, one.group, one.count, one.wire) for one in got.collectives}
  received = 5 * 2 * w * 2 ** 20 * 7 / 8
  assert found == {('all-gather', True, 8, 5, received), ('reduce-scatter', True, 8, 5, received),
                   ('all-reduce', True, 8, 1, 2 * 4 * 7 / 8)} and len(got.collectives) == 5


def test_what_starts_now_and_is_done_later_costs_what_it_costs_at_once():
  """Each asynchronous form beside its synchronous one; `kept` of eight rows, of which a fusion takes or writes one."""
  called = '''%take (p: f32[8,64], i: s32[]) -> f32[1,64] {
  %p = f32[8,64]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %slice = f32[1,64]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,64}
}

%put (q: f32[8,64], r: f32[1,64], j: s32[]) -> f32[8,64] {
  %q = f32[8,64]{1,0} parameter(0)
  %r = f32[1,64]{1,0} parameter(1)
  %j = s32[] parameter(2)
  ROOT %update = f32[8,64]{1,0} dynamic-update-slice(%q, %r, %j, %zero)
}

ENTRY %main (kept: f32[8,64], row: f32[1,64], at: s32[]) -> f32[8,64] {
  %kept = f32[8,64]{1,0} parameter(0)
  %row = f32[1,64]{1,0} parameter(1)
  %at = s32[] parameter(2)
'''
  kept, row, at = 'f32[8,64]{1,0}', 'f32[1,64]{1,0}', 's32[]'
  cost = lambda *lines: hlo.costs(called + ''.join(f'  {line}\n' for line in lines) + '}\n')  # noqa: E731
  for op, start, operands, gives, more in (
      ('fusion', 'fusion-start', {'kept': kept, 'at': at}, row, 'kind=kLoop, calls=%take'),
      ('fusion', 'fusion-start', {'kept': kept, 'row': row, 'at': at}, kept, 'kind=kLoop, calls=%put'),
      ('fusion', 'call-start', {'kept': kept, 'at': at}, row, 'calls=%take'),
      ('fusion', 'async-start', {'kept': kept, 'row': row, 'at': at}, kept, 'calls=%put'),
      ('dynamic-slice', 'dynamic-slice-start', {'kept': kept, 'at': at}, row, 'dynamic_slice_sizes={1,64}'),
      ('dynamic-update-slice', 'dynamic-update-slice-start', {'kept': kept, 'row': row, 'at': at}, kept, ''),
      ('gather', 'gather-start', {'kept': kept, 'at': at}, row, 'slice_sizes={1,64}'),
      ('all-reduce', 'all-reduce-start', {'kept': kept}, kept, 'replica_groups=[1,8]<=[8], to_apply=%add'),
      ('all-reduce', 'all-reduce-start', {'row': row}, row, 'replica_groups=[1,8]<=[8], to_apply=%add, tpu'),
      ('all-to-all', 'all-to-all-start', {'kept': kept}, kept, 'replica_groups=[1,8]<=[8]'),
      ('collective-broadcast', 'collective-broadcast-start', {'kept': kept}, kept, 'replica_groups={{0,1,2,3}}'),
      ('all-gather', 'all-gather-start', {'row': row}, kept, 'replica_groups=[1,8]<=[8]'),
      ('reduce-scatter', 'reduce-scatter-start', {'kept': kept}, row, 'replica_groups=[1,8]<=[8], to_apply=%add')):
    given = ', '.join(f'%{name}' for name in operands)
    tuple_ = gives if 'tpu' in more else f'(({", ".join(operands.values())}), {gives}, u32[])'
    if op.startswith('collective') or op == 'all-gather':
      tuple_ = f'({", ".join(operands.values())}, {gives})'
    at_once = cost(f'ROOT %x = {gives} {op}({given}), {more}')
    later = cost(f'%s = {tuple_} {start}({given}), {more}', f'ROOT %x = {gives} {start[:-6]}-done(%s)')
    assert abs(later.bytes - at_once.bytes) <= 4, start  # the context
    assert [one.wire for one in later.collectives] == [one.wire for one in at_once.collectives], start
    assert all(one.hidden for one in later.collectives) and not any(one.hidden for one in at_once.collectives)
  gather, all_ = 'all-gather(%mine), replica_groups=[1,8]<=[8]', 'to_apply=%all, async_execution_thread="sparsecore"'
  called = f'%all (mine: {row}) -> {kept} {{\n  %mine = {row} parameter(0)\n  ROOT %g = {kept} {gather}\n}}\n\n{called}'
  sparse = cost(f'%s = ((), (), (s32[1]{{0:T(128)S(2)}})) call-start(), {all_}',
                f'%u = (({row}), {kept}) call-update(%s, %row)', f'ROOT %x = {kept} call-done(%u)')
  assert sparse.bytes == 9 * 64 * 4 and [one.hidden for one in sparse.collectives] == [True]


@pytest.mark.parametrize(('line', 'size'), [
    ("replica_groups=mesh['d0'=16,'d1'=8] {'d1'}", 8), ("replica_groups=mesh['d0'=16,'d1'=8] {'d0','d1'}", 128),
    ("replica_groups=mesh['a'=64] {'a':(4)16}", 16), ('replica_groups=[4,32]<=[128]', 32),
    ('replica_groups={{0,1,2},{3,4,5}}', 3), ('source_target_pairs={{0,1}}', 0)])
def test_groups_in_each_way_of_writing_them(line, size):
  assert hlo.group(line) == size


def test_the_products_inside_attention_kernels_are_counted():
  """What the compiler does not see: two forward, five backward; heads of 64 features count as 128 for the time."""
  half, dq = 'bf16[8,4,256,64]{3,2,1,0:T(8,128)(2,1)}', 'bf16[8,1,4,256,64]{4,3,2,1,0}'
  for name, target, given, products in (
      ('splash_mha_fwd_segmented_residuals.1', 'tpu_custom_call', f'({half}, f32[8,4,256,128]{{3,2,1,0}})', 2),
      ('splash_mha_dkv_segmented_no_residuals.1', 'tpu_custom_call', f'({dq}, {half}, {half})', 5),
      ('dot_product_attention_fwd.5', '__cudnn$fmhaSoftmax', f'({half}, f32[8,4,256]{{2,1,0}}, u8[0]{{0}})', 2),
      ('dot_product_attention_bwd.8', '__cudnn$fmhaSoftmaxBackward', f'({half}, {half}, {half}, u8[0]{{0}})', 5),
      ('other', 'tpu_custom_call', half, 0)):
    costs = hlo.costs(f"""
ENTRY %main (q: bf16[8,4,256,64]) -> bf16[8,4,256,64] {{
  %q = {half} parameter(0)
  ROOT %{name} = {given} custom-call(%q), custom_call_target="{target}"
}}
""")
    assert costs.flops == products * 2 * 8 * 4 * 256 * 256 * 64 and costs.inside == 2 * costs.flops and costs.f32 == 0
    known, = costs.kernels
    assert (known in hlo.KERNELS) == (products > 0) and costs.kernels[known] == 1


# What was compiled before ---------------------------------------------------------------------------------------------

class Compiler:
  """Stands for a lowered program; counts how often it is compiled."""

  def __init__(self, error: str | None = None, text: str = 'program'):
    self.error, self.text, self.calls = error, text, 0

  def as_text(self) -> str:
    return self.text

  def compile(self):
    self.calls += 1
    if self.error:
      raise jax.errors.JaxRuntimeError(self.error)
    return jax.jit(jnp.sin).lower(jnp.ones(3)).compile()


def test_a_program_is_compiled_once(tmp_path, monkeypatch):
  monkeypatch.setenv('PRETRAIN_PLAN_CACHE', str(tmp_path / 'plan'))
  lowered, about = Compiler(), {'topology': 'v5e:2x2'}
  first, again = (cache.compiled(lowered, about) for _ in range(2))
  assert lowered.calls == 1 and not first.kept and again.kept
  assert (again.text, again.memory) == (first.text, first.memory) and first.memory.output_size_in_bytes == 12
  entry, = (tmp_path / 'plan').iterdir()
  for damage in (b'', b'nonsense', entry.read_bytes()[:40], gzip.compress(b'{"text": 1}'), gzip.compress(b'[]')):
    entry.write_bytes(damage)
    assert cache.compiled(lowered, about)[:2] == first[:2] and cache.compiled(lowered, about).kept
  assert lowered.calls == 6
  assert not cache.compiled(Compiler(text='other'), about).kept
  assert not cache.compiled(lowered, about | {'options': {'xla_tpu_flag': True}}).kept
  monkeypatch.setenv('XLA_FLAGS', os.environ.get('XLA_FLAGS', '') + ' ')
  assert not cache.compiled(lowered, about).kept
  monkeypatch.setenv('PRETRAIN_PLAN_CACHE', '')
  assert not cache.compiled(lowered, about).kept
  monkeypatch.setenv('PRETRAIN_PLAN_CACHE', str(entry / 'no directory'))
  assert not cache.compiled(lowered, about).kept


def test_what_does_not_fit_is_remembered_and_other_errors_are_not(tmp_path, monkeypatch):
  monkeypatch.setenv('PRETRAIN_PLAN_CACHE', str(tmp_path))
  for error, calls in (('RESOURCE_EXHAUSTED: Used 20G of 15.75G hbm', 1), ('INTERNAL: broken', 2)):
    lowered = Compiler(error, text=error)
    for _ in range(2):
      with pytest.raises(jax.errors.JaxRuntimeError, match=error[:20]):
        cache.compiled(lowered, {})
    assert lowered.calls == calls


# Reports --------------------------------------------------------------------------------------------------------------

def missing(monkeypatch):
  """No data set is here but those that are embedded."""
  for module in (array_record, folder):
    name = module.__name__.rpartition('.')[2]

    @functools.wraps(getattr(module, name))
    def source(**kwargs):
      raise FileNotFoundError(f'no {kwargs["path"]}')

    monkeypatch.setattr(module, name, source)


@pytest.mark.parametrize('name', RUNS)
def test_every_row_can_be_planned_without_its_data(name, monkeypatch):
  missing(monkeypatch)
  tree = config.load(f'{ROOT}/configs/{name}', ["mesh={'fsdp': 4}"])
  report = plan(tree, 'v5e:4x4', free=True, examples=1_281_167)
  assert report.keys() >= KEYS and json.loads(json.dumps(report)) == report
  assert report['fits'] is None and report['flops_per_step'] > report['flops_of_views']
  assert (report['flops_of_views'] > 0) == ('views' in tree)
  assert report['mesh'] == dict(replica=1, data=4, fsdp=4, tensor=1) and report['steps'] > 0
  assert report['state_bytes'] / 4 <= report['hbm']['state'] < report['state_bytes']
  per_example = report['flops_per_step'] / report['examples_per_step'] / report['parameters']
  assert .5 < per_example < 6e4 and report['ceiling_seconds'] > 0
  assert 'computed from shapes, nothing compiled' in words(report)


def tiny(**changes) -> dict:
  return config.load(TINY, [f'{key}={value}' for key, value in changes.items()])


def test_flops_of_a_step_by_hand():
  """SimCLR on a ViT of one block: every dot of 2 x 32 views, three times but for the first layer's input."""
  report = plan(tiny(), 'v5e:2x2', free=True)
  b, n, d = 64, 4, 32  # views, patches of 8 x 8 by 4 x 4, width
  patches, attention = 2 * b * n * 16 * d, 2 * 2 * b * (n + 1) ** 2 * d
  block = 2 * b * (n + 1) * (4 * d * d + 2 * d * 64) + attention
  head = 2 * b * (32 * 32 + 32 * 16)
  similarities = (report['flops_per_step'] - report['flops_of_views'] - 2 * patches - 3 * (block + head)) / (
      2 * 64 * 64 * 16)
  assert similarities == 3  # [64, 64] by 16, and its two gradients


def test_an_estimate_by_hand():
  """Two slices of sixteen v5e: 197 TFLOP/s, 819 GB/s of memory, 50 GB/s a link, 6.25 GB/s outside, 1.5 GHz."""
  where = hardware.target('v5e:4x4', 2)
  gathered = {'kind': 'all-gather', 'async': True, 'group': 16, 'wire_bytes': 1e9}  # two links: 10 ms
  reduced = {'kind': 'all-reduce', 'async': False, 'group': 4, 'wire_bytes': 1e8}  # one link: 2 ms
  r = dict(fits=True, collectives=[gathered, reduced], flops_per_device=1.97e12, flops_int8=0, flops_fp8=0,
           bytes_per_device=8.19e9, bytes_between_slices=6.25e9 * 3e-3, cycles=1.5e9 * 0.02, flops_in_kernels=1.97e11,
           flops_per_step=7e13, flops_of_views=1e13, steps=36_000, examples_per_step=3200, feed={'hosts': 8})
  estimate_tier(r, where, 2.)
  near = lambda *wanted: pytest.approx(list(wanted), rel=1e-9)
  assert r['seconds'] == pytest.approx({'compute': 0.01, 'memory': 0.01, 'network': 0.015, 'exposed': 0.005})
  low, high = 0.02 + 0.001 + 0.005, 0.01 + 0.01 + 0.015  # the compiler's cycles, kernels, exposed; nothing overlaps
  assert r['tier'] == 'estimate' and r['bound_by'] == 'network' and r['ceiling_seconds'] == pytest.approx(0.015)
  assert r['step_seconds'] == near(low, high) and r['examples_per_second'] == near(3200 / high, 3200 / low)
  assert r['mfu'] == near(*(6e13 / (t * 1.97e14 * 32) for t in (high, low)))  # without the views
  assert r['days'] == near(*(10 * t / 24 for t in (low, high)))
  assert r['chip_hours'] == near(320 * low, 320 * high) and r['cost'] == near(640 * low, 640 * high)
  assert r['feed']['examples_per_second_per_host'] == pytest.approx(400 / low)


def test_sizes_of_a_tiny_step_by_hand():
  """A ViT of one block and SimCLR's projector in float32 on four devices."""
  r = plan(tiny(), 'v5e:2x2', free=True)
  block = 4 * 32 * 32 + 4 * 32 + 2 * 2 * 32 + 2 * 32 * 64 + 64 + 32
  vit = 16 * 32 + 32 + 32 + 5 * 32 + block + 2 * 32
  projector = 32 * 32 + 2 * 32 + 32 * 16 + 2 * 16
  assert r['parameters'] == vit + projector == 10_976
  held = 4 * (3 * 10_976 + 2 * (32 + 16) + 5)  # Adam's moments; batch statistics; step, nonfinite, seed, two counts
  assert r['state_bytes'] == r['hbm']['state'] == held and r['hbm']['gradients'] == 4 * 10_976
  assert r['hbm']['batch'] == 8 * (8 * 8 + 3 * 4)  # image, index, epoch, label
  assert r['hbm_bytes_per_device'] == held + 4 * 10_976 + 8 * 76 and r['examples_per_device'] == 8
  assert r['flops_of_views'] == 64 * 4 * 2 * 8 ** 3  # a crop and a blur of each view, along both sides
  assert r['ceiling_seconds'] == pytest.approx(r['flops_per_step'] / (4 * 197e12))
  assert r['feed'] == dict(hosts=1, bytes_per_example=64,
                           examples_per_second_per_host_at_most=pytest.approx(32 / r['ceiling_seconds']))


def test_a_kernel_counts_as_the_products_that_it_replaces():
  """The trace of the kernel itself shows blocks of padded tokens, once for all of a grid."""
  plain, kernel = (plan(tiny(**{'backbone.attention': kind}), 'v5e:2x2', free=True) for kind in ('xla', 'splash'))
  assert kernel['flops_per_step'] == plain['flops_per_step'] and kernel['flops_padded'] == plain['flops_padded']


def test_a_batch_that_does_not_divide_and_a_mesh_that_does_not_fit_are_refused():
  with pytest.raises(ConfigError, match='nearest: 256'):
    plan(tiny(), 'v5e:16x16', free=True)
  with pytest.raises(ConfigError, match='multiply to 16'):
    plan(tiny(mesh="{'data': 3}"), 'v5e:4x4', free=True)
  with pytest.raises(ConfigError, match='multiple of 2'):
    plan(tiny(mesh="{'replica': 1}"), 'v5e:2x2', slices=2, free=True)
  assert plan(tiny(), 'v5e:2x2', slices=2, free=True)['mesh'] == dict(replica=2, data=4, fsdp=1, tensor=1)


def test_what_does_not_fit_says_what_would(monkeypatch):
  tree = tiny(**{'backbone.mlp': 4096})
  used = plan(tree, 'v5e:4x4', free=True)['hbm_bytes_per_device']
  monkeypatch.setitem(hardware.CHIPS, 'v5e', hardware.CHIPS['v5e']._replace(hbm=.3 * used))
  monkeypatch.setattr(flops, 'of_step', lambda *_: flops.Flops(1.))
  report = plan(tree, 'v5e:4x4', free=True)
  assert report['fits'] is False and report['hbm_bytes_per_device'] == used
  fsdp, = (text.split('=')[1].split()[0] for text in report['would_fit'] if text.startswith('--config.mesh.fsdp='))
  held = {n: plan(tree | {'mesh': {'fsdp': n}}, 'v5e:4x4', free=True)['fits'] for n in (int(fsdp), int(fsdp) // 2)}
  assert list(held.values()) == [None, False]


def test_large_arrays_that_stay_whole_and_unsold_shapes_are_told():
  changes = {'backbone.mlp': 9001, 'backbone.width': 36, 'backbone.heads': 2, 'batch': 48}
  warnings = plan(tiny(mesh="{'fsdp': 24}", **changes), 'v5e:4x6', free=True)['warnings']
  assert any('stay whole' in text and '[36, 9001]' in text for text in warnings)
  assert any('v5e:4x6 is not sold; nearest: v5e:' in text for text in warnings)


def test_a_report_that_has_become_worse_is_told(tmp_path):
  old = dict(tier='estimate', topology='v5e:4x4', slices=1, hbm_bytes_per_device=100., wire_bytes_per_device=100.,
             collectives=[dict(kind='all-gather')])
  baseline = tmp_path / 'old.json'
  baseline.write_text(json.dumps(old))
  assert check(old | dict(hbm_bytes_per_device=104.), baseline) == []
  worse = check(old | dict(hbm_bytes_per_device=106., wire_bytes_per_device=111.,
                           collectives=[dict(kind='all-gather'), dict(kind='all-to-all')]), baseline)
  assert [text.split(':')[0] for text in worse] == ['hbm_bytes_per_device', 'wire_bytes_per_device',
                                                    'a new kind of collective']
  with pytest.raises(ConfigError, match='topology'):
    check(old | dict(topology='v5e:8x8'), baseline)


def test_the_command(capsys, monkeypatch, tmp_path):
  flags = [f'--config={TINY}', '--topology=v5e:2x2']
  assert main(['plan', *flags, '--free', '--json']) == 0
  report = json.loads(capsys.readouterr().out)
  assert report['examples_per_step'] == 32 and report['parameters'] > 0
  assert main(['plan', *flags, '--free', '--config.objective.dim=8', f'--check={tmp_path / "none.json"}']) == 1
  assert 'is no report' in capsys.readouterr().err
  assert main(['plan', f'--config={TINY}', '--topology=v9:4x4']) == 1 and 'nearest' in capsys.readouterr().err
  assert main(['plan', *flags, '--config.objektive=1', '--free']) == 1 and 'objektive' in capsys.readouterr().err
  assert main(['plan', f'--config={TINY}']) == 1 and '--topology' in capsys.readouterr().err
  monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
  assert main(['plan', *flags]) == 1 and 'pip install -e .[plan]' in capsys.readouterr().err
  source = "--config.source={'name': 'huggingface', 'path': 'nowhere', 'split': 'train', 'size': None}"
  assert main(['plan', *flags, '--free', source]) == 1 and 'source.size' in capsys.readouterr().err
  assert main(['plan', *flags, '--free', source.replace('None', '8'), '--config.steps=None',
               '--config.epochs=2.']) == 1 and '--examples=N' in capsys.readouterr().err


# Really compiled ------------------------------------------------------------------------------------------------------

needs_libtpu = pytest.mark.skipif(importlib.util.find_spec('libtpu') is None and 'CI' not in os.environ,
                                  reason='pip install -e .[plan]')
SMALL = {  # two models, four machines; tests/plans holds what `plan --json` said of them
    'v5e_4x4': (TINY, {'mesh': "{'data': 2, 'fsdp': 8}"}, 'v5e:4x4', 1),
    'v5e_2x2_twice': (TINY, {'mesh': "{'data': 4}"}, 'v5e:2x2', 2),
    'v6e_2x2': (MAE, {'mesh': "{'fsdp': 4}", 'backbone.scan': True, 'gather_once': True}, 'v6e:2x2', 1),
    'v5p_2x2x2': (MAE, {'mesh': "{'fsdp': 4, 'tensor': 2}", 'backbone.scan': True, 'backbone.dtype': 'bfloat16'},
                  'v5p:2x2x2', 1)}


@needs_libtpu
@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.slow] * (name == 'v6e_2x2')) for name in SMALL])
def test_a_step_is_compiled_for_machines_that_are_not_here_and_costs_what_it_did(name):
  path, changes, topology, slices = SMALL[name]
  tree = config.load(path, [f'{key}={value!r}' if isinstance(value, bool) else f'{key}={value}'
                            for key, value in changes.items()])
  report = plan(tree, topology, slices=slices, price=1.)
  assert report['fits'] is True and report['tier'] == 'estimate' and json.loads(json.dumps(report)) == report
  assert report['hbm']['arguments'] > 0 and report['hbm']['code'] > 0
  low, high = report['step_seconds']
  assert 0 < report['ceiling_seconds'] <= low <= high < 1
  assert report['hbm']['output_not_donated'] < .1 * report['hbm']['arguments']
  assert abs(report['flops_per_device'] * report['devices'] / report['flops_per_step'] - 1) < .5
  assert any(row['group'] > 1 and row['wire_bytes'] > 0 for row in report['collectives'])
  assert (report['bytes_between_slices'] > 0) == (slices > 1)
  assert 'predicted by the compiler, not measured' in words(report)
  assert check(report, ROOT / 'tests' / 'plans' / f'{name}.json') == []


@needs_libtpu
def test_a_kept_program_is_of_the_same_device_and_options(monkeypatch):
  """A plan of a part of a GPU, kept under the same topology, is not taken for one of the whole."""
  asked = []

  def compiled(_, about):
    asked.append(about)
    raise jax.errors.JaxRuntimeError('Used 20.00G of 15.75G hbm')
  monkeypatch.setattr(cache, 'compiled', compiled)
  plan(tiny(compiler_options="{'xla_tpu_flag': True}"), 'v5e:2x2')
  assert asked[0]['topology'] == 'v5e:2x2' and asked[0]['device'] == 'TPU v5 lite' and asked[0]['slices'] == 1
  assert asked[0]['options'] == hardware.CHIPS['v5e'].options | {'xla_tpu_flag': True}


@needs_libtpu
@pytest.mark.slow
def test_what_the_compiler_cannot_fit_is_a_report_too():
  report = plan(tiny(batch=16384, **{'backbone.image': 8, 'backbone.width': 4096, 'backbone.mlp': 32768,
                                     'backbone.depth': 2}), 'v5e:1x1')
  assert report['fits'] is False and report['hbm_bytes_per_device'] > report['hbm_limit_bytes'] > 1.6e10
  assert any(text.startswith('--config.batch=') for text in report['would_fit'])


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize(('topology', 'kind', 'native'), [('v5e:2x2', 'int8', True), ('v5e:2x2', 'fp8', False),
                                                          ('tpu7x:2x2x1', 'fp8', True)])
def test_products_of_eight_bits_stay_such_on_tpus_and_the_second_plan_compiles_nothing(topology, kind, native, tmp_path,
                                                                                      monkeypatch):
  pytest.importorskip('qwix')
  monkeypatch.setenv('PRETRAIN_PLAN_CACHE', str(tmp_path))
  tree = tiny(**{'backbone.quantize': kind, 'backbone.mlp': 4096})
  first, again = plan(tree, topology), plan(tree, topology)
  assert first[f'flops_{kind}'] > .8 * first['flops_per_step']
  assert any(f'are of {kind}' in text for text in first['warnings']) != native
  assert (first['compiled_before'], again['compiled_before']) == (False, True)
  moving = ('compile_cpu_seconds', 'compiled_before')
  assert {k: v for k, v in first.items() if k not in moving} == {k: v for k, v in again.items() if k not in moving}


# Sweep ----------------------------------------------------------------------------------------------------------------

def pretended(changed, *_, **__):
  """A machine of 64 bytes: 16 of state over fsdp, one for each example of a device, a half with rematerialisation."""
  mesh = changed['mesh']
  shares = mesh['data'] * mesh['fsdp'] * mesh['replica']
  each = {'none': 1., 'dots': .5, 'everything': .25}[changed['backbone']['remat']]
  used = 16 / mesh['fsdp'] + each * changed['batch'] / shares
  rate = 100. * (1 if mesh['fsdp'] == 1 else .5) / (1 + (changed['backbone']['remat'] != 'none'))
  return {'fits': used <= 64, 'hbm_bytes_per_device': used, 'hbm_limit_bytes': 64., 'step_seconds': [1., 2.],
          'examples_per_second': [rate, 2 * rate], 'mfu': [.1, .2]}


def test_a_sweep_finds_the_largest_batches_and_what_no_other_beats():
  tree = config.load(TINY, ['batch=64'])
  rows = sweep(tree, 'v5e:2x2', planned=pretended, say=lambda _: None, most=4096)
  assert {(row['policy'], row['mesh']['fsdp']): row['batch'] for row in rows} == {
      ('none', 1): 128, ('dots', 1): 256, ('everything', 1): 512,
      ('none', 2): 128, ('dots', 2): 256, ('everything', 2): 512,
      ('none', 4): 128, ('dots', 4): 256, ('everything', 4): 512}
  best = [(row['policy'], row['mesh']['fsdp']) for row in rows if row['pareto']]
  assert best == [('none', 1), ('everything', 1)]
  text = sweeping(rows, 'plan')
  assert text.count('* ') == 3 and '--config.backbone.remat=everything --config.batch=512' in text


def test_a_sweep_halves_a_batch_that_does_not_fit_and_says_where_nothing_does():
  tree = config.load(TINY, ['batch=1024'])
  rows = sweep(tree, 'v5e:2x2', planned=pretended, say=lambda _: None)
  assert {row['batch'] for row in rows if row['policy'] == 'none'} == {128}
  nothing = lambda *args, **more: pretended(*args, **more) | {'fits': False}
  rows = sweep(tree, 'v5e:2x2', planned=nothing, say=lambda _: None)
  assert all(row['batch'] is None and not row['pareto'] for row in rows) and 'nothing fits' in sweeping(rows, 'plan')


@pytest.mark.slow
@needs_libtpu
def test_a_sweep_compiles_for_a_pod(monkeypatch):
  monkeypatch.setattr('pretrain.plan.sweep.POLICIES', ('none', 'dots'))
  rows = sweep(config.load(TINY, []), 'v5e:1x1', most=64, say=lambda _: None)
  assert [row['batch'] for row in rows] == [64, 64] and any(row['pareto'] for row in rows)
