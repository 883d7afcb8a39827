"""What methods share that match images with texts: two encoders, their projections, a scale of the cosines."""
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.losses import normalize
from pretrain.method.objective import Network, Objective, method
from pretrain.models.layers import Linear


def two_towers(backbone: Callable, text: Callable, *, dim: int, temperature: float, **scalars: float) -> Callable:
  """Modules: parts backbone and text, bias-free projections image_head and text_head, log_scale, named scalars.

  Args:
    backbone, text: build(rngs) -> module with `width`; of images, of tokens.
    temperature: > 0, at first; the cosines are multiplied by exp(log_scale), 1 / temperature.
  """
  def modules(rngs):
    f, g = backbone(rngs), text(rngs)
    head = lambda width: Linear(width, dim, use_bias=False, rngs=rngs)
    first = {'log_scale': -math.log(temperature), **scalars}
    return nnx.Dict(backbone=f, text=g, image_head=head(f.width), text_head=head(g.width),
                    **{name: nnx.Param(jnp.float32(value)) for name, value in first.items()})

  return modules


def matching(modules: Callable, loss: Callable, **more: Any) -> Objective:
  """The objective of batches of pairs.

  Args:
    modules: of `two_towers`.
    loss: (image [b, dim], text [b, dim], *, student, scale) -> f32[], of projections of any scale.
    more: for `method`.
  """
  def embed(student, batch, key):
    keys = jax.random.split(key)
    return {'image': student.backbone(batch['image'], train=True, key=keys[0]),
            'text': student.text(batch['tokens'], train=True, key=keys[1])}

  def compare(student, h):
    scale = jnp.exp(student.log_scale[...])
    value = loss(student.image_head(h['image']), student.text_head(h['text']), student=student, scale=scale)
    return value, {'temperature': 1 / scale}

  def image_tower(network: Network, images):
    return normalize(network.image_head(network.backbone(images)))

  def text_tower(network: Network, tokens):
    return normalize(network.text_head(network.text(tokens)))

  return method({'image': 'b h w c', 'tokens': 'b l'}, modules, embed=embed, compare=compare, couples_batch=True,
                towers=(image_tower, text_tower), **more)
