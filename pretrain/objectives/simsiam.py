"""SimSiam: Exploring Simple Siamese Representation Learning (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


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
  def parts(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, last_batch_norm=True, **mlp),
                    predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step

    def both(m):
      z1, z2 = (m.projector(m.backbone(x, train=True, key=k), train=True)
                for x, k in zip(jnp.unstack(batch['views'], axis=1), jax.random.split(key), strict=True))
      return m.predictor(z1, train=True), z1, m.predictor(z2, train=True), z2

    (p1, z1, p2, z2), statistics = net.apply(params, memory['statistics'], both)
    # collapse shows here: 1 where directions are spread over the sphere, 0 where all examples have the same
    spread = jnp.mean(jnp.std(losses.normalize(jax.lax.stop_gradient(z1)), 0)) * dim ** 0.5
    return losses.simsiam(p1, z1, p2, z2), ({'statistics': statistics}, {'spread': spread})

  return Objective({'views': 'b 2 h w c'}, loss=loss, **plain(net))
