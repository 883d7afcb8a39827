"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (contrastive, images and texts)."""
import math
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.losses import chunked
from pretrain.method.objective import Objective
from pretrain.method.two_towers import matching, two_towers

PAPER = dict(title='Learning Transferable Visual Models From Natural Language Supervision',
             arxiv='2103.00020v1', family='contrastive', modality='image-text')

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
  def loss(image, text, *, student, scale):
    del student
    return clip_loss(image, text, scale=scale, chunk=chunk)

  def after(params, *_):
    return params | {'log_scale': jnp.minimum(params['log_scale'], HIGHEST)}

  return matching(two_towers(backbone, text, dim=dim, temperature=temperature), loss, after=after)


def clip_loss(image, text, *, scale, chunk=None):
  """Cross-entropy of telling each image's text from all texts, and each text's image: the mean of the two.

  arXiv:2103.00020v1, figure 3.

  Args:
    image, text: [b, d] of any scale (normalised here); row i of both is pair i.
    scale: f32[] > 0, of the cosines: the exponential of what is learned.
    chunk: columns of the similarities to hold at a time, static; None: all b.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('clip', image=image.shape, text=text.shape)
  image, text, pairs = losses.normalize(image), losses.normalize(text), jnp.arange(len(image))
  return jnp.mean(chunked.cross_entropy(image, text, scale=scale, positive=pairs, chunk=chunk) +
                  chunked.cross_entropy(text, image, scale=scale, positive=pairs, chunk=chunk)) / 2
