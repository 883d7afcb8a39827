"""SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (contrastive)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='A Simple Framework for Contrastive Learning of Visual Representations',
             arxiv='2002.05709v3', family='contrastive', modality='image')


def simclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
           chunk: Count | None = None) -> Objective:
  """Two views of an image attract each other and repel all other views of the batch.

  arXiv:2002.05709v3, section 2.1 and algorithm 1; the projector is that of the authors' code, with batch normalisation
  after every linear layer (the last one too). Deviation: the output's has an offset (theirs: a gain alone).

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector g; the paper's is (2048,), 128 for ResNet-50.
    temperature: > 0; 0.1 in the paper for ImageNet (table 5), 0.5 on CIFAR-10 (appendix B.9).
    chunk: columns of the 2b x 2b similarities to hold at a time; the same loss with less memory.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  def compare(student, h):
    z = student.projector(h, train=True)  # [b, 2, dim]
    return losses.nt_xent(z[:, 0], z[:, 1], temperature=temperature, chunk=chunk), {}

  return method({'views': 'b 2 h w c'}, modules, embed=embed_views, compare=compare, couples_batch=True)
