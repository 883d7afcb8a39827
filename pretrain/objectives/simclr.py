"""SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (contrastive)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, embed_together, in_parts, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def simclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
           chunk: Count | None = None) -> Objective:
  """Two views of an image attract each other and repel all other views of the batch.

  arXiv:2002.05709v3, section 2.1 and algorithm 1; the projector is that of the authors' code, with batch normalisation
  after every linear layer (the last one too). Deviation: the output's has an offset (theirs: a gain alone).

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector g; the paper's is (2048,), 128 for ResNet-50.
    temperature: > 0; the paper's best is 0.1 for long training with large batches, 0.5 for 100 epochs.
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
    return losses.nt_xent(z[:, 0], z[:, 1], temperature, chunk), ({'statistics': statistics}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed_together(net), couple),
                   **plain(net, couples_batch=True))
