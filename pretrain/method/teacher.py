"""What methods with a teacher share: a moving average of the student that makes its targets."""
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pretrain.losses import normalize
from pretrain.method.objective import ema, seen
from pretrain.method.queue import enqueue
from pretrain.models.functional import Net


def with_teacher(net: Net, momentum: Callable, *, encoder: str, couples_batch: bool = False) -> dict[str, Any]:
  """A teacher that starts as a copy of all parameters and follows them, as keyword arguments of `Objective`.

  Memory holds 'teacher', 'statistics' and 'teacher_statistics'; after a step the carry replaces what it names.

  Args:
    net: with a part `backbone`, whose features `encode` gives.
    momentum: step -> share that the teacher keeps of itself.
    encoder: 'student' or 'teacher': whose features.
    couples_batch: whether the loss makes examples depend on each other, even if the net does not.
  """
  def init(key):
    params, statistics = net.init(key)
    return params, {'teacher': params, 'statistics': statistics, 'teacher_statistics': statistics}

  def update(params, memory, carry, step):
    return params, memory | carry | {'teacher': ema(memory['teacher'], params, momentum(step))}

  def of(params, memory):
    return (memory['teacher'], memory['teacher_statistics']) if encoder == 'teacher' else (params, memory['statistics'])

  return dict(init=init, update=update, couples_batch=couples_batch or net.couples_batch, **seen(net, of))


def with_queue(shared: dict[str, Any], queue: int, dim: int) -> dict[str, Any]:
  """`with_teacher`'s arguments, and a 'queue' [queue, dim] in memory: random directions, then the carry's 'keys'.

  Raises ValueError, in `update`, unless the number of the carry's 'keys' divides the queue's.
  """
  def init(key):
    params, memory = shared['init'](key)
    keys = normalize(jax.random.normal(jax.random.fold_in(key, 0), (queue, dim)))
    return params, memory | {'queue': keys}

  def update(params, memory, carry, step):
    rest = {name: value for name, value in carry.items() if name != 'keys'}
    return shared['update'](params, memory, rest | {'queue': enqueue(memory['queue'], carry['keys'], step)}, step)

  return shared | {'init': init, 'update': update}


def linear(start: float, end: float, steps: int) -> Callable:
  """A line from `start` at step 0 to `end` at `steps`, constant afterwards: a function of the step."""
  return lambda step: start + (end - start) * jnp.clip(step / max(1, steps), 0., 1.)


def linspace(start: float, end: float, steps: int, every: int = 1) -> Callable:
  """np.linspace(start, end, steps // every), each value for `every` steps, then `end`: a function of the step.

  The teacher's temperature in the code of DINO (main_dino.py), iBOT (main_ibot.py; both by epochs) and DINOv2.
  """
  count = steps // every

  def value(step):
    share = jnp.where(step < count * every, step // every / max(1, count - 1), 1.)
    return start + (end - start) * share
  return value


def collapse(probabilities, name: str = 'teacher') -> dict:
  """Two metrics of probabilities [..., k], a teacher's or others' of that name, in nats, that show collapse.

  The mean of the entropies ('<name>_entropy') goes to log k where all are uniform, the entropy of the mean
  ('<name>_spread') to 0 where all are the same prototype.
  """
  def entropy(p):
    return -jnp.sum(p * jnp.log(p + 1e-12), -1)

  mean = jnp.mean(probabilities, tuple(range(probabilities.ndim - 1)))
  return {f'{name}_entropy': jnp.mean(entropy(probabilities)), f'{name}_spread': entropy(mean)}
