"""What methods share that match images with texts: two encoders, their projections, a scale of the cosines."""
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.losses import normalize
from pretrain.method.objective import Objective, in_parts, plain
from pretrain.models.functional import Net, functional
from pretrain.models.layers import Linear


def two_towers(backbone: Callable, text: Callable, dim: int, temperature: float, **scalars: float) -> Net:
  """Parts backbone and text, bias-free projections image_head and text_head to `dim`, log_scale, and named scalars.

  Args:
    backbone, text: build(rngs) -> module with `width`; of images, of tokens.
    temperature: > 0, at first; the cosines are multiplied by exp(log_scale), 1 / temperature.
  """
  def parts(rngs):
    f, g = backbone(rngs), text(rngs)
    head = lambda width: Linear(width, dim, use_bias=False, rngs=rngs)
    first = {'log_scale': -math.log(temperature), **scalars}
    return nnx.Dict(backbone=f, text=g, image_head=head(f.width), text_head=head(g.width),
                    **{name: nnx.Param(jnp.float32(value)) for name, value in first.items()})

  return functional(parts)


def matching(net: Net, loss: Callable, update: Callable | None = None) -> Objective:
  """The objective of batches of pairs.

  Args:
    net: of `two_towers`.
    loss: (params, image [b, dim], text [b, dim], scale) -> f32[], of projections of any scale.
    update: as in `Objective`, where there is more to do than `plain` does.
  """
  def embed(params, memory, batch, key, step):
    del step
    keys = jax.random.split(key)
    h, statistics = net.apply(params, memory['statistics'], lambda m: {
        'image': m.backbone(batch['image'], train=True, key=keys[0]),
        'text': m.text(batch['tokens'], train=True, key=keys[1])})
    return h, {'statistics': statistics}

  def couple(params, h, carry, memory, batch, step):
    del memory, batch, step
    (image, text), _ = net.apply(params, carry['statistics'],
                                 lambda m: (m.image_head(h['image']), m.text_head(h['text'])))
    scale = jnp.exp(params['log_scale'])
    return loss(params, image, text, scale), (carry, {'temperature': 1 / scale})

  def image_tower(params, memory, images):
    return normalize(net.apply(params, memory['statistics'], lambda m: m.image_head(m.backbone(images)))[0])

  def text_tower(params, memory, tokens):
    return normalize(net.apply(params, memory['statistics'], lambda m: m.text_head(m.text(tokens)))[0])

  more: dict[str, Any] = {} if update is None else {'update': update}
  return Objective({'image': 'b h w c', 'tokens': 'b l'}, towers=(image_tower, text_tower),
                   **in_parts(net, embed, couple), **(plain(net, couples_batch=True) | more))
