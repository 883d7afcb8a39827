"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction (contrastive between features)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative, Positive
from pretrain.method.objective import Objective, embed_each_view, method
from pretrain.models.heads import MLP

PAPER = dict(title='Barlow Twins: Self-Supervised Learning via Redundancy Reduction',
             arxiv='2103.03230v3', family='redundancy reduction', modality='image')


def barlow_twins(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, weight: NonNegative,
                 scale: Positive = 1.) -> Objective:
  """Each feature of one view correlates with the same feature of the other view and with no other feature.

  arXiv:2103.03230v3, eq. 1 and 2, algorithm 1. The views pass the network one after the other, so each is normalised
  by its own batch.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector; the paper's are (8192, 8192), 8192. Its last layer is linear without bias.
    weight: lambda, of the off-diagonal terms; 0.0051 in the paper, for a dim of 8192.
    scale: multiplies the loss, for parameters whose step depends on it (under LARS biases and norms); 0.024 in the
      authors' command.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                              dtype=f.dtype, rngs=rngs))

  def compare(student, h):
    z1, z2 = (student.projector(h[:, i], train=True) for i in (0, 1))
    return scale * barlow_twins_loss(z1, z2, weight=weight), {}

  return method({'views': 'b 2 h w c'}, modules, embed=embed_each_view, compare=compare, couples_batch=True)


def barlow_twins_loss(z1, z2, *, weight):
  """The cross-correlation of two views' features is drawn to the identity.

  arXiv:2103.03230v3, eq. 1 and 2, algorithm 1. Features are standardised over the batch as by the authors' BatchNorm
  without gain: biased variance, 1e-5 added to it.

  Args:
    z1, z2: [b, d] projections of any scale; row i of both is example i.
    weight: lambda >= 0, of the off-diagonal terms; 0.0051 in the paper.
  Returns:
    f32[], the sum over the d * d entries.
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('barlow_twins', z1=z1.shape, z2=z2.shape)
  z1, z2 = ((z - z.mean(0, keepdims=True)) * jax.lax.rsqrt(z.var(0, keepdims=True) + 1e-5)
            for z in (z1.astype(jnp.float32), z2.astype(jnp.float32)))
  correlation = z1.T @ z2 / len(z1)  # [d, d]
  same = jnp.eye(len(correlation), dtype=bool)
  return jnp.sum(jnp.where(same, jnp.square(1 - correlation), weight * jnp.square(correlation)))
