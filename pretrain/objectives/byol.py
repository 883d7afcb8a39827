"""BYOL: Bootstrap your own latent: A new approach to self-supervised Learning (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Share
from pretrain.method.objective import Objective, cosine
from pretrain.method.teacher import with_teacher
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def byol(backbone: Callable, *, hidden: Count, dim: Count, predictor_hidden: Count, momentum: Share,
         steps: Count) -> Objective:
  """From one view the student predicts what its own moving average says of the other; nothing repels.

  arXiv:2006.07733v3, section 3.1, eq. 1 to 4 and algorithm 1; the paper's online and target networks are student and
  teacher. As in the authors' code both normalise by their own batch, each view on its own. Deviation from it: the
  teacher starts as a copy of the student (theirs: from other random numbers).

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector g; the paper's are 4096, 256.
    predictor_hidden: of the predictor q; 4096 in the paper.
    momentum: tau, of the teacher at step 0, a half cosine up to 1 at the last step; 0.996 in the paper.
    steps: of the whole run.
  """
  def parts(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, last_bias=False, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, (hidden,), dim, **mlp),
                    predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    views = jnp.unstack(batch['views'], axis=1)  # 2 x [b, h, w, c]

    def project(m, keys):
      return [m.projector(m.backbone(x, train=True, key=k), train=True) for x, k in zip(views, keys, strict=True)]

    (z1, z2), teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                                             lambda m: project(m, (None, None)))
    (p1, p2), statistics = net.apply(params, memory['statistics'], lambda m: [
        m.predictor(z, train=True) for z in project(m, jax.random.split(key))])
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics}
    return losses.byol(p1, z2) + losses.byol(p2, z1), (carry, {})

  return Objective({'views': 'b 2 h w c'}, loss=loss, **with_teacher(net, cosine(momentum, 1., steps),
                                                                     encoder='student'))
