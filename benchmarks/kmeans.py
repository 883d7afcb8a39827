"""k-means of many features in many clusters: time, memory, and what scikit-learn needs for the same work.

  python benchmarks/kmeans.py [--examples=1000000] [--width=256] [--clusters=10000] [--iterations=10] [--peer=1]

Features are drawn about as many means as clusters. Each side begins with the same random examples and makes whole
iterations of Lloyd's; `--peer` is how many of these scikit-learn makes (0: none). Peak memory is the process's, ours
before scikit-learn starts.
"""
import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from pretrain.programs.cluster import kmeans  # noqa: E402


def drawn(examples: int, width: int, clusters: int) -> np.ndarray:
  """f32[n, d]: means of variance 1 and examples of variance 1 about them."""
  rng = np.random.default_rng(0)
  means = rng.standard_normal((clusters, width), np.float32)
  x = rng.standard_normal((examples, width), np.float32)
  for start in range(0, examples, 65536):
    some = x[start:start + 65536]
    some += means[rng.integers(clusters, size=len(some))]
  return x


def main() -> None:
  parser = argparse.ArgumentParser()
  for name, default in (('examples', 1_000_000), ('width', 256), ('clusters', 10_000), ('iterations', 10), ('peer', 1)):
    parser.add_argument(f'--{name}', type=int, default=default)
  args = parser.parse_args()
  x = drawn(args.examples, args.width, args.clusters)
  start = x[np.random.default_rng(1).permutation(len(x))[:args.clusters]]
  kmeans(x[:args.clusters], 2, init='random', iterations=1)  # imports and the like
  begun = time.perf_counter()
  found = kmeans(x, args.clusters, init=start, iterations=args.iterations)
  ours = time.perf_counter() - begun
  passes = found.iterations + 1  # the last one gives the labels
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  flops = 2. * args.examples * args.width * args.clusters
  print(f'{args.examples:,} x {args.width} in {args.clusters:,} clusters: {found.iterations} iterations in '
        f'{ours:.0f} s, {ours / passes:.1f} s a pass ({flops * passes / ours / 1e9:.0f} GFLOP/s), '
        f'{peak:.1f} GiB at most, {len(np.unique(found.labels)):,} clusters in use, inertia {found.inertia:.6g}')
  if args.peer:
    from sklearn.cluster import KMeans
    begun = time.perf_counter()
    theirs = KMeans(args.clusters, init=start, n_init=1, max_iter=args.peer, tol=0, algorithm='lloyd').fit(x)
    seconds = time.perf_counter() - begun
    print(f'scikit-learn: {theirs.n_iter_} iterations in {seconds:.0f} s, {seconds / (theirs.n_iter_ + 1):.1f} s a '
          f'pass; ours is {seconds / (theirs.n_iter_ + 1) / (ours / passes):.2f} times as fast')


if __name__ == '__main__':
  main()
