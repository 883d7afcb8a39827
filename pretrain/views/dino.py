"""DINO's multi-crop."""
from pretrain.config import Count, Natural, Parts, Positives, Share
from pretrain.views.ops.crops import CROP_DRAWS, Jitter, distorted_crops
from pretrain.views.ops.keys import example_keys, replace_image, to_planes, uniforms


def dino(*, size: Count, local_size: Count, local_crops: Natural, global_scale: Parts, local_scale: Parts,
         ratio: Positives = (3 / 4, 4 / 3), flip: Share = 0.5, jitter: Jitter = (0.4, 0.4, 0.2, 0.1),
         jitter_probability: Share = 0.8, grayscale: Share = 0.2, blur: tuple[Share, Share, Share] = (1.0, 0.1, 0.5),
         solarize: Share = 0.2):
  """Two global crops, distorted unlike each other, and v local ones (arXiv:2104.14294v2 section 3.1, appendix).

  Colour as in BYOL (arXiv:2006.07733v3 appendix B).  The authors' ImageNet: sizes 224 and 96, scales (0.4, 1) and
  (0.05, 0.4) with 8 or 10 local crops.

  Args:
    size, local_size: sides of the crops, in pixels; local_crops: v, may be 0.
    global_scale, local_scale, ratio: ranges of the crops' share of the area, and of their width / height.
    flip, jitter_probability, grayscale: probabilities, per crop.
    jitter: strengths of brightness, contrast, saturation, hue.
    blur: probabilities for the first global, the second global and every local crop.
    solarize: probability for the second global crop alone, threshold 0.5.

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, h, w, c] becomes 'global' f32[b, 2, size, size, c] and 'local'
  f32[b, v, local_size, local_size, c] (absent without local crops), in [0, 1].

  Deviations from the authors' code: bilinear instead of bicubic crops; the blur is a true Gaussian, cut off at 4
  standard deviations of the widest (8 pixels), where Pillow repeats box filters; borders mirrored, theirs repeated.
  """
  shared = {'ratio': ratio, 'flip': flip, 'strength': jitter, 'jitter_probability': jitter_probability,
                'grayscale_probability': grayscale, 'radius': 8}

  def views(batch, key):
    images = to_planes(batch['image'])
    keys = example_keys(key, batch['index'], batch['epoch'])
    u, = uniforms(keys, 2 + local_crops, (sum(CROP_DRAWS),))  # [b, 2 + v, draws]
    crops = {'global': distorted_crops(images, u[:, :2], size=size, scale=global_scale, blur=tuple(blur[:2]),
                                       solarize_probability=(0.0, solarize), **shared)}
    if local_crops:
      crops['local'] = distorted_crops(images, u[:, 2:], size=local_size, scale=local_scale, blur=(blur[2],),
                                       solarize_probability=(0.0,), **shared)
    return replace_image(batch, **crops)

  return views
