"""SupCon: Supervised Contrastive Learning (contrastive, with labels)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Positive
from pretrain.losses import chunked
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='Supervised Contrastive Learning', arxiv='2004.11362v5', family='contrastive', modality='image')


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
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs))

  def compare(student, h, batch):
    z = student.projector(h)  # [b, 2, dim]
    return sup_con_loss(z, batch['label'], temperature=temperature, chunk=chunk), {}

  return method({'views': 'b 2 h w c', 'label': 'b'}, modules, embed=embed_views, compare=compare, couples_batch=True)


def sup_con_loss(z, label, *, temperature, chunk=None):
  """Supervised contrast: all views of a class attract each other and repel the rest, mean over the b * v anchors.

  arXiv:2004.11362v5, eq. 2 (the sum over positives outside the logarithm). The authors' code multiplies by temperature
  / base_temperature (0.07), which is left to the learning rate. An anchor without positives counts 0: possible for
  v = 1 alone.

  Args:
    z: [b, v, d] projections of any scale (normalised here).
    label: int[b], the class of an example.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all b * v.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit, another rank, b * v < 2, or the chunk does not divide b * v.
  """
  if z.ndim != 3 or z.shape[0] * z.shape[1] < 2:
    raise ValueError(f'sup_con wants z [b, v, d] of at least two views, got {z.shape}')
  b, v, _ = z.shape
  losses.same_shape('sup_con', examples=(b,), label=label.shape)
  z, label = losses.normalize(z).reshape(b * v, -1), jnp.repeat(label, v)  # views of an example are neighbours
  itself = jnp.arange(b * v)
  positives = lambda columns: (label[:, None] == label[columns]) & (itself[:, None] != columns)
  total, positive, count = chunked.contrast(z, z, scale=1 / temperature, positives=positives, excluded=(itself,),
                                            chunk=chunk)
  return jnp.mean(jnp.where(count > 0, total - positive / jnp.maximum(count, 1), 0))
