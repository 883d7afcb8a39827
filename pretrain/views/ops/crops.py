"""The augmentation that SimCLR, BYOL and DINO share: crop, flip, colour jitter, grey, blur, solarize."""
import math
from typing import Annotated

import jax.numpy as jnp

from pretrain.config import NonNegative, Range
from pretrain.views.ops.blur import gaussian_blur
from pretrain.views.ops.color import JITTER_DRAWS, grayscale, jitter, solarize
from pretrain.views.ops.geometry import BOX_DRAWS, random_resized_crop
from pretrain.views.ops.keys import channels_last, check_unit, split

# strengths of brightness, contrast, saturation and hue
Jitter = tuple[NonNegative, NonNegative, NonNegative, Annotated[float, Range(0, 0.5)]]
CROP_DRAWS = (BOX_DRAWS, 1, JITTER_DRAWS, 1, 1, 1, 1)  # box, flip, jitter, grey, blur, its sigma, solarize


def distorted_crops(images, u, *, size: int, scale: tuple[float, float], ratio: tuple[float, float], flip: float,
                    strength: tuple[float, float, float, float], jitter_probability: float,
                    grayscale_probability: float, blur: tuple[float, ...], radius: int,
                    solarize_probability: tuple[float, ...]):
  """v crops of each image, distorted in the order crop, flip, jitter, grey, blur, solarize.

  Blur has a standard deviation uniform in [0.1, 2.0] pixels (arXiv:2002.05709v3 appendix A).

  Args: `images` f32[b, c, h, w]; `u` f32[b, v, sum(CROP_DRAWS)] uniform; `strength` of brightness, contrast,
    saturation, hue; `blur`, `solarize_probability` one probability per view, or one for all; `radius` of the blur.
  Returns: f32[b, v, size, size, c] in [0, 1].
  """
  check_unit(flip=flip, jitter_probability=jitter_probability, grayscale=grayscale_probability, blur=blur,
             solarize=solarize_probability)
  box, mirror, colour, grey, blurred, sigma, solar = split(u, CROP_DRAWS)
  x = random_resized_crop(images, box, mirror[..., 0] < flip, size=size, scale=scale, ratio=ratio)
  shape = x.shape
  n = math.prod(shape[:2])

  def coin(draw, probability):
    return (draw[..., 0] < jnp.array(probability)).reshape(n)

  x = x.reshape(n, *shape[2:])  # [b v, c, size, size]
  x = jitter(x, colour.reshape(n, -1), strength=strength, probability=jitter_probability)
  x = grayscale(x, coin(grey, grayscale_probability))
  if max(blur) > 0:
    x = gaussian_blur(x, 0.1 + 1.9 * sigma.reshape(n), coin(blurred, blur), radius=radius)
  if max(solarize_probability) > 0:
    x = solarize(x, coin(solar, solarize_probability))
  return channels_last(x.reshape(shape))
