"""DCL: Decoupled Contrastive Learning (contrastive)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.losses import chunked
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='Decoupled Contrastive Learning', arxiv='2110.06848v3', family='contrastive', modality='image')


def dcl(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
        sigma: Positive | None = None, chunk: Count | None = None) -> Objective:
  """SimCLR without the positive pair in the denominator, so that easy pairs do not damp the gradient of negatives.

  arXiv:2110.06848v3, section 3. The projector is SimCLR's, normalised after every layer.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector; the paper's are (2048,), 128 for ResNet-50.
    temperature: > 0; 0.1 in the paper.
    sigma: None for L_DC, a number > 0 for L_DCW, which weights positive pairs; 0.5 in the paper.
    chunk: columns of the 2b x 2b similarities to hold at a time; the same loss with less memory.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  def compare(student, h):
    z = student.projector(h, train=True)  # [b, 2, dim]
    options = dict(temperature=temperature, chunk=chunk)
    return (dcl_loss(z[:, 0], z[:, 1], **options) if sigma is None else
            dclw(z[:, 0], z[:, 1], sigma=sigma, **options)), {}

  return method({'views': 'b 2 h w c'}, modules, embed=embed_views, compare=compare, couples_batch=True)


def dcl_loss(z1, z2, *, temperature, chunk=None):
  """Decoupled contrast: InfoNCE without the positive pair in the denominator, mean over all 2b anchors.

  arXiv:2110.06848v3, section 3, L_DC.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all 2b.
  Returns:
    f32[], nats; it has no lower bound of 0.
  Raises:
    ValueError: the shapes differ, b < 2 (there would be no negatives), or the chunk does not divide 2b.
  """
  z, positive = losses.both_views(z1, z2, what='dcl')
  total, _, _ = chunked.contrast(z, z, scale=1 / temperature, excluded=losses.without_positives(z), chunk=chunk)
  return jnp.mean(total) - jnp.mean(positive) / temperature


def dclw(z1, z2, *, temperature, sigma, chunk=None):
  """Decoupled contrast with less weight on the pairs that agree already, mean over all 2b anchors.

  arXiv:2110.06848v3, section 3, L_DCW: the positive similarity times w = 2 - exp(s / sigma) / mean(exp(s / sigma)), a
  negative von Mises-Fisher weight of mean 1. The gradient flows through the weight too, as in the public code
  (github.com/raminnakhli/Decoupled-Contrastive-Learning, not the authors').

  Args:
    z1, z2, temperature, chunk: as for `dcl_loss`.
    sigma: > 0, dimensionless; 0.5 in the paper.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ, b < 2, or the chunk does not divide 2b.
  """
  z, positive = losses.both_views(z1, z2, what='dclw')
  total, _, _ = chunked.contrast(z, z, scale=1 / temperature, excluded=losses.without_positives(z), chunk=chunk)
  weight = 2 - len(z1) * jax.nn.softmax(positive / sigma)  # [b]
  return jnp.mean(total) - jnp.mean(weight * positive) / temperature
