"""Supervised classification: the baseline that every method is held against."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.objective import Objective, plain
from pretrain.semi_supervised import classifier


def supervised(backbone: Callable, *, classes: int, label_smoothing: float = 0.) -> Objective:
  """Cross-entropy of a linear classifier on the backbone's features.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    label_smoothing: in [0, 1): targets are (1 - s) one-hot + s / k (arXiv:1512.00567v3, section 7).
  """
  net = classifier(backbone, classes)

  def loss(params, memory, batch, key, step):
    del step
    logits, statistics = net.apply(params, memory['statistics'], lambda m: m.head(
        m.backbone(batch['image'], train=True, key=key)))
    targets = (1 - label_smoothing) * jax.nn.one_hot(batch['label'], classes) + label_smoothing / classes  # [b, k]
    value = jnp.mean(losses.soft_cross_entropy(targets, logits))
    return value, ({'statistics': statistics}, {'accuracy': jnp.mean(logits.argmax(-1) == batch['label'])})

  def predict(params, memory, images):
    return jax.nn.softmax(net.apply(params, memory['statistics'], lambda m: m.head(m.backbone(images)))[0])

  return Objective({'image': 'b h w c', 'label': 'b'}, loss=loss, predict=predict, **plain(net))
