"""Numbers that change over a run (momenta, temperatures, weights): functions of the step."""
from collections.abc import Callable

import jax.numpy as jnp


def cosine(start: float, end: float, steps: int) -> Callable:
  """Half a cosine from `start` at step 0 to `end` at `steps`, constant afterwards."""
  def value(step):
    progress = jnp.clip(step / steps, 0., 1.)
    return end + (start - end) * (1 + jnp.cos(jnp.pi * progress)) / 2
  return value


def linear(start: float, end: float, steps: int) -> Callable:
  """A line from `start` at step 0 to `end` at `steps`, constant afterwards."""
  return lambda step: start + (end - start) * jnp.clip(step / max(1, steps), 0., 1.)


def linspace(start: float, end: float, steps: int, every: int = 1) -> Callable:
  """np.linspace(start, end, steps // every), each value for `every` steps, then `end`.

  The teacher's temperature in the code of DINO (main_dino.py), iBOT (main_ibot.py; both by epochs) and DINOv2.
  """
  count = steps // every

  def value(step):
    share = jnp.where(step < count * every, step // every / max(1, count - 1), 1.)
    return start + (end - start) * share
  return value


def sigmoid_ramp(value: float, steps: int) -> Callable:
  """value exp(-5 (1 - step / steps)^2), `value` from `steps` on (arXiv:1610.02242v3, 2.1)."""
  return lambda step: value * jnp.exp(-5 * jnp.square(1 - jnp.clip(step / max(1, steps), 0., 1.)))
