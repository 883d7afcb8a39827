"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (contrastive, images and texts)."""
import math
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective
from pretrain.method.two_towers import matching, two_towers

HIGHEST = math.log(100)  # of the logarithm of the scale


def clip(backbone: Callable, *, text: Callable, dim: Count, temperature: Positive,
         chunk: Count | None = None) -> Objective:
  """Each image is told from the batch's texts by its own, and each text from the images.

  arXiv:2103.00020v1, section 2.3 and figure 3; after each step the scale of the cosines is clipped at 100 (section
  2.5).

  Args:
    backbone: of the images, build(rngs) -> module with `width`; its features are what `encode` gives.
    text: of the texts, build(rngs) -> module with `width`; the paper's has causal=True and pool='last'.
    dim: width of the common space; 512 in the paper for ViT-B.
    temperature: at first, learned as the logarithm of its inverse; 0.07 in the paper.
    chunk: columns of the b x b similarities to hold at a time; the same loss with less memory.
  """
  net = two_towers(backbone, text, dim, temperature)

  def loss(params, image, text, scale):
    del params
    return losses.clip(image, text, scale, chunk)

  def update(params, memory, carry, step):
    del step
    return params | {'log_scale': jnp.minimum(params['log_scale'], HIGHEST)}, memory | carry

  return matching(net, loss, update)
