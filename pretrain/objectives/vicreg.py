"""VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning (contrastive between features)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative
from pretrain.method.objective import Objective, embed_apart, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, expander=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                             dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def couple(params, h, carry, memory, batch, step):
    del memory, batch, step
    (z1, z2), statistics = net.apply(params, carry['statistics'],
                                     lambda m: [m.expander(h[:, i], train=True) for i in (0, 1)])
    value, terms = losses.vicreg(z1, z2, invariance, variance, covariance)
    return value, ({'statistics': statistics}, terms)

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed_apart(net), couple), **plain(net, couples_batch=True))
