"""Multi-instance prediction of fractals' codes: Improving Fractal Pre-training (labels that the data has by nature)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, plain
from pretrain.method.semi_supervised import classifier


def multi_instance(backbone: Callable, *, classes: Count, weighted: bool) -> Objective:
  """Which of many codes are seen in an image of several fractals, each yes or no (arXiv:2110.03091, section 4).

  The views `fractal_scenes` make such images. The section's number is from memory. 'accuracy' is the share of images
  that show the code thought the surest.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of codes, k.
    weighted: see `losses.multi_instance`; True in the authors' code.
  """
  net = classifier(backbone, classes)

  def loss(params, memory, batch, key, step):
    del step
    logits, statistics = net.apply(params, memory['statistics'], lambda m: m.head(
        m.backbone(batch['image'], train=True, key=key)))
    present = batch['present']
    first = jnp.take_along_axis(present, logits.argmax(-1)[:, None], 1)  # [b, 1]
    value = losses.multi_instance(logits, present, weighted)
    return value, ({'statistics': statistics}, {'accuracy': jnp.mean(first)})

  return Objective({'image': 'b h w c', 'present': f'b {classes}'}, loss=loss, **plain(net))
