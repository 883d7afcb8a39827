"""SigLIP: Sigmoid Loss for Language Image Pre-Training (contrastive, images and texts)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Number, Positive
from pretrain.losses import chunked
from pretrain.method.objective import Objective
from pretrain.method.two_towers import matching, two_towers

PAPER = dict(title='Sigmoid Loss for Language Image Pre-Training',
             arxiv='2303.15343v4', family='contrastive', modality='image-text')


def siglip(backbone: Callable, *, text: Callable, dim: Count, temperature: Positive, bias: Number,
           chunk: Count | None = None) -> Objective:
  """Whether an image and a text belong together, for all pairs of the batch, each decided on its own.

  arXiv:2303.15343v4, section 3.2 and algorithm 1. Deviation from the authors' code: both towers have a projection
  without bias; there the text alone has one, with a bias, and the image's tokens are pooled by attention.

  Args:
    backbone: of the images, build(rngs) -> module with `width`; its features are what `encode` gives.
    text: of the texts, build(rngs) -> module with `width`.
    dim: width of the common space; 768 in the authors' models of size B.
    temperature: at first, learned as the logarithm of its inverse; 0.1 in the paper (t' = log 10).
    bias: at first, learned; -10 in the paper: most pairs do not belong together.
    chunk: columns of the b x b similarities to hold at a time; the same loss with less memory.
  """
  def loss(image, text, *, student, scale):
    return siglip_loss(image, text, scale=scale, bias=student.bias[...], chunk=chunk)

  return matching(two_towers(backbone, text, dim=dim, temperature=temperature, bias=bias), loss)


def siglip_loss(image, text, *, scale, bias, chunk=None):
  """Whether an image and a text belong together, a logistic regression on all b * b pairs: their sum, divided by b.

  arXiv:2303.15343v4, eq. 1 and algorithm 1.

  Args:
    image, text: [b, d] of any scale (normalised here); row i of both is pair i.
    scale: f32[] > 0, of the cosines: the exponential of what is learned; bias: f32[].
    chunk: columns of the similarities to hold at a time, static; None: all b.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('siglip', image=image.shape, text=text.shape)
  image, text = losses.normalize(image), losses.normalize(text)

  def step(total, part, columns):
    sign = jnp.where(jnp.arange(len(image))[:, None] == columns, 1, -1)
    logits = scale * jnp.matmul(image, part.T, precision='highest') + bias
    return total + jnp.sum(jax.nn.log_sigmoid(sign * logits))

  return -chunked.scan_columns(step, jnp.zeros(()), keys=text, chunk=chunk) / len(image)
