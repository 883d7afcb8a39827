"""SupCon: Supervised Contrastive Learning (contrastive, with labels)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, embed_together, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def sup_con(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
            chunk: Count | None = None) -> Objective:
  """All views of a class attract each other and repel the other classes'.

  arXiv:2004.11362v5, section 3, eq. 2.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector, without batch normalisation; the paper's are (2048,), 128 for ResNet-50.
    temperature: > 0; 0.1 in the paper.
    chunk: columns of the 2b x 2b similarities to hold at a time; the same loss with less memory.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def couple(params, h, carry, memory, batch, step):
    del memory, step
    z, statistics = net.apply(params, carry['statistics'], lambda m: m.projector(h))  # [b, 2, d]
    return losses.sup_con(z, batch['label'], temperature, chunk), ({'statistics': statistics}, {})

  return Objective({'views': 'b 2 h w c', 'label': 'b'}, **in_parts(net, embed_together(net), couple),
                   **plain(net, couples_batch=True))
