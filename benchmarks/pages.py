"""What a step costs with large pages for the heap, as the commands have them, over the same step without.

  python benchmarks/pages.py [--only=NAME ...] [--rounds=3] [--steps=8]

A process for each of the two, by turns; of CPU time, as that is what pages cost. See `pretrain.__main__`.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from pretrain import config as configs  # noqa: E402
from pretrain.machine import sharding  # noqa: E402
from pretrain.run import prepare  # noqa: E402

NAMES = ('simclr', 'mae', 'dino', 'fixmatch')
PAGES = {'small': 0, 'large': 1}  # glibc.malloc.hugetlb


def step(name: str, steps: int) -> dict:
  """CPU seconds, those of them in the system, and page faults of a step in this process; its peak of memory in MiB."""
  file = 'configs/demo.py' if name == 'simclr' else f'configs/{name}.py:fashion_mnist'
  run = configs.call(prepare, configs.load(str(ROOT / file), ['evaluate=None']), 'config')
  with run.batches(start=0, bad_records=None) as batches:
    batch = sharding.place(next(batches), run.mesh)
  state = run.training.init()
  for turn in range(steps + 2):
    if turn == 2:
      begun = resource.getrusage(resource.RUSAGE_SELF)
    state, _ = jax.block_until_ready(run.training.step(state, batch))
  now = resource.getrusage(resource.RUSAGE_SELF)
  system = now.ru_stime - begun.ru_stime
  return {'cpu': (now.ru_utime - begun.ru_utime + system) / steps, 'system': system / steps,
          'faults': (now.ru_minflt - begun.ru_minflt) / steps, 'memory': now.ru_maxrss / 1024}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--only', action='append', choices=NAMES)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=8)
  parser.add_argument('--child')
  args = parser.parse_args()
  if args.child:
    print(json.dumps(step(args.child, args.steps)))
    return
  print('| config | CPU time, large over small | from | to | of small: in the system | faults a step, small | large | '
        'peak memory, large over small |\n|---|---|---|---|---|---|---|---|')
  for name in args.only or NAMES:
    found: dict = {pages: [] for pages in PAGES}
    for _ in range(args.rounds):
      for pages, value in PAGES.items():
        done = subprocess.run([sys.executable, __file__, f'--child={name}', f'--steps={args.steps}'], check=True,
                              env=os.environ | {'GLIBC_TUNABLES': f'glibc.malloc.hugetlb={value}'}, cwd=ROOT,
                              stdout=subprocess.PIPE)
        found[pages].append(json.loads(done.stdout))
    of = lambda pages, key, found=found: statistics.median(row[key] for row in found[pages])
    ratios = [large['cpu'] / small['cpu'] for small, large in zip(found['small'], found['large'], strict=True)]
    print(f'| `{name}` | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} | '
          f'{of("small", "system") / of("small", "cpu"):.2f} | {of("small", "faults"):,.0f} | '
          f'{of("large", "faults"):,.0f} | {of("large", "memory") / of("small", "memory"):.2f} |', flush=True)


if __name__ == '__main__':
  main()
