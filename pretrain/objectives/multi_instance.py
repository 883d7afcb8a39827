"""Multi-instance prediction of fractals' codes: Improving Fractal Pre-training (labels that the data has by nature)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import classifier

PAPER = dict(title='Improving Fractal Pre-training', arxiv='2110.03091v2', family='data', modality='image')


def multi_instance(backbone: Callable, *, classes: Count, weighted: bool) -> Objective:
  """Which of many codes are seen in an image of several fractals, each yes or no (arXiv:2110.03091, section 4).

  The views `fractal_scenes` make such images. The section's number is from memory. 'accuracy' is the share of images
  that show the code thought the surest.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of codes, k.
    weighted: see `multi_instance_loss`; True in the authors' code.
  """
  def loss(student, batch, key):
    logits, present = student.head(student.backbone(batch['image'], train=True, key=key)), batch['present']  # [b, k]
    first = jnp.take_along_axis(present, logits.argmax(-1)[:, None], 1)  # [b, 1]
    return multi_instance_loss(logits, present, weighted=weighted), {'accuracy': jnp.mean(first)}

  return method({'image': 'b h w c', 'present': f'b {classes}'}, classifier(backbone, classes), loss)


def multi_instance_loss(logits, present, *, weighted):
  """Binary cross-entropy of which classes an image shows, mean over the batch and all classes.

  arXiv:2110.03091, section 4 (number from memory).

  Args:
    logits: [b, k].
    present: bool or 0 and 1 [b, k].
    weighted: multiply the terms of the classes present by k over their number in the image, as the authors' code does:
      so the few that are there weigh as much as all that are not.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('multi_instance', logits=logits.shape, present=present.shape)
  z, y = logits.astype(jnp.float32), present.astype(jnp.float32)
  weight = y.shape[1] / jnp.maximum(jnp.sum(y, 1, keepdims=True), 1) if weighted else 1.
  return jnp.mean(weight * y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z))
