"""Views for training with labels."""
import jax.numpy as jnp

from pretrain.config import Count, Natural, Parts, Positives, Share
from pretrain.views.ops.frequency import fourier_crop
from pretrain.views.ops.geometry import BOX_DRAWS, random_resized_crop, random_shift
from pretrain.views.ops.keys import (
  channels_last,
  example_keys,
  replace_image,
  to_planes,
  uniforms,
)
from pretrain.views.ops.randaugment import CUTOUT_DRAWS, OPERATION_DRAWS, cutout, rand_augment


def supervised(*, size: Count, scale: Parts | None = None, pad: Natural | None = None,
               ratio: Positives = (3 / 4, 4 / 3), flip: Share = 0.5, operations: Natural = 0, magnitude: Share = 1.0,
               probability: Share = 1.0, cutout_share: Share = 0.0, bandwidth: Count | None = None):
  """One crop of each image, perhaps mirrored, in one of two ways: give `scale` or `pad`, not both.

  Args:
    size: side of the view, in pixels.
    scale: random resized crop with this share of the area (arXiv:1409.4842v1 section 6) and `ratio` width / height.
    pad: random crop of `size` pixels out of the image with `pad` pixels of zeros on each side (arXiv:1512.03385v1
      section 4.2); pad=0 with the image's own size only flips.
    flip: probability.
    operations: of RandAugment on the crop (arXiv:1909.13719v2), drawn with replacement; ranges in `ops.randaugment`.
    magnitude: of these, in [0, 1]: the weakest such share of every range.
    probability: that an operation that is drawn is applied; 0.5 in timm's code.
    cutout_share: side of a grey square in the crop, as a fraction of the crop's.
    bandwidth: the low frequencies of the view alone, as an image of this side (`ops.frequency.fourier_crop`).

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, h, w, c] becomes f32[b, size, size, c] in [0, 1], or of side
  bandwidth; 'label' stays.
  Raises: ValueError unless exactly one of `scale` and `pad` is given.
  """
  if (scale is None) == (pad is None):
    raise ValueError(f'give scale=(low, high) for resized crops or pad=pixels for padded ones, got {scale=}, {pad=}')

  def views(batch, key):
    keys = example_keys(key, batch['index'], batch['epoch'])
    draws = (operations * OPERATION_DRAWS, CUTOUT_DRAWS) if operations or cutout_share else ()
    box, mirror, *strong = uniforms(keys, 1, (BOX_DRAWS, 1, *draws))
    images, mirror = to_planes(batch['image']), mirror[..., 0] < flip
    if scale is not None:
      crops = random_resized_crop(images, box, mirror, size=size, scale=scale, ratio=ratio)
    else:
      crops = random_shift(images, box[..., :2], mirror, size=(size, size), pad=(pad or 0, pad or 0), reflect=False)
    crops = crops[:, 0]
    if strong:
      chain, hole = strong
      chain = chain.reshape(len(crops), operations, OPERATION_DRAWS)
      crops = rand_augment(jnp.round(255 * crops), chain, magnitude, probability)
      crops = cutout(crops, hole[:, 0], share=cutout_share) / 255
    if bandwidth is not None:
      crops = fourier_crop(crops, bandwidth)
    return replace_image(batch, image=channels_last(crops))

  return views
