"""S4L: Self-Supervised Semi-Supervised Learning, with rotations (pretext task)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative
from pretrain.losses.semi_supervised import total
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, flat, method
from pretrain.method.semi_supervised import probabilities, rotations, split_like
from pretrain.models.heads import Classifier

PAPER = dict(title='S4L: Self-Supervised Semi-Supervised Learning',
             arxiv='1905.03670v2', family='pretext task', modality='image')


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
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    rotation=Classifier(f.width, 4, zero=False, rngs=rngs))

  def loss(student, batch, key):
    images = [batch['image'], batch['weak']]
    h = student.backbone(flat(rotations(jnp.concatenate(images))), train=True, key=key)
    labeled, unlabeled = split_like(h.reshape(-1, 4, h.shape[-1]), images)
    return s4l_loss(student.head(labeled), batch['label'], turned_labeled=student.rotation(labeled),
                    turned_unlabeled=student.rotation(unlabeled), rotation_weight=rotation_weight)

  return method({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c'}, modules, loss, ema=Average(ema_momentum),
                encode='ema', predict=probabilities)


def s4l_loss(labeled, label, *, turned_labeled, turned_unlabeled, rotation_weight):
  """Cross-entropy of the classes of turned images plus that of their rotations, of labeled and unlabeled images.

  arXiv:1905.03670v2, eq. 1 and section 3.1; the two means of rotations are averaged, as in the authors' code.

  Args:
    labeled, label: [b, 4, k] logits of each image turned 0 to 3 quarters, int[b].
    turned_labeled, turned_unlabeled: [b, 4, 4], [u, 4, 4] logits of the rotation.
    rotation_weight: w >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency'}, the latter of the rotations.
  """
  def rotation(logits):
    return jnp.mean(losses.cross_entropy(logits, jnp.broadcast_to(jnp.arange(4), logits.shape[:-1])))

  both = (rotation(turned_labeled) + rotation(turned_unlabeled)) / 2
  return total(labeled, jnp.broadcast_to(label[:, None], labeled.shape[:-1]), consistency=both,
               unlabeled_weight=rotation_weight)
