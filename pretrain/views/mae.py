"""MAE's single view."""
from pretrain.config import Count, Parts, Positives, Share
from pretrain.views.ops.frequency import fourier_crop
from pretrain.views.ops.geometry import BOX_DRAWS, random_resized_crop
from pretrain.views.ops.keys import (
  channels_last,
  example_keys,
  replace_image,
  to_planes,
  uniforms,
)


def mae(*, size: Count, scale: Parts, ratio: Positives = (3 / 4, 4 / 3), flip: Share = 0.5,
        bandwidth: Count | None = None):
  """Random resized crop and flip (arXiv:2111.06377v3 appendix A.1; the paper's scale is (0.2, 1)).

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, h, w, c] becomes f32[b, size, size, c] in [0, 1]; with a
  bandwidth only its low frequencies, as an image of that side (`ops.frequency.fourier_crop`).
  Deviation from the authors' code: bilinear instead of bicubic crops.
  """
  def views(batch, key):
    keys = example_keys(key, batch['index'], batch['epoch'])
    box, mirror = uniforms(keys, 1, (BOX_DRAWS, 1))
    crops = random_resized_crop(to_planes(batch['image']), box, mirror[..., 0] < flip, size=size, scale=scale,
                                ratio=ratio)
    crops = crops[:, 0] if bandwidth is None else fourier_crop(crops[:, 0], bandwidth)
    return replace_image(batch, image=channels_last(crops))

  return views
