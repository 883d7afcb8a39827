"""What MAE and VideoMAE share: an encoder of the visible patches, a light decoder of all, the error of the hidden."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.method.objective import Objective, plain
from pretrain.models.decoder import PatchDecoder
from pretrain.models.functional import functional
from pretrain.models.patches import grid_of


def masked_autoencoder(backbone: Callable, batch: dict[str, str], hide: Callable, targets: Callable, *,
                       decoder_width: int, decoder_depth: int, decoder_heads: int) -> Objective:
  """Reconstructs hidden patches from the visible ones, which alone the encoder sees.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `patches`, `patch`, `tubelet`, `grid` and `width`.
    batch: of the objective: the pixels' key first, then 'index'.
    hide: (key, index, grid) -> visible i32[b, k], mask bool[b, n].
    targets: (pixels, encoder) -> f32[b, n, p], what to predict.
  """
  pixels = next(iter(batch))

  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, decoder=PatchDecoder(f.width, f.tubelet * f.channels * f.patch ** 2,
                                                     width=decoder_width, depth=decoder_depth, heads=decoder_heads,
                                                     rngs=rngs, **f.levers))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step

    def reconstruct(m):
      tokens = m.backbone.embed(batch[pixels])  # [b, n, d]
      grid = (*m.backbone.grid[:-2], *grid_of(batch[pixels].shape, m.backbone.patch))
      visible, mask = hide(key, batch['index'], grid)
      tokens = jnp.take_along_axis(tokens, visible[..., None], 1)  # [b, n - hidden, d]
      tokens = m.backbone.encode(tokens, train=True, key=key)
      return m.decoder(tokens, visible, grid), targets(batch[pixels], m.backbone), mask

    (predicted, target, mask), statistics = net.apply(params, memory['statistics'], reconstruct)
    return losses.masked_mse(predicted, target, mask), ({'statistics': statistics}, {})

  return Objective(batch, loss=loss, **plain(net))
