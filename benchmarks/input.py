"""Images per second of the input side, beside what the machine can do at all.

  python benchmarks/input.py [--out=input.json]

Measures in one run, on the cores that it may use:
  memory  the loader on the embedded Fashion-MNIST (28x28, batch 256): target 200,000 images/s on 2 cores
  jpeg    the loader on a folder of 500x375 JPEGs against Pillow alone (read, decode, resize, crop) with as many
          threads: target 0.9 of Pillow alone, the median over rounds in which both run in turn
"""
import argparse
import concurrent.futures
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[1]))
from data.loader import loader  # noqa: E402
from data.sources.fashion_mnist import fashion_mnist  # noqa: E402
from data.sources.folder import folder  # noqa: E402


def write_photos(root: Path, count: int) -> None:
  """Crops of two real photographs, 500x375 and JPEG quality 90, in two class folders."""
  rng = np.random.default_rng(0)
  photos = [Image.fromarray(image) for image in load_sample_images().images]
  for k in range(count):
    photo = photos[k % 2]
    left, top = rng.integers(photo.width - 500 + 1), rng.integers(photo.height - 375 + 1)
    at = root / 'ab'[k % 2]
    at.mkdir(parents=True, exist_ok=True)
    photo.crop((left, top, left + 500, top + 375)).save(at / f'{k:05d}.jpg', quality=90)


def plain(path: Path, size: int) -> np.ndarray:
  """What a decoding loader cannot go below: Pillow's read, decode, centre crop and resize."""
  with Image.open(io.BytesIO(path.read_bytes())) as image:
    image = image.convert('RGB')
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))


def drain(batches, count: int, warm: int) -> tuple[float, float]:
  """Wall and CPU seconds for `count` batches after `warm` others, when as much is read ahead as at the end."""
  with batches:
    for _ in range(warm):
      next(batches)
    start, used = time.perf_counter(), time.process_time()
    for _ in range(count):
      next(batches)
    return time.perf_counter() - start, time.process_time() - used


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--out', default='input.json')
  parser.add_argument('--images', type=int, default=512, help='JPEG files')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--size', type=int, default=224)
  args = parser.parse_args()
  cores = len(os.sched_getaffinity(0))

  source, batch, count = fashion_mnist(split='train'), 256, 2000
  memory = [batch * count / drain(loader(source, batch=batch, seed=0), count, 20)[0] for _ in range(args.rounds)]

  rounds = []
  with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(cores) as pool:
    root = Path(temporary)
    write_photos(root, args.images)
    files = sorted(root.glob('*/*.jpg'))
    photos, batch = folder(path=temporary, split=None, size=args.size), 32
    list(pool.map(lambda f: plain(f, args.size), files[:32]))  # page cache and threads are warm
    for _ in range(args.rounds):
      start, used = time.perf_counter(), time.process_time()
      list(pool.map(lambda f: plain(f, args.size), files))
      alone, alone_cpu = time.perf_counter() - start, time.process_time() - used
      batches = args.images // batch
      ours, ours_cpu = drain(loader(photos, batch=batch, seed=0, threads=cores), batches, cores + 2)
      rounds.append({'pillow': args.images / alone, 'loader': batches * batch / ours,
                     'pillow_cpu': args.images / alone_cpu, 'loader_cpu': batches * batch / ours_cpu})
  ratio = statistics.median(r['loader'] / r['pillow'] for r in rounds)
  result = {
      'cores': cores,
      'memory': {'images_per_second': statistics.median(memory), 'best': max(memory), 'target': 200_000,
                 'ratio': statistics.median(memory) / 200_000},
      'jpeg': {'threads': cores, 'ratio': ratio, 'target': 0.9,
               **{f'{k}_images_per_second': statistics.median(r[k] for r in rounds) for k in ('loader', 'pillow')},
               'rounds': rounds}}
  print(f'memory: {result["memory"]["images_per_second"]:,.0f} images/s (target 200,000), best {max(memory):,.0f}')
  print(f'jpeg:   {result["jpeg"]["loader_images_per_second"]:,.0f} images/s against '
        f'{result["jpeg"]["pillow_images_per_second"]:,.0f} of Pillow alone with {cores} threads: ratio {ratio:.2f} '
        f'(target 0.90)')
  Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
  main()
