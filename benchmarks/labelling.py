"""Images a second of a labelling pass over the bare forward pass's, on the embedded Fashion-MNIST.

  python benchmarks/labelling.py [--rounds=5]

A WRN-10-2 at 28 pixels (small, so that what is around it shows), 10,000 images in batches of 256. A pass of
`pretrain label` opens the checkpoint, reads, crops and transfers the images, predicts, and writes probabilities and
hashes as Parquet; the bare forward pass predicts one batch of ready images as often. Both in turn, compiled before.
"""
import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

sys.path.insert(0, str(Path(__file__).parents[1]))
from pretrain import config as configs  # noqa: E402
from pretrain.programs.label import open_model, write_labels  # noqa: E402
from pretrain.train import train  # noqa: E402

BATCH = 256


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--rounds', type=int, default=5)
  rounds = parser.parse_args().rounds
  config = configs.load('configs/fixmatch.py:fashion_mnist', ['steps=1', 'evaluate=None']) | {
      'backbone': dict(name='wide_resnet', depth=10, widen=2, channels=1, mean=(0.286,), std=(0.353,))}
  with tempfile.TemporaryDirectory() as folder:
    workdir = Path(folder) / 'run'
    train(config, workdir, quiet=True)
    model = open_model(workdir)
    state = model.state()
    function = jax.jit(Partial(model.run.objective.predict, state.params, state.memory))
    images = jnp.zeros((BATCH, 28, 28, 1))

    def bare() -> float:
      begun = time.perf_counter()
      for _ in range(-(-10_000 // BATCH)):
        jax.block_until_ready(function(images))
      return time.perf_counter() - begun

    def whole(turn: int) -> float:
      begun = time.perf_counter()
      write_labels(workdir, Path(folder) / f'labels{turn}', batch=BATCH, quiet=True)
      return time.perf_counter() - begun

    bare(), whole(-1)
    pairs = [(bare(), whole(turn)) for turn in range(rounds)]
  ratios = [a / b for a, b in pairs]
  print(f'labelling: {10_000 / statistics.median(b for _, b in pairs):,.0f} images/s, '
        f'{statistics.median(ratios):.2f} of the bare forward pass (from {min(ratios):.2f} to {max(ratios):.2f}, '
        f'n = {rounds})')


if __name__ == '__main__':
  main()
