"""What the compiler says of attention by XLA and by kernels, and of packed crops, for a machine that is not here.

  python benchmarks/attention.py --topology=v5e:2x2 [--tokens=197,257,1025] [--batch=8] [--width=1024] [--heads=16]
  python benchmarks/attention.py --topology=v5e:2x2 --packed

A row is a program with its backward pass, in bfloat16: the attention branch of a ViT's block (norm, q, k, v, attention,
output) on `batch` images a device; with --packed a whole block on 12 images a device of two crops of 257 tokens and
eight of 50, parameters over fsdp. Temporaries; HBM traffic; the compiler's cycles as time, plus the products inside
kernels at the chip's peak, which is the least they can take; products and traffic one after the other. Nothing is
measured on a chip. About half a minute of CPU time a row; wants what `plan` wants for the topology.
"""
import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[1]))
from pretrain.machine import (
  hardware,
  sharding,  # noqa: E402
)
from pretrain.models.functional import functional  # noqa: E402
from pretrain.models.vit import Block, vit  # noqa: E402
from pretrain.plan import hlo  # noqa: E402
from pretrain.plan.plan import devices  # noqa: E402

CROPS = (2, 224), (8, 98)  # of an image: how many, their side in pixels


def row(name: str, where: hardware.Target, mesh, build, call, shapes, split: bool) -> None:
  """Prints what the compiler says of `call(module, *arrays)` and its gradient in parameters and arrays."""
  def step(params, arrays, gradients):
    with sharding.laid_on(mesh):
      return jax.vjp(lambda p, x: net.apply(p, {}, lambda m: call(m, *x))[0], params, arrays)[1](gradients)

  with sharding.laid_on(mesh):
    net = functional(build)
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
  whole = jax.tree.map(lambda _: sharding.replicated(mesh), params)
  params = sharding.abstract(params, sharding.shardings(params, mesh, net.spec) if split else whole)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding.batch_sharding(mesh)) for shape in shapes]
  compiled = jax.jit(step, out_shardings=jax.tree.map(lambda x: x.sharding, (params, arrays))).lower(
      params, arrays, arrays).compile()
  costs, chip = hlo.costs(compiled.as_text()), where.chip
  inside = costs.inside / chip.flops
  cycles = f'{(costs.cycles / chip.clock + inside) * 1e3:.2f}' if costs.cycles and chip.clock else '-'
  print(f'{name:30} temporaries {compiled.memory_analysis().temp_size_in_bytes / 1e6:.0f} MB, traffic '
        f'{costs.bytes / 1e9:.3f} GB, {costs.flops / 1e9:.1f} GFLOPs, {cycles} ms by cycles, '
        f'{(costs.flops / chip.flops + costs.bytes / chip.bandwidth) * 1e3:.2f} ms by sums, received '
        f'{sum(one.wire for one in costs.collectives) / 1e6:.1f} MB, kernels {costs.kernels}', flush=True)


def branches(where: hardware.Target, kinds, tokens: list[int], batch: int, width: int, heads: int) -> None:
  mesh = sharding.make_mesh(devices=devices(where)[:1])
  for n in tokens:
    for kind in kinds:
      row(f'{n} tokens, {kind}', where, mesh,
          lambda rngs, kind=kind: Block(width, heads, 128, dtype='bfloat16', attention=kind, rngs=rngs),
          lambda m, x: [x + m.attend(x)], [(batch, n, width)], split=False)


def packed(where: hardware.Target, kinds, width: int, heads: int) -> None:
  found = devices(where)
  mesh = sharding.make_mesh(devices=found, data=1, fsdp=len(found))
  b = 12 * len(found)
  shapes = [(b * v, (side // 14) ** 2, width) for v, side in CROPS]
  one_by_one = lambda m, *crops: [m.encode(x, train=True)[:, 1:] for x in crops]
  together = lambda m, *crops: [x[:, 1:] for x in m.together(crops, b, train=True)]
  for name, kind, call in (('one by one', 'xla', one_by_one), *((f'packed, {k}', k, together) for k in kinds)):
    build = vit(image=224, channels=3, patch=14, width=width, depth=1, heads=heads, mlp=4 * width, dtype='bfloat16',
                attention=kind)
    row(name, where, mesh, build, call, shapes, split=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--topology', required=True)
  parser.add_argument('--packed', action='store_true')
  parser.add_argument('--tokens', default='197,257,1025')
  for name, default in (('batch', 8), ('width', 1024), ('heads', 16)):
    parser.add_argument(f'--{name}', type=int, default=default)
  args = parser.parse_args()
  where = hardware.target(args.topology)
  kinds = ('xla', 'cudnn' if where.gpu else 'splash')
  if args.packed:
    packed(where, kinds, args.width, args.heads)
  else:
    branches(where, kinds, [int(n) for n in args.tokens.split(',')], args.batch, args.width, args.heads)


if __name__ == '__main__':
  main()
