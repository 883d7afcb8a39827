"""VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning (contrastive between features)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative
from pretrain.method.objective import Objective, embed_each_view, method
from pretrain.models.heads import MLP

PAPER = dict(title='VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning',
             arxiv='2105.04906v3', family='redundancy reduction', modality='image')


def vicreg(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, invariance: NonNegative, variance: NonNegative,
           covariance: NonNegative) -> Objective:
  """Two views agree, while every feature varies over the batch and no two features correlate.

  arXiv:2105.04906v3, section 4, eq. 6 and algorithm 1 of its appendix A, but, as in the authors' code, with half the
  variance term: the mean of the views', not their sum. The views pass the network one after the other, so each is
  normalised by its own batch.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the expander; the paper's are (8192, 8192), 8192. Its last layer is linear; without bias, as
      in the authors' code.
    invariance, variance, covariance: weights lambda, mu, nu; 25, 25 and 1 in the paper.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, expander=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                             dtype=f.dtype, rngs=rngs))

  def compare(student, h):
    z1, z2 = (student.expander(h[:, i], train=True) for i in (0, 1))
    return vicreg_loss(z1, z2, invariance=invariance, variance=variance, covariance=covariance)

  return method({'views': 'b 2 h w c'}, modules, embed=embed_each_view, compare=compare, couples_batch=True)


def vicreg_loss(z1, z2, *, invariance, variance, covariance):
  """Two views agree, each feature keeps a standard deviation of 1 and features do not correlate.

  arXiv:2105.04906v3, eq. 1 to 6, gamma = 1 and epsilon = 1e-4. As in the authors' code, with which the paper's weights
  go, the invariance is a mean over d too (eq. 5: a sum), the variance the mean of the two views' (eq. 6: their sum);
  the covariance is the sum of both views' as in eq. 6. Variances and covariances are unbiased.

  Args:
    z1, z2: [b, d] projections of any scale; row i of both is example i; b >= 2.
    invariance, variance, covariance: weights >= 0; 25, 25 and 1 in the paper.
  Returns:
    f32[], and the unweighted terms {'invariance', 'variance', 'covariance'}.
  Raises:
    ValueError: the shapes differ, or b < 2.
  """
  losses.same_shape('vicreg', z1=z1.shape, z2=z2.shape)
  b, d = z1.shape
  if b < 2:
    raise ValueError(f'vicreg wants at least two examples, got {z1.shape}')
  centered = [z - z.mean(0, keepdims=True) for z in (z1.astype(jnp.float32), z2.astype(jnp.float32))]
  covariances = [z.T @ z / (b - 1) for z in centered]  # [d, d]
  hinge = lambda c: jnp.mean(jnp.maximum(0., 1. - jnp.sqrt(jnp.diagonal(c) + 1e-4)))
  off_diagonal = lambda c: jnp.sum(jnp.square(jnp.where(jnp.eye(d, dtype=bool), 0., c))) / d
  terms = {'invariance': jnp.mean(jnp.square(z1.astype(jnp.float32) - z2.astype(jnp.float32))),
           'variance': sum(map(hinge, covariances)) / 2, 'covariance': sum(map(off_diagonal, covariances))}
  return (invariance * terms['invariance'] + variance * terms['variance'] + covariance * terms['covariance']), terms
