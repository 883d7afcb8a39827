"""Numbers that tell how a representation is spread out, and whether it has collapsed."""
import numpy as np


def health(features, *, rows: int = 4096, seed: int = 0) -> dict[str, float]:
  """How many directions features use, and how evenly.

  Args:
    features: float[n, d], n >= 2.
    rows: at most this many examples are looked at, drawn without replacement.
    seed: of the draw.
  Returns:
    effective_rank: exp of the entropy of the singular values' shares, 1 (one direction) to min(n, d). RankMe,
      2210.02885v3 equations 1 and 2; not centred, as there.
    std: standard deviation of each coordinate of the L2-normalised features, averaged and times sqrt(d): 0 when
      collapsed to a point, about 1 when spread over the sphere (2011.10566v1 section 4.1, there without sqrt(d)).
    uniformity: log of the mean of exp(-2 |x - y|^2) over pairs of normalised features, 0 when collapsed, about -4 when
      uniform on a sphere of many dimensions (2005.10242v10 section 4.1.2, t = 2). Lower is more uniform.
  Raises:
    ValueError: not [n, d] with n >= 2, or not finite.
  """
  x = np.asarray(features, np.float64)
  if x.ndim != 2 or len(x) < 2 or (bad := np.count_nonzero(~np.isfinite(x))):
    raise ValueError('wanted finite features [n, d] with n >= 2, got '
                     + (f'shape {x.shape}' if x.ndim != 2 or len(x) < 2 else f'{bad} that are not, of {x.size}'))
  x = x[np.random.default_rng(seed).permutation(len(x))[:rows]]
  n, d = x.shape
  shares = np.linalg.svd(x, compute_uv=False)
  shares = shares / max(shares.sum(), 1e-300) + 1e-7  # the paper's epsilon
  z = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  squares = (z ** 2).sum(1)
  distance = np.maximum(squares[:, None] + squares[None] - 2 * z @ z.T, 0)  # [n, n], squared
  potential = (np.exp(-2 * distance).sum() - n) / (n * (n - 1))  # without the pairs of a row with itself
  return {'effective_rank': float(np.exp(-(shares * np.log(shares)).sum())),
          'std': float(z.std(0).mean() * np.sqrt(d)), 'uniformity': float(np.log(max(potential, 1e-300)))}


def tolerance(features, labels) -> float:
  """Mean cosine of the features of two different examples of the same class.

  arXiv:2012.09740v2, section 4.2, eq. 11: high where examples of a class are near each other, which features that are
  uniform on the sphere (`health`) are not.

  Args:
    features: float[n, d].
    labels: int[n].
  Raises:
    ValueError: no class has two examples.
  """
  x, labels = np.asarray(features, np.float64), np.asarray(labels)
  z = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  total = pairs = 0
  for label in np.unique(labels):
    own = z[labels == label]
    total += (own.sum(0) ** 2).sum() - (own ** 2).sum()  # all cosines of the class, without those of a row with itself
    pairs += len(own) * (len(own) - 1)
  if not pairs:
    raise ValueError(f'wanted a class with two examples, got {len(labels)} of as many classes')
  return float(total / pairs)
