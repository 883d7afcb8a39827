"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction (contrastive between features)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative, Positive
from pretrain.method.objective import Objective, embed_apart, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                              dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def couple(params, h, carry, memory, batch, step):
    del memory, batch, step
    (z1, z2), statistics = net.apply(params, carry['statistics'],
                                     lambda m: [m.projector(h[:, i], train=True) for i in (0, 1)])
    return scale * losses.barlow_twins(z1, z2, weight), ({'statistics': statistics}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed_apart(net), couple), **plain(net, couples_batch=True))
