"""What masked autoencoders share: an encoder of the visible patches and a light decoder of all."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.method.objective import Network
from pretrain.models.decoder import PatchDecoder
from pretrain.models.patches import grid_of


def autoencoder(backbone: Callable, *, width: int, depth: int, heads: int) -> Callable:
  """Modules: a `backbone`, and a `decoder` of these sizes of all its patches.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `patches`, `patch`, `tubelet`, `grid` and `width`.
  """
  def modules(rngs):
    f = backbone(rngs)
    decoder = PatchDecoder(f.width, f.tubelet * f.channels * f.patch ** 2, width=width, depth=depth, heads=heads,
                           rngs=rngs, **f.levers)
    return nnx.Dict(backbone=f, decoder=decoder)
  return modules


def hidden_error(student: Network, pixels, hide: Callable, targets: Callable, key):
  """f32[], the squared error of hidden patches, which are reconstructed from those that the encoder sees.

  Args:
    pixels: [b, h, w, c], or [b, t, h, w, c].
    hide: grid -> visible i32[b, k], mask bool[b, n].
    targets: (pixels, backbone) -> f32[b, n, p], what to predict.
  """
  f = student.backbone
  tokens = f.embed(pixels)  # [b, n, d]
  grid = (*f.grid[:-2], *grid_of(pixels.shape, f.patch))
  visible, mask = hide(grid)
  tokens = jnp.take_along_axis(tokens, visible[..., None], 1)  # [b, n - hidden, d]
  tokens = f.encode(tokens, train=True, key=key)
  return losses.masked_mse(student.decoder(tokens, visible, grid), targets(pixels, f), mask=mask)
