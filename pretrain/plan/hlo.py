"""Reads the text of a compiled program: what every device does in a step, each loop times its trips.

`cost_analysis` counts the body of a loop once and says nothing of communication. Tried on the text of jaxlib 0.12.0.1
for CPUs, of jax-cuda13-plugin 0.12.0.1 and of libtpu 0.0.50 and 0.0.52.
"""
import collections
import functools
import math
import re
from typing import NamedTuple

from pretrain.machine.flops import taps

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'ragged-all-to-all', 'collective-permute',
         'collective-broadcast')
BITS = dict(pred=8, bf16=16, c64=64, c128=128) | {
    f'{kind}{bits}': bits for kind in 'suf' for bits in (2, 4, 8, 16, 32, 64)}
# products of [n, d] and [n, d], or as large, in the kernels of `models.attention`, by target or start of their name;
# backward the weights again, then the gradients of v, of the weights, of q and of k
KERNELS = {'splash_mha_fwd': 2, 'splash_mha_dkv': 5, '__cudnn$fmhaSoftmax': 2, '__cudnn$fmhaSoftmaxBackward': 5,
           '__cudnn$fmhaScaleBiasSoftmax': 2, '__cudnn$fmhaScaleBiasSoftmaxBackward': 5}
# which of (first operand, second, result) are image, kernel and output of a convolution, in a call of cuDNN for it
CUDNN = {'__cudnn$convForward': (0, 1, 2), '__cudnn$convBackwardInput': (2, 1, 0),
         '__cudnn$convBackwardFilter': (0, 2, 1)}
FREE = {'parameter', 'get-tuple-element', 'tuple', 'bitcast', 'constant', 'while', 'conditional', 'call', 'after-all',
        'partition-id', 'replica-id', 'iota', 'opt-barrier', 'domain', 'add-dependency'}
INSIDE = {'fusion', 'fusion-start', 'call-start', 'async-start'}  # whose traffic is that of what they call


class Instruction(NamedTuple):
  """`%name = type op(operands), attributes`."""
  name: str
  type: str
  op: str
  operands: tuple[str, ...]
  line: str
  root: bool


Module = dict[str, list[Instruction]]  # by computation


class Collective(NamedTuple):
  """One instruction; the same on every device.

  hidden: whether it is split into a start and a done, between which other work can run.
  group:  devices that take part together.
  count:  executions a step.
  wire:   bytes that a device receives a step, by the textbook ring: an all-reduce is two passes.
  """
  kind: str
  hidden: bool
  group: int
  count: int
  wire: float
  source: str


class Costs(NamedTuple):
  """A step of one device.

  flops:   of dots and convolutions.
  f32:     those of them with a float32 operand.
  int8, fp8: those whose two operands are such.
  bytes:   to and from HBM; an estimate: an operand that is sliced counts for the slice, what stays in VMEM not.
  cycles:  the compiler's own estimates for what it runs, communication apart; 0 where it gives none.
  slices:  bytes that a device sends to other slices of a TPU, over the data centre's network.
  loops:   loops whose trips the text does not say, counted once.
  kernels: custom calls, by target; those of `KERNELS` by their own name.
  inside:  FLOPs of `KERNELS`, with a head's features rounded up to 128; without that they are in `flops` too.
  """
  flops: float
  f32: float
  bytes: float
  cycles: float
  collectives: list[Collective]
  slices: float
  loops: int
  kernels: dict[str, int]
  int8: float
  fp8: float
  inside: float


def costs(text: str) -> Costs:
  """Adds up a program's text, `compiled.as_text()`."""
  module, entry = parse(text)
  runs, fused, loops = executions(module, entry)
  flops = f32 = int8 = fp8 = traffic = cycles = slices = inside = 0.
  kernels = collections.Counter()
  for name, instructions in module.items():
    times, types = runs(name), {i.name: i.type for i in instructions}
    for i in instructions if times else ():
      target = re.search(r'custom_call_target="([^"]+)"', i.line) if i.op == 'custom-call' else None
      if i.op in ('dot', 'convolution') or target and target[1] in CUDNN:
        roles = CUDNN.get(target[1] if target else '', (0, 1, 2))
        mine = times * (_dot(i, types) if i.op == 'dot' else _convolution(i, types, roles))
        kinds = [types[x].partition('[')[0] for x in i.operands[:2]]
        flops, f32 = flops + mine, f32 + mine * ('f32' in kinds)
        int8, fp8 = int8 + mine * (kinds == ['s8', 's8']), fp8 + mine * all(kind.startswith('f8') for kind in kinds)
      if i.op == 'send' and 'megascale' in i.line:
        slices += times * size(i.type.partition(', u32')[0])
      if target:
        kernel = next((name for name in KERNELS if i.name.startswith(name)), target[1])
        kernels[kernel] += times
        if kernel in KERNELS:
          mine, head, half = _attention(i)
          mine *= times * KERNELS[kernel]
          flops, f32, inside = flops + mine, f32 + mine * (not half), inside + mine * (-(-head // 128) * 128 / head)
      if name not in fused:
        traffic += times * _traffic(module, i, types)
        if found := re.search(r'"estimated_cycles":"(\d+)"', i.line):
          cycles += times * int(found[1])
  return Costs(flops, f32, traffic, cycles, collectives(text, module, runs, fused), slices, loops, dict(kernels),
               int8, fp8, inside)


# The text -------------------------------------------------------------------------------------------------------------

LINE = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)')
SHAPE = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?')


def parse(text: str) -> tuple[Module, str]:
  """The computations of a program, and the name of the one that runs."""
  module, body, entry = {}, None, ''
  for line in text.splitlines():
    if body is not None and (found := LINE.match(line)):
      root, name, kind, op, rest = found.groups()
      body.append(Instruction(name, kind, op, tuple(re.findall(r'%([\w.\-]+)', rest.partition(')')[0])), line,
                              bool(root)))
    elif found := re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\{\s*$', line):
      body = module[found[2]] = []
      entry = found[2] if found[1] else entry
  return module, entry


def shapes(kind: str) -> list[tuple[str, tuple[int, ...], str]]:
  """[(dtype, sides, layout)] of a type, a tuple's one by one."""
  found = SHAPE.findall(re.sub(r'/\*.*?\*/', '', kind))
  return [(d, tuple(int(n) for n in sides.split(',') if n), layout) for d, sides, layout in found
          if d in BITS or d.startswith('f8')]


def size(kind: str, hbm: bool = False) -> float:
  """Bytes of a type; with `hbm` of its parts in HBM alone: S(1) and up in a layout are other memories."""
  return sum(BITS.get(d, 8) / 8 * math.prod(sides) for d, sides, layout in shapes(kind)
             if not (hbm and re.search(r'S\([1-9]\)', layout)))


def parts(kind: str) -> list[str]:
  """The types that a tuple's type names, one level down."""
  out, depth = [''], 0
  for c in kind[1:-1]:
    depth += (c in '([{') - (c in ')]}')
    if c == ',' and not depth:
      out.append('')
    else:
      out[-1] += c
  return out


def result(i: Instruction) -> str:
  """The type of what an instruction gives, of a start what its done gives."""
  if not i.op.endswith('-start') or i.op == 'all-reduce-start' and not i.type.startswith('(('):  # so it is on TPUs
    return i.type
  return parts(i.type)[i.op != 'copy-start']  # (to, from, ...) or (operands, result, ...)


def attribute(i: Instruction, key: str) -> str | None:
  found = re.search(rf'\b{key}=%?([\w.\-]+)', i.line)
  return found[1] if found else None


def calls(module: Module, i: Instruction) -> list[tuple[str, int | None]]:
  """The computations that an instruction runs, and how often; None: a loop of unknown length.

  Of a conditional with a branch that moves next to nothing it is that one: the other is for what is rare
  (`layers.normalized`).
  """
  if i.op == 'while':
    n = _trips(module, i)
    return [(c, n) for c in (attribute(i, 'body'), attribute(i, 'condition')) if c]
  names = [attribute(i, key) for key in ('calls', 'to_apply')]
  if found := re.search(r'(?:branch_computations|called_computations)=\{([^}]*)\}', i.line):
    names += [name.strip().lstrip('%') for name in found[1].split(',')]
  names += [attribute(i, key) for key in ('true_computation', 'false_computation')]
  names = [name for name in names if name in module]
  if i.op == 'conditional':
    moved = {name: _moved(module, name) for name in names}
    least = min(moved, key=moved.__getitem__)
    names = [least] if moved[least] < .01 * max(moved.values()) else names
  return [(name, 1) for name in names]


def executions(module: Module, entry: str):
  """(how often a computation runs, those that are part of one instruction, the number of loops of unknown length)."""
  callers, fused, loops = collections.defaultdict(list), set(), 0
  for name, instructions in module.items():
    for i in instructions:
      for callee, times in calls(module, i):
        loops += times is None and callee == attribute(i, 'body')
        callers[callee].append((name, 1 if times is None else times))
        if i.op not in ('while', 'conditional', 'call'):
          fused.add(callee)

  @functools.cache
  def runs(name: str) -> int:
    return 1 if name == entry else sum(runs(caller) * times for caller, times in callers[name])

  return runs, fused, loops


def _trips(module: Module, i: Instruction) -> int | None:
  if found := re.search(r'"known_trip_count":\{"n":"(\d+)"', i.line):
    return int(found[1])
  condition = module.get(attribute(i, 'condition') or '', [])  # TPU programs: counts from 0, says 'less than' what
  limits = [int(n) for c in condition for n in re.findall(r' s32\[\]\S* constant\((\d+)\)', c.line)]
  return limits[0] if len(limits) == 1 and any('direction=LT' in c.line for c in condition) else None


# Arithmetic and memory ------------------------------------------------------------------------------------------------

def _dot(i: Instruction, types: dict[str, str]) -> float:
  (_, out, _), (_, left, _) = shapes(i.type)[0], shapes(types[i.operands[0]])[0]
  found = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', i.line)
  return 2. * math.prod(out) * math.prod(left[int(d)] for d in found[1].split(',') if d) if found else 0.


def _attention(i: Instruction) -> tuple[float, int, bool]:
  """FLOPs of one product, features of a head, whether in half precision: of a kernel that gives [b, heads, n, head]."""
  kind, (b, heads, n, head), _ = next(s for s in shapes(i.type) if len(s[1]) == 4)
  return 2. * b * heads * n * n * head, head, kind != 'f32'


def _convolution(i: Instruction, types: dict[str, str], roles: tuple[int, int, int]) -> float:
  """TPU programs write dots as convolutions too, a batch of them with the batch as an image's side; roles: `CUDNN`."""
  known = [shapes(t)[0][1] for t in (*(types[x] for x in i.operands[:2]), i.type)]
  left, right, out = (known[role] for role in roles)
  (images, kernel, result), = re.findall(r'dim_labels=(\w+)_(\w+)->(\w+)', i.line)
  window = dict(re.findall(r'(\w+)=([\dx_\-]+)', (re.search(r'window=\{([^}]*)\}', i.line) or ['', ''])[1]))
  n, reached = sum(c.isdigit() for c in images), 1
  given = lambda key, default: window[key].split('x') if key in window else [default] * n
  for d, (length, stride, pad, spread, dilation) in enumerate(zip(
      given('size', '1'), given('stride', '1'), given('pad', '0_0'), given('lhs_dilate', '1'), given('rhs_dilate', '1'),
      strict=True)):
    reached *= taps(left[images.index(str(d))], out[result.index(str(d))], int(length), stride=int(stride),
                    low=int(pad.split('_')[0]), spread=int(spread), dilation=int(dilation))
  return 2. * out[result.index('b')] * out[result.index('f')] * right[kernel.index('i')] * reached


def _traffic(module: Module, i: Instruction, types: dict[str, str]) -> float:
  """Bytes of HBM that an instruction reads and writes."""
  operand = lambda k: types.get(i.operands[k], '') if k < len(i.operands) else ''
  if i.op in FREE or i.op.endswith('-done'):
    return 0.
  if i.op.endswith('-update'):  # on the SparseCores it gives operands to a start that has none
    return size(i.type, True) - size(operand(0), True)
  if i.op in ('copy-start', 'slice-start', 'dynamic-slice-start', 'gather-start'):  # into VMEM: read alone
    return size(result(i)) * (size(operand(0), True) > 0) + size(result(i), True)
  if i.op in ('slice', 'dynamic-slice', 'gather'):
    return 2 * size(i.type, True)
  if i.op.startswith('dynamic-update-slice'):
    return 2 * size(operand(1), True)
  inside = attribute(i, 'calls') or attribute(i, 'to_apply')
  if i.op in INSIDE and inside in module:
    read = sum(_read(module, inside, k, size(operand(k), True)) for k in range(len(i.operands)))
    return read + _written(module, inside, result(i))
  if i.op.endswith('-start') and i.op != 'all-reduce-start':  # a tuple of operands and results
    return size(i.type, True)
  if i.op == 'custom-call' and re.search(r'ConcatBitcast|AssumeGather', i.line):
    return 0.
  return size(result(i), True) + sum(size(operand(k), True) for k in range(len(i.operands)))


def _moved(module: Module, name: str) -> float:
  """Bytes of HBM that a computation reads and writes, what it calls included, loops once."""
  types = {i.name: i.type for i in module[name]}
  return sum(_traffic(module, i, types) + (0. if i.op in INSIDE else sum(
      _moved(module, callee) for callee, _ in calls(module, i))) for i in module[name])


def _read(module: Module, inside: str, k: int, full: float) -> float:
  """What a fusion reads of its operand k: all of it, or the slices that it takes."""
  start = next((i.name for i in module[inside] if i.op == 'parameter' and f' parameter({k})' in i.line), None)
  if not full or start is None:
    return full
  names, read = [start], 0.
  for name in names:
    for i in module[inside]:
      if name not in i.operands:
        continue
      if i.op in ('slice', 'dynamic-slice', 'gather'):
        read += size(i.type)
      elif i.op == 'bitcast':
        names.append(i.name)
      elif i.op == 'fusion':
        read += _read(module, attribute(i, 'calls') or '', i.operands.index(name), full)
      elif i.op != 'dynamic-update-slice' or i.operands[0] != name:  # that one is written in place
        return full
  return min(read, full)


def _written(module: Module, inside: str, kind: str) -> float:
  """What a fusion writes: its results, of those that it updates in place only the update."""
  found = {i.name: i for i in module[inside]}
  root = next(i for i in module[inside] if i.root)
  outputs = [found[x] for x in root.operands if x in found] if root.op == 'tuple' else [root]
  total = size(kind, True)
  for i in outputs:
    while i.op == 'bitcast' and i.operands[0] in found:
      i = found[i.operands[0]]
    if i.op == 'dynamic-update-slice' and i.operands[1] in found and size(i.type, True):
      total -= size(i.type, True) - size(found[i.operands[1]].type)
  return max(total, 0.)


# Communication --------------------------------------------------------------------------------------------------------

def collectives(text: str, module: Module, runs, fused: set[str]) -> list[Collective]:
  """Every collective, once.

  The TPU compiler hides an all-gather by writing it into several fusions: one that starts it, those that go on with it
  beside other work, one that ends it. They share a channel, and `AsyncCollectiveStart` stands in the first. What runs
  on the SparseCores is a computation of its own, between a call-start and a call-done; GPUs reduce small arrays in a
  fusion, between a fusion-start and a fusion-done.
  """
  beside = {callee for instructions in module.values() for i in instructions if i.op.endswith('-start')
            for callee, _ in calls(module, i)}
  where, found, channels = sources(text), [], collections.defaultdict(list)
  for name, instructions in module.items():
    types = {i.name: i.type for i in instructions}
    starts = name in beside or any('AsyncCollectiveStart' in i.line for i in instructions)
    for i in instructions if runs(name) else ():
      kind = i.op.removesuffix('-start')
      if kind not in KINDS:
        continue
      if kind == 'all-reduce' and name.startswith('all-reduce-scatter'):  # how they write a reduce-scatter
        kind = 'reduce-scatter'
      given = sum(size(types.get(x, '')) for x in i.operands)
      frame = int((re.search(r'stack_frame_id=(\d+)', i.line) or [0, 0])[1])
      one = Collective(kind, i.op.endswith('-start') or starts, group(i.line), runs(name), 0., where(frame))
      one = one._replace(wire=one.count * _wire(kind, one.group, given, size(result(i))))
      found.append(one)
      if name in fused and (channel := re.search(r'channel_id=(\d+)', i.line)):
        channels[kind, channel[1]].append(one)
  for seen in channels.values():
    if any(one.hidden for one in seen):
      first = next(one for one in seen if one.hidden)
      found = [one for one in found if one is first or not any(one is other for other in seen)]
  return found


def _wire(kind: str, n: int, given: float, result: float) -> float:
  if kind == 'collective-permute':
    return given
  passes = {'all-reduce': 2 * result, 'reduce-scatter': given}.get(kind, result)
  return passes * (n - 1) / n if n > 1 else 0.


def group(line: str) -> int:
  """Devices of a group of a collective, of any of the three ways of writing them; 0: all of them, or pairs."""
  if found := re.search(r'replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}', line):  # mesh['data'=16] {'data'}
    sides = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
    parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
    return math.prod(int(part or sides[axis]) for axis, part in parts)
  if found := re.search(r'replica_groups=\[([\d,]+)\]<=', line):  # [groups, devices of one]
    return int(found[1].split(',')[-1])
  if found := re.search(r'replica_groups=\{\{([\d,]*)\}', line):
    return found[1].count(',') + 1
  return 0


def sources(text: str):
  """A function from a stack frame's number to the innermost line of an objective, a model, a loss or the views."""
  table = lambda title: dict(re.findall(r'^(\d+) (.*)$', (re.search(rf'^{title}\n((?:\d+ .*\n)*)', text, re.M)
                                                         or ['', ''])[1], re.M))
  files, places, frames = table('FileNames'), table('FileLocations'), table('StackFrames')
  number = lambda line, key: int((re.search(rf'{key}=(\d+)', line) or [0, 0])[1])

  def where(frame: int) -> str:
    outer = ''
    while frame > 0 and (line := frames.get(str(frame))):
      place = places.get(str(number(line, 'file_location_id')), '')
      file = files.get(str(number(place, 'file_name_id')), '').strip('"')
      found = re.search(r'(pretrain/(\w+)\S*)$', file)
      if found:
        here = f'{found[1]}:{number(place, "line")}'
        if not found[1].endswith(('pretrain/step.py', 'models/functional.py')):
          return here
        outer = outer or here
      frame = number(line, 'parent_frame_id') - 1
    return outer

  return where
