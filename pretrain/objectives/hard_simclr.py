"""Understanding the Behaviour of Contrastive Loss (contrastive): the hardest negatives alone."""
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Part, Positive
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='Understanding the Behaviour of Contrastive Loss',
             arxiv='2012.09740v2', family='contrastive', modality='image')


def hard_simclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
                share: Part) -> Objective:
  """`simclr`, where a view repels only those views of the batch that are most similar to it.

  arXiv:2012.09740v2, section 3.3, eq. 9, the hard contrastive loss: a low temperature leaves little but the hardest
  negatives; choosing them makes the loss as hard at a high one, which tolerates similar examples. What the temperature
  does to features is measured by `evaluate` (uniformity and tolerance), to gradients by `penalties`.

  Args:
    backbone, hidden, dim: as in `simclr`.
    temperature: > 0.
    share: of the negatives that count, in (0, 1], their number rounded up; 1 is `simclr`.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_batch_norm=True,
                                              last_affine=True, dtype=f.dtype, rngs=rngs))

  def compare(student, h):
    z = student.projector(h, train=True)  # [b, 2, dim]
    return hard_nt_xent(z[:, 0], z[:, 1], temperature=temperature, share=share), {}

  return method({'views': 'b 2 h w c'}, modules, embed=embed_views, compare=compare, couples_batch=True)


def hard_nt_xent(z1, z2, *, temperature, share):
  """`nt_xent` whose denominators have the hardest negatives alone, mean over all 2b anchors.

  arXiv:2012.09740v2, section 3.3, eq. 9, the hard contrastive loss: an anchor's negatives from the upper quantile of
  its similarities, here the ceil(share * (2b - 2)) highest.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
    share: of the negatives, static, in (0, 1]; 1 is `nt_xent`.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ, b < 2, or no such share.
  """
  if not 0 < share <= 1:
    raise ValueError(f'hard_nt_xent wants a share of the negatives in (0, 1], got {share}')
  z, positive = losses.both_views(z1, z2, what='hard_nt_xent')
  similarity, positive = negatives(z), jnp.tile(positive, 2)
  hardest, _ = jax.lax.top_k(similarity, math.ceil(share * (len(z) - 2)))  # [2b, k]
  logits = jnp.concatenate([positive[:, None], hardest], 1) / temperature
  return jnp.mean(jax.nn.logsumexp(logits, -1) - logits[:, 0])


def penalties(z1, z2, *, temperature):
  """How the gradient of `nt_xent` is shared out among an anchor's negatives: f32[2b, 2b], rows of sum 1.

  arXiv:2012.09740v2, section 3.2, eq. 5, the relative penalty: the gradient in a negative's similarity over that in the
  positive's. 0 at the anchor itself and at its other view.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless; near 0 all of it is the hardest's, at large ones it is uniform.
  Raises:
    ValueError: the shapes differ, or b < 2.
  """
  return jax.nn.softmax(negatives(losses.both_views(z1, z2, what='penalties')[0]) / temperature)


def negatives(z):
  """Similarities f32[2b, 2b] of z [2b, d] of `both_views`, -inf where a row has no negative: itself, its other view."""
  similarity = jnp.matmul(z, z.T, precision='highest')
  for column in losses.without_positives(z):
    similarity = jnp.where(jnp.arange(len(z)) == column[:, None], -jnp.inf, similarity)
  return similarity
