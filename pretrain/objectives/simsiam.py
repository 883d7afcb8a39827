"""SimSiam: Exploring Simple Siamese Representation Learning (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, method
from pretrain.models.heads import MLP

PAPER = dict(title='Exploring Simple Siamese Representation Learning',
             arxiv='2011.10566v1', family='self-distillation', modality='image')


def simsiam(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, predictor_hidden: Count) -> Objective:
  """From each view a predictor says what the projection of the other view is, through which no gradient flows.

  arXiv:2011.10566v1, section 3 and algorithm 1. Each view is normalised on its own. The metric `spread` is the
  standard deviation of section 4.1 times sqrt(dim), of the projections of first views.

  Args:
    backbone: build(rngs) -> module with `width`; f of the paper is backbone and projector.
    hidden, dim: widths of the projector; the paper's are (2048, 2048), 2048, with BatchNorm after every layer, the
      last one without gain and offset (the authors' code).
    predictor_hidden: of the predictor h, a bottleneck; 512 in the paper.
  """
  def modules(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, last_batch_norm=True, **mlp),
                    predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  def loss(student, batch, key):
    views, keys = jnp.unstack(batch['views'], axis=1), jax.random.split(key)  # 2 x [b, h, w, c]
    z1, z2 = (student.projector(student.backbone(x, train=True, key=k), train=True)
              for x, k in zip(views, keys, strict=True))
    p1, p2 = (student.predictor(z, train=True) for z in (z1, z2))
    # collapse shows here: 1 where directions are spread over the sphere, 0 where all examples have the same
    spread = jnp.mean(jnp.std(losses.normalize(jax.lax.stop_gradient(z1)), 0)) * dim ** 0.5
    return simsiam_loss(p1, z1, p2=p2, z2=z2), {'spread': spread}

  return method({'views': 'b 2 h w c'}, modules, loss)


def simsiam_loss(p1, z1, *, p2, z2):
  """Negative cosine of each view's prediction with the other view's projection, which receives no gradient.

  arXiv:2011.10566v1, eq. 1, 3 and 4, algorithm 1: D(p1, z2) / 2 + D(p2, z1) / 2, mean over the examples.

  Args:
    p1, p2: [b, d] predictions of any scale (normalised here); row i of all is example i.
    z1, z2: [b, d] projections.
  Returns:
    f32[] in [-1, 1].
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('simsiam', p1=p1.shape, z1=z1.shape, p2=p2.shape, z2=z2.shape)
  z1, z2 = jax.lax.stop_gradient((z1, z2))
  first, second = (jnp.mean(jnp.sum(losses.normalize(p) * losses.normalize(z), -1))
                   for p, z in ((p1, z2), (p2, z1)))
  return -(first + second) / 2
