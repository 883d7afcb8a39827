"""What the loop costs besides the arithmetic: the call of a step, and the way to the first one.

  python benchmarks/overheads.py [--rounds=3]

dispatch  CPU time of the main thread in a call of the compiled step, with as many arrays as MAE on ViT-B/16 has (12 and
          8 blocks, AdamW, 4 wide), and of a step that does nothing with them, which is JAX's own share: target 0.5 ms.
          On a CPU it is more than the call of an accelerator's: the thread computes small steps itself
start     from `python -m pretrain train --config=configs/demo.py` to its first step done, without and with compiled
          programs from an earlier run (JAX's compilation cache): target 5 s with
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.step import prepared  # noqa: E402
from pretrain.files import read_rows  # noqa: E402
from pretrain.machine import sharding  # noqa: E402

CALLS = 200
NARROW = dict(
    batch=2, views=dict(name='mae', size=224, scale=(0.2, 1.0)),
    backbone=dict(name='vit', image=224, channels=3, patch=112, width=4, depth=12, heads=1, mlp=4, positions='sincos'),
    objective=dict(name='mae', mask_ratio=0.75, decoder_width=4, decoder_depth=8, decoder_heads=1, standardize=True),
    optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05))


def dispatch(rounds: int) -> tuple[int, list[float], list[float]]:
  """The number of arrays of the state, milliseconds of a call, and of one that does nothing."""
  run = prepared(256, NARROW)
  with run.batches(start=0, bad_records=None) as batches:
    batch = sharding.place(next(batches), run.mesh)
  step, state, found = run.training.step, run.training.init(), []
  nothing = jax.jit(lambda state, batch: (state, batch['index']), donate_argnums=0)
  for call in (step, nothing) * (rounds + 1):
    spent = 0.
    for _ in range(CALLS):
      begun = time.thread_time()
      state, metrics = call(state, batch)
      spent += time.thread_time() - begun
      jax.block_until_ready((state, metrics))
    found.append(1e3 * spent / CALLS)
  return len(jax.tree.leaves(state)), found[2::2], found[3::2]  # the first of each compile


def start(folder: str, number: int) -> float:
  """Seconds from the command to its first step."""
  workdir = Path(folder) / f'run{number}'
  env = os.environ | {'JAX_COMPILATION_CACHE_DIR': f'{folder}/compiled',
                      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  begun = time.time()
  subprocess.run([sys.executable, '-m', 'pretrain', 'train', '--config=configs/demo.py', f'--workdir={workdir}',
                  '--quiet', '--config.steps=2', '--config.schedule.warmup_steps=1', '--config.evaluate=None'],
                 cwd=ROOT, env=env, check=True)
  first, = (row for row in read_rows(workdir / 'events.jsonl') if row['event'] == 'first_step')
  return first['time'] - begun


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--rounds', type=int, default=3)
  rounds = parser.parse_args().rounds
  arrays, times, empty = dispatch(rounds)
  print(f'dispatch: {statistics.median(times):.2f} ms a step of {arrays} arrays (from {min(times):.2f} to '
        f'{max(times):.2f}, n = {rounds} x {CALLS}), {statistics.median(empty):.2f} ms where '
        'nothing is done', flush=True)
  with tempfile.TemporaryDirectory() as folder:
    cold, *warm = (start(folder, number) for number in range(rounds + 1))
  print(f'start of the demo to its first step: {cold:.1f} s cold, {statistics.median(warm):.1f} s warm '
        f'(from {min(warm):.1f} to {max(warm):.1f}, n = {rounds})')


if __name__ == '__main__':
  main()
