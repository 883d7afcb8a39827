"""The view that evaluators see."""
import jax.numpy as jnp
from jax import lax

from pretrain.config import Count
from pretrain.views.ops.geometry import resize_weights
from pretrain.views.ops.keys import to_float


def evaluation(*, size: Count):
  """Resizes the shorter side to `size` and crops the centre; nothing random, nothing at all where the sizes match.

  Returns `view(images)`: u8[b, h, w, c] -> f32[b, size, size, c] in [0, 1].  Bilinear with anti-aliasing (Pillow's
  BILINEAR); the sizes and the place of the crop are torchvision's.
  """

  def weights(side, shorter):
    resized = size * side // shorter
    start = round((resized - size) / 2)
    return resize_weights(0.0, float(side), side, resized)[start:start + size]  # [size, side]

  def view(images):
    h, w = images.shape[1:3]
    x = to_float(images)
    if (h, w) == (size, size):
      return x
    rows, columns = weights(h, min(h, w)), weights(w, min(h, w))
    return jnp.clip(jnp.einsum('oh,pw,bhwc->bopc', rows, columns, x, precision=lax.Precision.HIGHEST), 0, 1)

  return view
