"""Permutations that are a function of their seeds alone."""
import functools

import numpy as np


@functools.lru_cache(maxsize=4)
def permutation(n: int, *seeds: int) -> np.ndarray:
  """Returns a read-only permutation i64[n] of range(n) that depends on the non-negative `seeds`.

  It sorts Philox's raw bits: NumPy guarantees these for ever, but not `Generator.permutation`, and the order of a run
  must not change with an upgrade. The last few are kept, as a batch may straddle two epochs (0.1 s for n = 1.3e6).
  """
  if min(seeds, default=0) < 0:
    raise ValueError(f'seed: wanted at least 0, got {min(seeds)}')
  bits = np.random.Philox(np.random.SeedSequence(seeds)).random_raw(n)
  order = np.argsort(bits, kind='stable')
  order.flags.writeable = False
  return order
