"""What semi-supervised methods share: a classifier, one pass for all views, moving averages to evaluate with; ramps,
thresholds, alignment, mixtures and rotations."""
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.method.objective import ema, seen
from pretrain.method.queue import enqueue
from pretrain.models.functional import Net, functional
from pretrain.models.heads import Classifier

Average = Literal['shared', 'averaged', 'own']  # whose batch statistics an average of parameters has, see `averaged`


def classifier(backbone: Callable, classes: int) -> Net:
  """A `backbone` and a linear `head`."""
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs))

  return functional(parts)


def classify(net: Net, params, statistics, images, key=None):
  """Logits of several batches of images in one pass, so that they share batch statistics.

  Args:
    images: of [n_i, h, w, c].
    key: for the backbone's own randomness; None is without.
  Returns:
    ([n_i, k], ...) and the next batch statistics.
  """
  x = jnp.concatenate(images)
  logits, statistics = net.apply(params, statistics, lambda m: m.head(m.backbone(x, train=True, key=key)))
  return divided(logits, images), statistics


def divided(rows, like):
  """Rows [n, ...] cut into pieces as long as each of `like`."""
  return jnp.split(rows, list(accumulate(len(x) for x in like))[:-1])


def averaged(net: Net, momentum: Callable, average: Average, *, own: Callable = dict,
             couples_batch: bool = False) -> dict[str, Any]:
  """Evaluation by a moving average of the parameters, as keyword arguments of `Objective`.

  Memory holds 'statistics', those of training, 'ema' and what is the method's own; after a step the carry replaces what
  it names. The average is evaluated with batch statistics that are

  - 'shared': those of training, which authors' code copies to the average, or into whose network it puts the average;
  - 'averaged': a moving average of these, as of the parameters: memory's 'ema_statistics';
  - 'own': those of the average's own passes: memory's 'ema_statistics', which the carry replaces.

  Args:
    net: with parts `backbone` and `head`.
    momentum: step -> share that an average keeps of itself.
    average: see above.
    own: () -> arrays that memory starts with besides.
    couples_batch: whether the loss makes examples depend on each other, even if the net does not.
  """
  statistics_of_average = 'statistics' if average == 'shared' else 'ema_statistics'

  def init(key):
    params, statistics = net.init(key)
    return params, own() | {'statistics': statistics, 'ema': params, statistics_of_average: statistics}

  def update(params, memory, carry, step):
    m = momentum(step)
    new = {'ema': ema(memory['ema'], params, m)}
    if average == 'averaged':
      new['ema_statistics'] = ema(memory['ema_statistics'], carry['statistics'], m)
    return params, memory | carry | new

  def of(params, memory):
    del params
    return memory['ema'], memory[statistics_of_average]

  def predict(params, memory, images):
    logits, _ = net.apply(*of(params, memory), lambda m: m.head(m.backbone(images)))
    return jax.nn.softmax(logits)

  return dict(init=init, update=update, predict=predict, couples_batch=couples_batch or net.couples_batch,
              **seen(net, of))


def sigmoid_ramp(value: float, steps: int) -> Callable:
  """value exp(-5 (1 - step / steps)^2), `value` from `steps` on: a function of the step (arXiv:1610.02242v3, 2.1)."""
  return lambda step: value * jnp.exp(-5 * jnp.square(1 - jnp.clip(step / max(1, steps), 0., 1.)))


def aligned(probabilities, window, step):
  """Probabilities f32[u, k] whose mean over the last batches is made uniform, and these means with that of this batch.

  Args:
    window: f32[n, k], the means of the last n batches, rows of zeros before; for n = 0 nothing is aligned.
    step: places this batch.
  """
  if not len(window):
    return probabilities, window
  window = enqueue(window, jnp.mean(probabilities, 0, keepdims=True), step)
  average = jnp.sum(window, 0) / jnp.sum(window)
  return losses.align(probabilities, jnp.full_like(average, 1 / len(average)), average), window


def mix(key, images, targets, alpha: float):
  """MixUp of all images with each other, and of their targets, more of themselves than of the other.

  arXiv:1905.02249v2, section 3.3 and algorithm 1, lines 10 to 13; a share for each pair, as in the authors' code.

  Args:
    images, targets: [n, h, w, c], f32[n, k].
    alpha: of the Beta distribution of the shares.
  """
  order_key, share_key = jax.random.split(key)
  order = jax.random.permutation(order_key, len(images))
  share = jax.random.beta(share_key, alpha, alpha, (len(images),))
  share = jnp.maximum(share, 1 - share)
  return losses.mixup(images, order, share), losses.mixup(targets, order, share)


def rotations(images):
  """Square images [n, h, h, c] -> [n, 4, h, h, c], turned by 0, 1, 2 and 3 quarters, anticlockwise.

  Raises ValueError unless they are square.
  """
  if images.shape[1] != images.shape[2]:
    raise ValueError(f'rotations want square images, got {images.shape[1]} x {images.shape[2]}')
  return jnp.stack([jnp.rot90(images, turns, (1, 2)) for turns in range(4)], 1)
