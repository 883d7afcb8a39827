"""Colour operations on planes f32[n, c, h, w] in [0, 1], c = 1 or 3, with one parameter per example."""
import jax.numpy as jnp

JITTER_DRAWS = 9
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow
_BRIGHTNESS, _CONTRAST, _HUE = 0, 1, 3  # and 2 is saturation


def luma(x):
  """f32[n, c, h, w] -> grey f32[n, 1, h, w]."""
  return x if x.shape[1] == 1 else sum(weight * x[:, i:i + 1] for i, weight in enumerate(LUMA))


def grayscale(x, apply):
  """Grey copies of the examples where `apply` bool[n]; one channel stays as it is."""
  return x if x.shape[1] == 1 else jnp.where(apply[:, None, None, None], luma(x), x)


def solarize(x, apply, threshold: float = 0.5):
  """Inverts what is at least `threshold`, in the examples where `apply` bool[n]."""
  return jnp.where(apply[:, None, None, None] & (x >= threshold), 1 - x, x)


def rotate_hue(x, shift):
  """Turns the HSV hue of f32[n, 3, h, w] by `shift` f32[n] turns; value and saturation stay."""
  r, g, b = x[:, 0], x[:, 1], x[:, 2]  # [n, h, w]
  value = jnp.max(x, 1)
  chroma = value - jnp.min(x, 1)
  inverse = 1 / jnp.where(chroma > 0, chroma, 1)
  hue = jnp.where(value == r, (g - b) * inverse,
                  jnp.where(value == g, 2 + (b - r) * inverse, 4 + (r - g) * inverse))  # sixths of a turn
  k = (hue + 6 * shift[:, None, None])[:, None] + jnp.array([5.0, 3.0, 1.0])[:, None, None]  # [n, 3, h, w]
  k = k - 6 * jnp.floor(k / 6)
  return value[:, None] - chroma[:, None] * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)


def jitter(x, u, *, strength: tuple[float, float, float, float], probability: float):
  """Brightness, contrast, saturation and hue changes in a random order per example, as torchvision's ColorJitter.

  Factors are uniform in [max(0, 1 - s), 1 + s], the hue shift in [-s, s] turns; the result of every change is clipped
  to [0, 1].  Contrast blends with the mean of the grey image.  One channel has no saturation or hue: they are left
  out.  Both kinds of change are computed in each of the four places and one is kept: exact, and without branches.
  Deviation: nothing is rounded to 8 bits on the way.

  Args: `x` f32[n, c, h, w]; `u` f32[n, JITTER_DRAWS] uniform; `strength` s of the four; `probability` of any change at
    all, per example.
  Raises: ValueError for a negative strength or a hue strength above 0.5.
  """
  if min(strength) < 0 or strength[3] > 0.5:
    raise ValueError(f'wanted strengths >= 0 and that of hue <= 0.5, got {strength}')
  changes = 2 if x.shape[1] == 1 else 4
  order = jnp.argsort(u[:, :changes])  # [n, place]
  low, high = (jnp.array(ends) for ends in zip(*[(max(0.0, 1 - s), 1 + s) for s in strength[:3]], strict=True))
  factors = low + (high - low) * u[:, 4:7]
  shift = strength[3] * (2 * u[:, 7] - 1)
  apply = u[:, 8] < probability
  for place in range(changes):
    change = order[:, place]
    factor = jnp.sum(factors * (change[:, None] == jnp.arange(3)), -1)
    factor = jnp.where(apply, factor, 1)[:, None, None, None]
    change = jnp.where(apply, change, _BRIGHTNESS)[:, None, None, None]
    mean = luma(jnp.mean(x, (2, 3), keepdims=True))  # [n, 1, 1, 1], the mean of the grey image
    towards = jnp.where(change == _BRIGHTNESS, 0, jnp.where(change == _CONTRAST, mean, luma(x)))
    blended = jnp.clip(factor * x + (1 - factor) * towards, 0, 1)
    x = blended if changes == 2 else jnp.where(change == _HUE, rotate_hue(x, shift), blended)
  return x
