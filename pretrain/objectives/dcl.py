"""DCL: Decoupled Contrastive Learning (contrastive)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, embed_together, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def couple(params, h, carry, memory, batch, step):
    del memory, batch, step
    z, statistics = net.apply(params, carry['statistics'], lambda m: m.projector(h, train=True))
    z1, z2 = z[:, 0], z[:, 1]
    value = (losses.dcl(z1, z2, temperature, chunk) if sigma is None else
             losses.dclw(z1, z2, temperature, sigma, chunk))
    return value, ({'statistics': statistics}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed_together(net), couple),
                   **plain(net, couples_batch=True))
