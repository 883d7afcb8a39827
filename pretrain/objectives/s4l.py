"""S4L: Self-Supervised Semi-Supervised Learning, with rotations (pretext task)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative
from pretrain.method.objective import Objective, flat
from pretrain.method.semi_supervised import averaged, divided, rotations
from pretrain.models.functional import functional
from pretrain.models.heads import Classifier


def s4l(backbone: Callable, *, classes: Count, rotation_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """All images are turned four ways; the labeled ones predict class and rotation, the others the rotation.

  arXiv:1905.03670v2, section 3.1, S4L-Rotation, as in the authors' code: the class is learned in all four turns.
  Evaluation is by a moving average of the parameters (0 turns it off), with the batch statistics of training, as that
  code has it behind a flag (google-research/s4l, trainer.py: `polyak_averaging`).

  Args:
    backbone: build(rngs) -> module with `width`, of square images.
    classes: number of classes, k.
    rotation_weight: w; 1 in the paper.
    ema_momentum: of the average that encode and predict use.
  Raises:
    ValueError: when traced, images that are not square.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    rotation=Classifier(f.width, 4, zero=False, rngs=rngs))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    images = [batch['image'], batch['weak']]

    def forward(m):
      h = m.backbone(flat(rotations(jnp.concatenate(images))), train=True, key=key)
      labeled, unlabeled = divided(h.reshape(-1, 4, h.shape[-1]), images)
      return m.head(labeled), m.rotation(labeled), m.rotation(unlabeled)

    (labeled, turned_labeled, turned), statistics = net.apply(params, memory['statistics'], forward)
    value, metrics = losses.s4l(labeled, batch['label'], turned_labeled, turned, rotation_weight)
    return value, ({'statistics': statistics}, metrics)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared'))
