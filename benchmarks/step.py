"""Examples per second of whole training steps, beside the matmul peak of the same machine, and what the loop adds.

  python benchmarks/step.py [--only=simclr|mae|dino|loop] [--rounds=3] [--out=step.json]

Measures in one run, on one device, after one warm-up:
  matmul  float32 square matrices; the largest median is the peak
  steps   views, forward, backward and update, jitted, the state donated and the raw batch on the device; every round
          times each once, in turn with the matmuls. FLOPs are XLA's count; the views are also timed alone.
  loop    `pretrain.train.train` on configs/demo.py, without evaluation and with its only checkpoint left out of the
          time, against its own step on a batch on the device, waited for every time, before and after: target 1.05
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
import pretrain.models  # noqa: E402
import pretrain.objectives  # noqa: E402
import pretrain.views  # noqa: E402
from pretrain import config, optim, sharding  # noqa: E402
from pretrain.metrics import read_rows  # noqa: E402
from pretrain.step import compile_step  # noqa: E402
from pretrain.train import prepare, train  # noqa: E402

MATMULS = (1024, 2048, 4096)
LOOP_STEPS = 60
CASES = {  # raw images [batch, image, image, 3]
    'simclr': dict(  # ResNet-18, 32 px
        batch=256, image=32, views=dict(name='simclr', size=32, scale=(0.08, 1.0), jitter=0.5, blur=0.0),
        backbone=dict(name='resnet', depth=18, stem='cifar', channels=3),
        objective=dict(name='simclr', hidden=(512,), dim=128, temperature=0.5),
        optimizer=dict(name='lars', weight_decay=1e-6)),
    'mae': dict(  # ViT-S/16, 224 px
        batch=32, image=256, views=dict(name='mae', size=224, scale=(0.2, 1.0)),
        backbone=dict(name='vit', variant='S/16', image=224, channels=3, positions='sincos'),
        objective=dict(name='mae', mask_ratio=0.75, decoder_width=512, decoder_depth=8, decoder_heads=16,
                       standardize=True),
        optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05)),
    'dino': dict(  # ViT-Ti/16, 2 x 224 px and 6 x 96 px
        batch=8, image=256, views=dict(name='dino', size=224, local_size=96, local_crops=6, global_scale=(0.4, 1.0),
                                       local_scale=(0.05, 0.4)),
        backbone=dict(name='vit', variant='Ti/16', image=224, channels=3),
        objective=dict(name='dino', prototypes=65536, hidden=2048, bottleneck=256, student_temperature=0.1,
                       teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=30,
                       momentum=0.996, center_momentum=0.9, freeze_prototypes_steps=0),
        optimizer=dict(name='adamw', weight_decay=0.04))}


def matmul(n: int) -> Callable:
  a, f = jnp.ones((n, n)), jax.jit(jnp.matmul)
  return lambda: jax.block_until_ready(f(a, a))


def compiled_case(case: dict) -> tuple[Callable, Callable, dict]:
  """A call that does a step, a call that makes the views alone, and what XLA says of the step."""
  b, side, mesh = case['batch'], case['image'], sharding.make_mesh(devices=jax.devices()[:1])
  batch = {'image': np.random.default_rng(0).integers(0, 256, (b, side, side, 3), np.uint8),
           'index': np.arange(b, dtype=np.int32), 'epoch': np.zeros(b, np.int32)}
  views = config.build(pretrain.views, case['views'], 'views')
  backbone = config.build(pretrain.models, case['backbone'], 'backbone')
  objective = config.build(pretrain.objectives, case['objective'], 'objective', backbone=backbone, steps=1000)
  rate = optim.constant(peak=1e-4, steps=1000)
  tx = config.build(optim, case['optimizer'], 'optimizer', schedule=rate)
  training = compile_step(objective, views, tx, rate, seed=0, batch=batch, mesh=mesh)
  compiled = training.step.lower(training.abstract, batch).compile()
  memory, key = compiled.memory_analysis(), jax.random.key(0)
  facts = {'batch': b, 'flops': compiled.cost_analysis()['flops'], 'state_bytes': memory.alias_size_in_bytes,
           'temporary_bytes': memory.temp_size_in_bytes}
  batch, only_views = sharding.place(batch, mesh), jax.jit(views)
  return stepper(compiled, training.init(), batch), lambda: jax.block_until_ready(only_views(batch, key)), facts


def stepper(compiled: Callable, state, batch) -> Callable:
  def step():
    nonlocal state
    state, metrics = compiled(state, batch)
    jax.block_until_ready((state, metrics))
  return step


def seconds(function: Callable) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def spread(values: list[float]) -> dict:
  return {'min': min(values), 'median': statistics.median(values), 'max': max(values)}


def loop_overhead(rounds: int) -> dict:
  """Seconds a step of the loop over those of its step alone; a round is alone, loop, alone."""
  tree = config.load(str(ROOT / 'configs' / 'demo.py'), [
      f'steps={LOOP_STEPS}', f'checkpoint.every_steps={LOOP_STEPS}', 'evaluate=None', 'schedule.warmup_steps=5'])
  del tree['log_every_steps']
  run = config.call(prepare, tree, 'config')
  with run.batches(start=0, bad_records=None) as batches:
    batch = sharding.place(next(batches), run.mesh)
  step = stepper(run.training.step.lower(run.training.abstract, run.abstract_batch).compile(), run.training.init(), batch)
  alone = lambda: statistics.mean(seconds(step) for _ in range(LOOP_STEPS - 1))
  step()
  found = []
  for _ in range(rounds):
    with tempfile.TemporaryDirectory() as workdir:
      before = alone()
      train(tree, workdir, quiet=True)
      rows, since, spent = read_rows(f'{workdir}/metrics.jsonl'), 1, 0.  # the clock starts when step 1 is through
    for row in rows:
      spent, since = spent + (row['step'] - since) * run.examples / row['examples_per_second'], row['step']
    found.append({'before': before, 'loop': spent / (since - 1), 'after': alone()})
  ratios = [r['loop'] / ((r['before'] + r['after']) / 2) for r in found]
  return {'steps': LOOP_STEPS, 'target': 1.05, 'ratio': spread(ratios), 'rounds': found,
          **{name: spread([r[name] for r in found]) for name in ('before', 'loop', 'after')}}


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', choices=(*CASES, 'loop'))
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--out', default='step.json')
  args = parser.parse_args()
  calls, facts = {f'matmul {n}': matmul(n) for n in MATMULS}, {}
  for name in CASES if args.only is None else {args.only} & CASES.keys():
    calls[name], calls[f'{name} views'], facts[name] = compiled_case(CASES[name])
  times = {name: [] for name in calls}
  for _ in range(1 + args.rounds):
    for name, call in calls.items():
      times[name].append(seconds(call))
  times = {name: spread(values[1:]) for name, values in times.items()}  # the first round is the warm-up

  peak = max(2 * n ** 3 / times[f'matmul {n}']['median'] for n in MATMULS)
  result = {'device': jax.devices()[0].device_kind, 'cores': len(os.sched_getaffinity(0)), 'jax': jax.__version__,
            'rounds': args.rounds, 'peak_flops_per_second': peak, 'seconds': times, 'steps': {}}
  print(f'peak   {peak / 1e9:,.0f} GFLOP/s, float32 matmul; ' + ', '.join(
      f'{n}: {2e-9 * n ** 3 / times[f"matmul {n}"]["median"]:,.0f}' for n in MATMULS))
  for name, fact in facts.items():
    took, views = times[name], times[f'{name} views']['median']
    row = result['steps'][name] = fact | {
        'examples_per_second': fact['batch'] / took['median'], 'views_share': views / took['median'],
        'share_of_peak': fact['flops'] / took['median'] / peak}
    print(f'{name:6} {row["examples_per_second"]:8.2f} examples/s  {took["median"]:.3f} s/step ({took["min"]:.3f} to '
          f'{took["max"]:.3f})  batch {row["batch"]}  {row["flops"] / 1e9:,.1f} GFLOP/step  '
          f'{row["share_of_peak"]:.0%} of the peak  views {row["views_share"]:.1%}  state '
          f'{row["state_bytes"] / 2 ** 20:,.0f} MiB  temporary {row["temporary_bytes"] / 2 ** 20:,.0f} MiB')
  if args.only in (None, 'loop'):
    result['loop'] = loop = loop_overhead(args.rounds)
    print(f'loop   {loop["ratio"]["median"]:.3f} of the step alone ({loop["ratio"]["min"]:.3f} to '
          f'{loop["ratio"]["max"]:.3f}; target 1.05): ' + ', '.join(
              f'{name} {loop[name]["median"]:.4f} s ({loop[name]["min"]:.4f} to {loop[name]["max"]:.4f})'
              for name in ('before', 'loop', 'after')))
  Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
  main()
