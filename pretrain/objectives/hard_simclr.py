"""Understanding the Behaviour of Contrastive Loss (contrastive): the hardest negatives alone."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Part, Positive
from pretrain.method.objective import Objective, embed_together, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def hard_simclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
                share: Part) -> Objective:
  """`simclr`, where a view repels only those views of the batch that are most similar to it.

  arXiv:2012.09740v2, section 3.3, eq. 9, the hard contrastive loss: a low temperature leaves little but the hardest
  negatives; choosing them makes the loss as hard at a high one, which tolerates similar examples. What the temperature
  does to features is measured by `evaluate` (uniformity and tolerance), to gradients by `losses.penalties`.

  Args:
    backbone, hidden, dim: as in `simclr`.
    temperature: > 0.
    share: of the negatives that count, in (0, 1], their number rounded up; 1 is `simclr`.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def couple(params, h, carry, memory, batch, step):
    del memory, batch, step
    z, statistics = net.apply(params, carry['statistics'], lambda m: m.projector(h, train=True))
    return losses.hard_nt_xent(z[:, 0], z[:, 1], temperature, share), ({'statistics': statistics}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed_together(net), couple),
                   **plain(net, couples_batch=True))
