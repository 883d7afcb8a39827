"""BYOL: Bootstrap your own latent: A new approach to self-supervised Learning (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Share
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import cosine
from pretrain.models.heads import MLP

PAPER = dict(title='Bootstrap your own latent: A new approach to self-supervised Learning',
             arxiv='2006.07733v3', family='self-distillation', modality='image')


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
  def modules(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, last_bias=False, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, (hidden,), dim, **mlp),
                    predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  def loss(student, teacher, batch, key):
    views, keys = jnp.unstack(batch['views'], axis=1), jax.random.split(key)  # 2 x [b, h, w, c]
    project = lambda f, x, key=None: f.projector(f.backbone(x, train=True, key=key), train=True)
    target1, target2 = (project(teacher, x) for x in views)
    z = [project(student, x, k) for x, k in zip(views, keys, strict=True)]
    p1, p2 = (student.predictor(x, train=True) for x in z)
    return byol_loss(p1, target2) + byol_loss(p2, target1), {}

  return method({'views': 'b 2 h w c'}, modules, loss, teacher=Average(cosine(momentum, 1., steps), 'own'))


def byol_loss(prediction, target):
  """Squared distance of unit vectors, 2 - 2 cos, mean over the examples; no gradient to the target.

  arXiv:2006.07733v3, eq. 2; the paper adds the same with the two views exchanged.

  Args:
    prediction: [b, d] of any scale (normalised here), by the predictor.
    target: [b, d] of any scale, the teacher's projections of the other view.
  Returns:
    f32[] in [0, 4].
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('byol', prediction=prediction.shape, target=target.shape)
  similarity = jnp.sum(losses.normalize(prediction) * losses.normalize(jax.lax.stop_gradient(target)), -1)
  return jnp.mean(2 - 2 * similarity)
