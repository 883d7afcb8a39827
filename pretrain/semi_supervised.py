"""What semi-supervised methods share: a classifier, one pass for all views, and moving averages to evaluate with."""
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.models.functional import Net, functional
from pretrain.models.heads import Classifier
from pretrain.objective import ema


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
  return jnp.split(logits, list(accumulate(len(i) for i in images))[:-1]), statistics


def averaged(net: Net, momentum: Callable, *, own: Callable = dict, couples_batch: bool = False) -> dict[str, Any]:
  """Evaluation by moving averages of parameters and batch statistics, as keyword arguments of `Objective`.

  Memory holds 'statistics', 'ema', 'ema_statistics' and what is the method's own; after a step the carry replaces
  what it names.

  Args:
    net: with parts `backbone` and `head`.
    momentum: step -> share that the averages keep of themselves.
    own: () -> arrays that memory starts with besides.
    couples_batch: whether the loss makes examples depend on each other, even if the net does not.
  """
  def init(key):
    params, statistics = net.init(key)
    return params, own() | {'statistics': statistics, 'ema': params, 'ema_statistics': statistics}

  def update(params, memory, carry, step):
    m = momentum(step)
    return params, memory | carry | {'ema': ema(memory['ema'], params, m),
                                     'ema_statistics': ema(memory['ema_statistics'], carry['statistics'], m)}

  def encode(params, memory, images):
    del params
    return net.apply(memory['ema'], memory['ema_statistics'], lambda m: m.backbone(images))[0]

  def predict(params, memory, images):
    del params
    logits, _ = net.apply(memory['ema'], memory['ema_statistics'], lambda m: m.head(m.backbone(images)))
    return jax.nn.softmax(logits)

  return dict(init=init, update=update, encode=encode, predict=predict,
              couples_batch=couples_batch or net.couples_batch)
