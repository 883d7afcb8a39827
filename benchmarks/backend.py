"""Where XLA on CPUs is behind PyTorch, one operation at a time: forward passes and gradients of what steps consist of.

  python benchmarks/backend.py --peers=PEERS/bin/python [--threads=1] [--rounds=5] [--out=backend.json]

Plain `jax.numpy` and `jax.lax` in one process, and for "our ..." what `pretrain/models` makes of the same operation;
plain PyTorch in the other (an environment as for `peers.py`), on the same cores, in turns, the one whose turn it is
not stopped. A round does an operation as often as fills a tenth of a second and gives the CPU time of one; the ratio
is that of rounds beside each other, above 1 ours is faster. GFLOP/s are of products alone, the least that the
operation can do without Winograd's algorithm. A gradient is of the sum of squares, by what its name says, with the
forward pass.
"""
import argparse
import functools
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from peers import Child, serve  # noqa: E402  the benchmark beside this one

TOKENS, HEADS, IMAGES = 8 * 197, 6, 64  # of a ViT-S/16 with 8 images of 224 pixels; of a ResNet with 64 of 32
# name: (shapes of the operands, FLOPs, which operands the gradient is by)
OPERATIONS = {
    'square product': ([(2048, 2048)] * 2, 2 * 2048 ** 3, None),
    'linear': ([(TOKENS, 384), (384, 1536)], 2 * TOKENS * 384 * 1536, None),
    **{f'{whose}linear, gradients': ([(TOKENS, 384), (384, 1536)], 6 * TOKENS * 384 * 1536, (0, 1))
       for whose in ('', 'our ')},
    'attention': ([(8, 197, 3, HEADS, 64)], 4 * 8 * HEADS * 197 * 197 * 64, None),
    **{f'{whose}attention, gradients': ([(8, 197, 3, HEADS, 64)], 12 * 8 * HEADS * 197 * 197 * 64, (0,))
       for whose in ('', 'our ')},
    **{f'{whose}convolution of {width} channels{words}': (
        [(IMAGES, side, side, width), (3, 3, width, width)], count * 2 * IMAGES * side * side * 9 * width * width, by)
       for whose in ('', 'our ') for width, side in ((64, 32), (256, 8))
       for words, count, by in (('', 1, None), (', by images', 2, (0,)), (', by kernel', 2, (1,)))},
    **{f'{whose}{name}': (shapes, 0, tuple(range(len(shapes)))) for name, shapes in (
        ('layer norm, gradients', [(TOKENS, 384), (384,), (384,)]), ('gelu, gradient', [(TOKENS, 1536)]),
        ('batch norm and relu, gradients', [(IMAGES, 32, 32, 64), (64,), (64,)])) for whose in ('', 'our ')},
}


def kind(name: str) -> str:
  """The key of an operation's function: its first word, or, of ours, the first two."""
  return ' '.join(name.replace(',', '').split(' ')[:1 + name.startswith('our ')])


def ours(spec: dict):
  """What a child answers for JAX, plain or this library's: facts, and a round of the operation of the spec."""
  import jax
  import jax.numpy as jnp

  from pretrain.models import layers
  from pretrain.models.attention import attend
  from pretrain.models.convolutions import convolution
  from pretrain.models.functional import functional
  conv = functools.partial(jax.lax.conv_general_dilated, window_strides=(1, 1), padding='SAME',
                           dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  norm = functional(lambda rngs: layers.layer_norm(384, dtype=spec['dtype'], rngs=rngs))

  def attention(qkv):
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    weights = jax.nn.softmax(jnp.einsum('bqhd,bkhd->bhqk', q, k) / 8)
    return jnp.einsum('bhqk,bkhd->bqhd', weights, v)

  def normalized(x, gain, offset, axes):
    x = x - x.mean(axes, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + 1e-6) * gain + offset

  functions = {
      'square': jnp.matmul, 'linear': jnp.matmul, 'attention': attention, 'convolution': conv,
      'layer': functools.partial(normalized, axes=(-1,)), 'gelu': functools.partial(jax.nn.gelu, approximate=False),
      'batch': lambda *x: jax.nn.relu(normalized(*x, axes=(0, 1, 2))),
      'our linear': layers.product, 'our attention': attend, 'our gelu': layers.gelu,
      'our convolution': lambda x, kernel: convolution(x, kernel, 1),
      'our layer': lambda x, gain, offset: norm.apply({'scale': gain, 'bias': offset}, {}, lambda m: m(x))[0],
      'our batch': lambda *x: jax.nn.relu(layers.normalized(*x, jnp.zeros(64), None, 1e-6)[0])}

  def operation(name: str, dtype: str):
    shapes, _, by = OPERATIONS[name]
    given = [jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate(shapes)]
    f = functions[kind(name)]
    call = jax.jit(f if by is None else jax.grad(lambda *x: jnp.square(f(*x)).sum(), by))
    return lambda: jax.block_until_ready(call(*given))

  return timed(operation, spec)


def peers(spec: dict):
  """The same of PyTorch, images in the layout channels_last."""
  import torch
  from torch.nn import functional as F
  torch.set_num_threads(spec['threads'])
  functions = {'square': torch.matmul, 'linear': torch.matmul, 'gelu': F.gelu,
               'attention': lambda qkv: F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4)).transpose(1, 2),
               'convolution': functools.partial(F.conv2d, padding=1),
               'layer': lambda x, gain, offset: F.layer_norm(x, gain.shape, gain, offset, 1e-6),
               'batch': lambda x, *p: F.relu(F.batch_norm(x, None, None, *p, training=True))}

  def operation(name: str, dtype: str):
    shapes, _, by = OPERATIONS[name]
    f = functions[kind(name.removeprefix('our '))]
    given = [torch.randn(shape) for shape in shapes]
    if len(shapes[0]) == 4:  # images and kernels
      given = [x.permute(*((0, 3, 1, 2) if i == 0 else (3, 2, 0, 1))) if x.ndim == 4 else x
               for i, x in enumerate(given)]
      given = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in given]
    given = [x.to(getattr(torch, dtype)).requires_grad_(by is not None and i in by) for i, x in enumerate(given)]

    def call():
      if by is None:
        with torch.no_grad():
          return f(*given)
      return torch.autograd.grad(f(*given).square().sum(), [given[i] for i in by])

    return call

  return timed(operation, spec)


def timed(operation, spec: dict):
  """The facts and rounds of a child for `serve`: a round does the operation of the spec as often as it takes."""
  call = operation(spec['operation'], spec['dtype'])
  for _ in range(3):
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
  times = max(1, round(0.1 / once))
  return {'times': times}, lambda: [call() for _ in range(times)]


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--peers', help='the Python of an environment with torch')
  parser.add_argument('--child', choices=('ours', 'peers'), help=argparse.SUPPRESS)
  parser.add_argument('--threads', type=int, default=1)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', default='backend.json')
  args = parser.parse_args()
  if args.child:
    return serve({'ours': ours, 'peers': peers}[args.child])
  if not args.peers:
    parser.error('--peers: wanted the Python of an environment with torch')
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.threads])  # the children's too
  rows = []
  print('| operation | dtype | ours, GFLOP/s | PyTorch, GFLOP/s | ours, ms | PyTorch, ms | ratio |')
  print(f'{7 * "|---"}|')
  for name, (_, flops, _) in OPERATIONS.items():
    for dtype in ('float32', 'bfloat16'):
      spec = dict(operation=name, dtype=dtype, threads=args.threads)
      start = lambda side, python: Child([python, __file__, f'--child={side}'], spec)  # noqa: B023
      with start('ours', sys.executable) as a, start('peers', args.peers) as b:
        rounds = [[child.ask()['cpu_seconds'] / child.facts['times'] for child in (a, b)]
                  for _ in range(1 + args.rounds)][1:]
      ratios = [theirs / mine for mine, theirs in rounds]
      took = [statistics.median(column) for column in zip(*rounds, strict=True)]
      rows.append({'operation': name, 'dtype': dtype, 'flops': flops, 'seconds': took, 'ratios': ratios})
      rates = [f'{flops / t / 1e9:.0f}' if flops else '' for t in took]
      print(f'| {name} | {dtype} | {" | ".join(rates)} | {" | ".join(f"{1e3 * t:.2f}" for t in took)} | '
            f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |', flush=True)
      Path(args.out).write_text(json.dumps({'threads': args.threads, 'rows': rows}, indent=2) + '\n')
  return None


if __name__ == '__main__':
  main()
