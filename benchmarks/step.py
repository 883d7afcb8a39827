"""Examples per second of whole training steps, beside the matmul peak of the same machine, and what the loop adds.

  python benchmarks/step.py [--only=simclr|mae|dino|loop] [--dtype=float32|bfloat16] [--rounds=3] [--out=step.json]

Measures in one run, after one warm-up:
  matmul  square matrices of the dtype on one device; the largest median is the peak
  steps   views, forward, backward and update, jitted, the state donated and the raw batch on the device; every round
          times each once, in turn with the matmuls. Backbones and heads compute in the dtype; parameters and residual
          stream are float32. FLOPs are those of the traced step (`pretrain/machine/flops.py`): 3 x 3 convolutions
          count in full, although Winograd's take a quarter of the multiplications. Views are also timed alone.
  loop    `pretrain.train.train` on configs/demo.py without evaluation, its only checkpoint outside the time, against
          its own step on a batch on the device, waited for every time, before and after: target 1.05
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from pretrain import config  # noqa: E402
from pretrain.files import read_rows  # noqa: E402
from pretrain.machine import sharding  # noqa: E402
from pretrain.machine.flops import of_step  # noqa: E402
from pretrain.run import Run, StepSpec, assemble, prepare  # noqa: E402
from pretrain.train import train  # noqa: E402

MATMULS = (1024, 2048, 4096)
LOOP_STEPS = 60
CASES = {  # side of the raw images, config
    'simclr': (32, dict(  # ResNet-18, 32 px
        batch=256, views=dict(name='simclr', size=32, scale=(0.08, 1.0), jitter=0.5, blur=0.0),
        backbone=dict(name='resnet', depth=18, stem='cifar', channels=3),
        objective=dict(name='simclr', hidden=(512,), dim=128, temperature=0.5),
        optimizer=dict(name='lars', weight_decay=1e-6))),
    'mae': (256, dict(  # ViT-S/16, 224 px
        batch=32, views=dict(name='mae', size=224, scale=(0.2, 1.0)),
        backbone=dict(name='vit', variant='S/16', image=224, channels=3, positions='sincos'),
        objective=dict(name='mae', mask_ratio=0.75, decoder_width=512, decoder_depth=8, decoder_heads=16,
                       standardize=True),
        optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05))),
    'dino': (256, dict(  # ViT-Ti/16, 2 x 224 px and 6 x 96 px
        batch=8, views=dict(name='dino', size=224, local_size=96, local_crops=6, global_scale=(0.4, 1.0),
                            local_scale=(0.05, 0.4)),
        backbone=dict(name='vit', variant='Ti/16', image=224, channels=3),
        objective=dict(name='dino', prototypes=65536, hidden=2048, bottleneck=256, student_temperature=0.1,
                       teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=30,
                       momentum=0.996, center_momentum=0.9, freeze_prototypes_steps=0),
        optimizer=dict(name='adamw', weight_decay=0.04)))}


def of_few(tree: dict) -> Run:
  """The run of a config whose source may have fewer examples than its objective prototypes, which `prepare` refuses."""
  if 'prototypes' not in tree['objective']:
    return config.call(prepare, tree, 'config')
  run = config.call(prepare, tree | {'objective': tree['objective'] | {'prototypes': 2}}, 'config')
  parts = {key: tree[key] for key in ('views', 'backbone', 'objective', 'optimizer', 'schedule')}
  spec = StepSpec(**parts, steps=run.steps, examples=run.examples, seed=run.seed)
  return run._replace(training=assemble(run.abstract_batch, run.mesh, spec).training)


def prepared(side: int, tree: dict) -> Run:
  """A run on random colour images of so many pixels a side, as many as its batch."""
  with tempfile.TemporaryDirectory() as folder:
    images = np.random.default_rng(0).integers(0, 256, (tree['batch'], side, side, 3), np.uint8)
    np.savez(f'{folder}/train.npz', image=images)
    return of_few(tree | dict(source=dict(name='arrays', path=folder, split='train'), steps=1000,
                              schedule=dict(name='constant', peak=1e-4), checkpoint=dict(every_steps=1000)))


def calls(run: Run) -> tuple[Callable, Callable, dict]:
  """A call that does a step, a call that makes the views alone, and facts of the step."""
  with run.batches(start=0, bad_records=None) as batches:
    batch = sharding.place(next(batches), run.mesh)
  compiled = run.training.step.lower(run.training.abstract, run.abstract_batch).compile()
  state, key, views, memory = run.training.init(), jax.random.key(0), jax.jit(run.views), compiled.memory_analysis()

  def step():
    nonlocal state
    state, metrics = compiled(state, batch)
    jax.block_until_ready((state, metrics))

  facts = {'batch': run.examples, 'flops': of_step(run.training.step, run.training.abstract, run.abstract_batch).total,
           'state_bytes': memory.alias_size_in_bytes, 'temporary_bytes': memory.temp_size_in_bytes}
  return step, lambda: jax.block_until_ready(views(batch, key)), facts


def seconds(function: Callable) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def spread(values: list[float]) -> dict:
  return {'min': min(values), 'median': statistics.median(values), 'max': max(values)}


def text(values: dict, unit: str = ' s') -> str:
  return '{median:.4g}{unit} ({min:.4g} to {max:.4g})'.format(unit=unit, **values)


def loop_overhead(rounds: int) -> dict:
  """Seconds a step of the loop over those of its step alone; a round is alone, loop, alone."""
  tree = config.load(str(ROOT / 'configs' / 'demo.py'), [
      f'steps={LOOP_STEPS}', f'checkpoint.every_steps={LOOP_STEPS}', 'evaluate=None', 'schedule.warmup_steps=5'])
  del tree['log_every_steps']  # the default
  step, _, facts = calls(config.call(prepare, tree, 'config'))
  alone, found = lambda: statistics.mean(seconds(step) for _ in range(LOOP_STEPS - 1)), []
  step()
  for _ in range(rounds):
    before, since, spent = alone(), 1, 0.  # the loop's clock starts when step 1 is through
    with tempfile.TemporaryDirectory() as workdir:
      train(tree, workdir, quiet=True)
      for row in read_rows(f'{workdir}/metrics.jsonl'):
        spent, since = spent + (row['step'] - since) * facts['batch'] / row['examples_per_second'], row['step']
    found.append({'before': before, 'loop': spent / (since - 1), 'after': alone()})
  ratio = spread([2 * r['loop'] / (r['before'] + r['after']) for r in found])
  return {'steps': LOOP_STEPS, 'target': 1.05, 'ratio': ratio, 'rounds': found, **{
      name: spread([r[name] for r in found]) for name in ('before', 'loop', 'after')}}


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', choices=(*CASES, 'loop'))
  parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--out', default='step.json')
  args = parser.parse_args()
  matrices, product, facts = {n: jnp.ones((n, n), args.dtype) for n in MATMULS}, jax.jit(jnp.matmul), {}
  timed = {f'matmul {n}': lambda a=a: jax.block_until_ready(product(a, a)) for n, a in matrices.items()}
  for name in CASES if args.only is None else {args.only} & CASES.keys():
    side, tree = CASES[name]
    tree = tree | {'backbone': tree['backbone'] | {'dtype': args.dtype}}
    timed[name], timed[f'{name} views'], facts[name] = calls(prepared(side, tree))
  rounds = [{name: seconds(call) for name, call in timed.items()} for _ in range(1 + args.rounds)]
  times = {name: spread([r[name] for r in rounds[1:]]) for name in timed}  # the first is the warm-up
  speed = {n: 2 * n ** 3 / times[f'matmul {n}']['median'] for n in MATMULS}
  peak = max(speed.values())
  result = {'device': jax.devices()[0].device_kind, 'cores': len(os.sched_getaffinity(0)), 'jax': jax.__version__,
            'dtype': args.dtype, 'rounds': args.rounds, 'peak_flops_per_second': peak, 'seconds': times, 'steps': facts}
  print('peak   ' + ', '.join(f'{n}: {flops / 1e9:,.0f}' for n, flops in speed.items())
        + f' GFLOP/s, {args.dtype} matmul')
  for name, row in facts.items():
    took = times[name]['median']
    row |= {'examples_per_second': row['batch'] / took, 'share_of_peak': row['flops'] / took / peak,
            'views_share': times[f'{name} views']['median'] / took}
    print(f'{name:6} {row["examples_per_second"]:.2f} examples/s, batch {row["batch"]}; {text(times[name])} a step; '
          f'{row["flops"] / 1e9:,.1f} GFLOP, {row["share_of_peak"]:.0%} of the peak; views {row["views_share"]:.1%}; '
          f'state {row["state_bytes"] / 2 ** 20:,.0f} MiB, temporary {row["temporary_bytes"] / 2 ** 20:,.0f} MiB')
  if args.only in (None, 'loop'):
    result['loop'] = loop = loop_overhead(args.rounds)
    print(f'loop   {text(loop["ratio"], "")} of the step alone (target {loop["target"]}): ' + ', '.join(
        f'{name} {text(loop[name])}' for name in ('before', 'loop', 'after')))
  Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
  main()
