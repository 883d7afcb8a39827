"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (contrastive, with a teacher)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import cosine
from pretrain.models.heads import MLP

PAPER = dict(title='An Empirical Study of Training Self-Supervised Vision Transformers',
             arxiv='2104.02057v4', family='contrastive', modality='image')


def moco_v3(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, predictor_hidden: Count,
            temperature: Positive, momentum: Decay, freeze_patches: bool, steps: Count,
            chunk: Count | None = None) -> Objective:
  """Each view is told from all images of the batch by the other view, which a moving average of the network encodes.

  arXiv:2104.02057v4, algorithm 1, and section 4.2 for the patches' projection. Heads as in the authors' code, with
  batch normalisation after every layer, at the outputs without gain and offset.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector; the paper's are (4096, 4096), 256 for a ViT.
    predictor_hidden: width of the predictor's hidden layer; 4096 in the paper.
    temperature: > 0; 0.2 in the paper. The loss is multiplied by twice that, as in algorithm 1.
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.99 in the paper.
    freeze_patches: keep a ViT's random projection of patches (its part `project`) as it is. It is then in memory, where
      no weight decay reaches it; the paper trains ViTs so.
    steps: of the whole run.
    chunk: columns of the b x b similarities to hold at a time; the same loss with less memory.
  """
  def modules(rngs):
    f = backbone(rngs)
    mlp = dict(batch_norm=True, last_batch_norm=True, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, **mlp),
                    predictor=MLP(dim, (predictor_hidden,), dim, **mlp))

  def embed(student, teacher, batch, key):
    views, keys = jnp.unstack(batch['views'], axis=1), jax.random.split(key)  # 2 x [b, h, w, c]
    return ([student.backbone(x, train=True, key=k) for x, k in zip(views, keys, strict=True)],
            [teacher.backbone(x, train=True) for x in views])

  def compare(student, teacher, h):
    q1, q2 = (student.predictor(student.projector(x, train=True), train=True) for x in h[0])
    k1, k2 = (teacher.projector(x, train=True) for x in jax.lax.stop_gradient(h[1]))
    itself = jnp.arange(len(q1))
    contrast = lambda q, k: 2 * temperature * losses.info_nce(q, k, positive=itself, temperature=temperature,
                                                              chunk=chunk)
    return contrast(q1, k2) + contrast(q2, k1), {}

  return method({'views': 'b 2 h w c'}, modules, embed=embed, compare=compare,
                teacher=Average(cosine(momentum, 1., steps), 'own', of=('backbone', 'projector')),
                fixed=('backbone/project',) if freeze_patches else (), couples_batch=True)
