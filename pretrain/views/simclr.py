"""SimCLR's two views."""
from typing import Annotated

from pretrain.config import Count, Parts, Positives, Range, Share
from pretrain.views.ops.crops import CROP_DRAWS, distorted_crops
from pretrain.views.ops.keys import example_keys, replace_image, to_planes, uniforms


def simclr(*, size: Count, scale: Parts, ratio: Positives = (3 / 4, 4 / 3), flip: Share = 0.5,
           jitter: Annotated[float, Range(0, 2.5)], jitter_probability: Share = 0.8, grayscale: Share = 0.2,
           blur: Share, solarize: Share = 0.0):
  """Two views of each image: random resized crop, flip, colour jitter, grey, blur (arXiv:2002.05709v3 appendix A).

  The paper: ImageNet scale (0.08, 1), jitter 1.0, blur 0.5; CIFAR-10 jitter 0.5 and blur 0 (appendix B.9).

  Args:
    size: side of the views, in pixels.
    scale, ratio: range of the crop's share of the area, and of its width / height.
    flip, jitter_probability, grayscale, blur, solarize: probabilities, drawn per view.  Solarize (not the paper's; the
      threshold is 0.5) comes last.
    jitter: strength s: brightness, contrast and saturation 0.8 s, hue 0.2 s, in a random order.

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, h, w, c] becomes 'views' f32[b, 2, size, size, c] in [0, 1].

  Blur: standard deviation uniform in [0.1, 2.0] pixels whatever the size; the kernel is 10 % of the size, in the
  authors' arithmetic size // 10 // 2 pixels to each side, but at least 1 (theirs would be no blur below 20 pixels).
  Deviations from the authors' code: bilinear anti-aliased crops (theirs: bicubic without); ten tries for a crop (theirs
  100); borders mirrored in the blur (theirs: zeros); brightness is multiplied (the paper's listing adds; SimCLR v2
  multiplies).
  """

  def views(batch, key):
    keys = example_keys(key, batch['index'], batch['epoch'])
    u, = uniforms(keys, 2, (sum(CROP_DRAWS),))  # [b, 2, draws]
    strength = (0.8 * jitter, 0.8 * jitter, 0.8 * jitter, 0.2 * jitter)
    x = distorted_crops(to_planes(batch['image']), u, size=size, scale=scale, ratio=ratio, flip=flip, strength=strength,
                        jitter_probability=jitter_probability, grayscale_probability=grayscale, blur=(blur, blur),
                        radius=max(1, size // 20), solarize_probability=(solarize, solarize))
    return replace_image(batch, views=x)

  return views
