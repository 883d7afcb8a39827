"""BYOL's two views, distorted unlike each other."""
from pretrain.config import Count, Parts, Positives, Share
from pretrain.views.ops.crops import CROP_DRAWS, Jitter, distorted_crops
from pretrain.views.ops.keys import example_keys, replace_image, to_planes, uniforms


def byol(*, size: Count, scale: Parts, ratio: Positives = (3 / 4, 4 / 3), flip: Share = 0.5,
         jitter: Jitter = (0.4, 0.4, 0.2, 0.1), jitter_probability: Share = 0.8, grayscale: Share = 0.2,
         blur: tuple[Share, Share] = (1.0, 0.1), solarize: tuple[Share, Share] = (0.0, 0.2)):
  """Random resized crop, flip, colour jitter, grey, blur, solarize (arXiv:2006.07733v3 appendix B, table 6).

  Args:
    size: side of the views, in pixels.
    scale, ratio: range of the crop's share of the area, and of its width / height; the paper's scale is (0.08, 1).
    flip, jitter_probability, grayscale: probabilities, drawn per view.
    jitter: strengths of brightness, contrast, saturation, hue, in a random order.
    blur, solarize: probabilities for the first and for the second view; solarize has the threshold 0.5.

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, h, w, c] becomes 'views' f32[b, 2, size, size, c] in [0, 1].

  Blur, and deviations from the authors' code, as in `views.simclr`.
  """

  def views(batch, key):
    keys = example_keys(key, batch['index'], batch['epoch'])
    u, = uniforms(keys, 2, (sum(CROP_DRAWS),))  # [b, 2, draws]
    x = distorted_crops(to_planes(batch['image']), u, size=size, scale=scale, ratio=ratio, flip=flip, strength=jitter,
                        jitter_probability=jitter_probability, grayscale_probability=grayscale, blur=blur,
                        radius=max(1, size // 20), solarize_probability=solarize)
    return replace_image(batch, views=x)

  return views
