"""SigLIP: Sigmoid Loss for Language Image Pre-Training (contrastive, images and texts)."""
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, Number, Positive
from pretrain.method.objective import Objective
from pretrain.method.two_towers import matching, two_towers


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
  net = two_towers(backbone, text, dim, temperature, bias=bias)

  def loss(params, image, text, scale):
    return losses.siglip(image, text, scale, params['bias'], chunk)

  return matching(net, loss)
