"""What each lever of docs/architecture.md costs and saves, beside the same step without it.

  python benchmarks/levers.py [--rounds=5] [--only=TEXT]

Prints a table. Every round times each step of a group once, one after the other; a step's figure is its shortest round
over the shortest of the plain one, which the load of the machine moves least, and in brackets the smallest and the
largest ratio of a round. Temporaries are XLA's (`memory_analysis`). Compiling is tracing and compiling, with an empty
cache of programs and with one that has it.
"""
import argparse
import copy
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from step import prepared, seconds  # noqa: E402  (the benchmark beside this one)

from pretrain import config  # noqa: E402
from pretrain.machine import sharding  # noqa: E402

SIMCLR = dict(views=dict(name='simclr', size=32, scale=(0.2, 1.0), jitter=0.5, blur=0.0),
              objective=dict(name='simclr', hidden=(128,), dim=64, temperature=0.2),
              optimizer=dict(name='adamw', weight_decay=0.05))
GROUPS = {  # what is plain, side of its images, its config, overrides of each lever
    'SimCLR, ViT of 4 blocks 128 wide, 64 images of 32 x 32': (32, dict(
        batch=64, backbone=dict(name='vit', image=32, channels=3, patch=4, width=128, depth=4, heads=2, mlp=512),
        **SIMCLR), {
            'scan': ['backbone.scan=True'],
            'remat dots': ['backbone.remat=dots'],
            'remat everything': ['backbone.remat=everything'],
            'remat offload (to the same memory here)': ['backbone.remat=offload'],
            'scan, remat everything': ['backbone.scan=True', 'backbone.remat=everything'],
            'bfloat16': ['backbone.dtype=bfloat16'],
            'int8': ['backbone.quantize=int8'],
            'drop_path 0.5, drop_group 1': ['backbone.drop_path=0.5'],
            'drop_path 0.5, drop_group 4': ['backbone.drop_path=0.5', 'backbone.drop_group=4'],
        } | {f'grad_cache {n}': [f'grad_cache={n}'] for n in (2, 4, 8, 16)}),
    'SimCLR, ViT of 1 block 32 wide, 1024 images of 8 x 8': (8, dict(
        batch=1024, backbone=dict(name='vit', image=8, channels=3, patch=4, width=32, depth=1, heads=2, mlp=64),
        **copy.deepcopy(SIMCLR) | {'views': SIMCLR['views'] | {'size': 8}}), {
            f'chunk {n}': [f'objective.chunk={n}'] for n in (512, 128)}),
    'MAE, ViT of 4 blocks 128 wide, 64 images of 32 x 32': (32, dict(
        batch=64, views=dict(name='mae', size=32, scale=(0.2, 1.0)), optimizer=dict(name='adamw', weight_decay=0.05),
        backbone=dict(name='vit', image=32, channels=3, patch=4, width=128, depth=4, heads=2, mlp=512,
                      positions='sincos'),
        objective=dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2,
                       standardize=True)), {
            f'accumulate {n}': [f'accumulate={n}'] for n in (2, 4, 8)}),
}


class Step:
  """A compiled step; calling it makes one."""

  def __init__(self, side: int, tree: dict, overrides: list[str]):
    tree = copy.deepcopy(tree)
    config.override(tree, overrides)
    run = prepared(side, tree)
    compile_it = lambda: run.training.step.lower(run.training.abstract, run.abstract_batch).compile()
    before = time.perf_counter()
    self.compiled = compile_it()
    self.cold = time.perf_counter() - before
    jax.clear_caches()
    self.cached = seconds(compile_it)
    self.temporary = self.compiled.memory_analysis().temp_size_in_bytes
    with run.batches(start=0, bad_records=None) as batches:
      self.batch = sharding.place(next(batches), run.mesh)
    self.state = run.training.init()

  def __call__(self):
    self.state, metrics = self.compiled(self.state, self.batch)
    jax.block_until_ready((self.state, metrics))


def table(rounds: int, only: str) -> Iterator[str]:
  yield '| | step | temporaries, MiB | compiling, s | from the cache, s |\n|---|---|---|---|---|'
  for group, (side, tree, levers) in GROUPS.items():
    chosen = {name: flags for name, flags in levers.items() if only in name
              and (name != 'int8' or importlib.util.find_spec('qwix'))}
    if not chosen:
      continue
    steps = {name: Step(side, tree, flags) for name, flags in ({'plain': []} | chosen).items()}
    took = [{name: seconds(step) for name, step in steps.items()} for _ in range(1 + rounds)][1:]  # the first warms up
    least = {name: min(one[name] for one in took) for name in steps}
    for name, step in steps.items():
      ratios = [one[name] / one['plain'] for one in took]
      time_ = f'{least[name] * 1e3:.0f} ms' if name == 'plain' else \
          f'{least[name] / least["plain"]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})'
      yield (f'| {f"**{group}**" if name == "plain" else name} | {time_} | {step.temporary / 2 ** 20:.1f} | '
             f'{step.cold:.1f} | {step.cached:.1f} |')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--only', default='', help='levers whose names have this')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    for key, value in dict(jax_compilation_cache_dir=folder, jax_persistent_cache_min_compile_time_secs=0,
                           jax_persistent_cache_min_entry_size_bytes=-1).items():
      jax.config.update(key, value)
    for row in table(args.rounds, args.only):
      print(row, flush=True)
  print(f'\n{jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} cores, jax {jax.__version__}, '
        f'{args.rounds} rounds')


if __name__ == '__main__':
  main()
