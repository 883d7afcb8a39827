"""Supervised classification: the baseline that every method is held against."""
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Range
from pretrain.frontends import image, text
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import classifier
from pretrain.models.heads import MLP, Classifier

PAPER = None  # the baseline of many


def supervised(backbone: Callable, *, classes: Count, label_smoothing: Annotated[float, Range(0, 1, below=True)] = 0.,
               projector: tuple[Count, ...] = (), weighted: bool = False, tokens: bool = False) -> Objective:
  """Cross-entropy of a linear classifier on the backbone's features.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    label_smoothing: in [0, 1): targets are (1 - s) one-hot + s / k (arXiv:1512.00567v3, section 7).
    projector: widths of layers (linear, BatchNorm, ReLU) between backbone and classifier: the first ones of a SimCLR
      projector, from a middle layer of which the network is fine-tuned (arXiv:2006.10029v2, section 2). `project` gives
      what comes before the last ReLU.
    weighted: batches hold the examples' weights; the loss is the mean of weight times cross-entropy.
    tokens: the backbone reads texts.
  """
  modality = text.MODALITY if tokens else image.MODALITY

  def modules(rngs):
    f = backbone(rngs)
    g = MLP(f.width, tuple(projector[:-1]), projector[-1], batch_norm=True, last_batch_norm=True, last_affine=True,
            dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=g, head=Classifier(projector[-1], classes, zero=False, rngs=rngs))

  def classify(network, images, train=False, key=None):
    h = network.backbone(images, train=train, key=key)
    return network.head(jax.nn.relu(network.projector(h, train=train)) if projector else h)

  def loss(student, batch, key):
    logits = classify(student, batch[modality.reads], train=True, key=key)
    targets = (1 - label_smoothing) * jax.nn.one_hot(batch['label'], classes) + label_smoothing / classes  # [b, k]
    value = jnp.mean((batch['weight'] if weighted else 1.) * losses.soft_cross_entropy(targets, logits))
    return value, {'accuracy': jnp.mean(logits.argmax(-1) == batch['label'])}

  wanted = modality.batch | {'label': 'b'} | ({'weight': 'b'} if weighted else {})
  return method(wanted, modules if projector else classifier(backbone, classes), loss,
                predict=lambda network, images: jax.nn.softmax(classify(network, images)))
