"""Self-Distillation for Further Pre-training of Transformers (masked modelling, self-distillation)."""
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative, ProperPart
from pretrain.method.masked_autoencoder import autoencoder, hidden_error
from pretrain.method.masks import random_mask
from pretrain.method.objective import Objective, method
from pretrain.objectives.mae import pixels_of

PAPER = dict(title='Self-Distillation for Further Pre-training of Transformers',
             arxiv='2210.02871v3', family='distillation', modality='image')


def self_distillation_fpt(backbone: Callable, *, weight: NonNegative, mask_ratio: ProperPart, decoder_width: Count,
                          decoder_depth: Count, decoder_heads: Count, standardize: bool) -> Objective:
  """MAE trained further, while the features of whole images stay close to those of a frozen teacher.

  arXiv:2210.02871v3, section 3.2 and algorithm 2 (numbers from memory): L_MAE + weight |f(x) - sg(f_teacher(x))|^2,
  f(x) the backbone's features of images in which nothing is hidden (in the authors' code the class token, pool='cls');
  the square is summed over the features. The teacher is in memory, read from the run that `initialize` names; the
  program of the same name makes it. With weight=0 this is MAE.

  Args:
    backbone: as `mae` wants it, and the other arguments are `mae`'s.
    weight: >= 0, lambda; 1 in the authors' code.
  """
  def loss(student, frozen_teacher, batch, key):
    images = batch['image']
    hide = lambda grid: random_mask(key, batch['index'], math.prod(grid), mask_ratio)
    masked = hidden_error(student, images, hide, lambda x, cells: pixels_of(x, cells, standardize), key)
    distance = hidden_distance(student.backbone(images), frozen_teacher.backbone(images))
    return masked + weight * distance, {'masked': masked, 'distance': distance}

  return method({'image': 'b h w c', 'index': 'b'},
                autoencoder(backbone, width=decoder_width, depth=decoder_depth, heads=decoder_heads), loss,
                frozen={'frozen_teacher': lambda rngs: nnx.Dict(backbone=backbone(rngs))})


def hidden_distance(student, teacher):
  """Squared distance of hidden representations, mean over the examples; no gradient to the teacher.

  arXiv:2210.02871v3, section 3.2, L_distill (number from memory).

  Args:
    student, teacher: [b, d].
  Returns:
    f32[].
  Raises:
    ValueError: the shapes differ.
  """
  losses.same_shape('hidden_distance', student=student.shape, teacher=teacher.shape)
  difference = student.astype(jnp.float32) - jax.lax.stop_gradient(teacher).astype(jnp.float32)
  return jnp.mean(jnp.sum(jnp.square(difference), -1))
