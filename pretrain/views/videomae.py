"""VideoMAE's single view of a clip."""
import jax.numpy as jnp

from pretrain.config import Count, Parts, Positives
from pretrain.views.ops.geometry import BOX_DRAWS, random_resized_crop
from pretrain.views.ops.keys import channels_last, example_keys, replace_image, to_planes, uniforms


def videomae(*, size: Count, scale: Parts, ratio: Positives = (3 / 4, 4 / 3), frames: Count | None = None):
  """One random resized crop for all frames of a clip, or, of still images, a crop that moves from frame to frame.

  Args:
    size: side of the view, in pixels.
    scale, ratio: of the crop (arXiv:1409.4842v1 section 6).
    frames: for still images: how many to make; the crop goes from one random box to another.

  Returns `views(batch, key) -> batch`: raw 'image' u8[b, t, h, w, c], or u8[b, h, w, c] with `frames`, becomes 'video'
  f32[b, t, size, size, c] in [0, 1].
  Deviation from the code of arXiv:2203.12602v3: there one of four sizes and of a few places is cropped.
  Raises: ValueError for clips with `frames`, or still images without.
  """
  def views(batch, key):
    images = batch['image']
    if (images.ndim == 5) != (frames is None):
      raise ValueError(f'wanted clips [b, t, h, w, c], or images [b, h, w, c] and frames; got {images.shape} and '
                       f'{frames=}')
    keys = example_keys(key, batch['index'], batch['epoch'])
    planes = to_planes(images)
    b, c = len(images), images.shape[-1]
    box, = uniforms(keys, 1 if frames is None else 2, (BOX_DRAWS,))  # [b, 1 or 2, draws]
    if frames is not None:
      way = jnp.linspace(0., 1., frames)[:, None]
      box = (1 - way) * box[:, :1] + way * box[:, 1:]  # [b, t, draws]
    crops = random_resized_crop(planes.reshape(b, -1, *planes.shape[-2:]), box, jnp.zeros(box.shape[:2], bool),
                                size=size, scale=scale, ratio=ratio)  # [b, 1, t * c, size, size] or [b, t, c, ...]
    return replace_image(batch, video=channels_last(crops.reshape(b, -1, c, size, size)))

  return views
