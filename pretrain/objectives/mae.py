"""MAE: Masked Autoencoders Are Scalable Vision Learners (masked modelling)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.masks import random_mask
from pretrain.models.decoder import PatchDecoder
from pretrain.models.functional import functional
from pretrain.models.patches import patchify
from pretrain.objective import Objective, plain


def mae(backbone: Callable, *, mask_ratio: float, decoder_width: int, decoder_depth: int, decoder_heads: int,
        standardize: bool) -> Objective:
  """Reconstructs the pixels of hidden patches from the visible ones, which alone the encoder sees.

  arXiv:2111.06377v3, section 3. The mask of an example depends on the step and its index, not on its row.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `patches`, `patch`, `grid` and `width`.
    mask_ratio: share of hidden patches, in (0, 1); the paper's is 0.75. int(n * (1 - mask_ratio)) patches stay.
    decoder_width, decoder_depth, decoder_heads: the paper's are 512, 8, 16.
    standardize: whether targets are normalised patch by patch ("w/ norm" in table 1d).
  Raises:
    ValueError: the mask ratio leaves no patch visible, or hides none.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, decoder=PatchDecoder(f.width, f.channels * f.patch ** 2, f.grid, width=decoder_width,
                                                     depth=decoder_depth, heads=decoder_heads, rngs=rngs, **f.levers))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step

    def reconstruct(m):
      tokens = m.backbone.embed(batch['image'])  # [b, n, d]
      visible, mask = random_mask(key, batch['index'], tokens.shape[1], mask_ratio)
      tokens = jnp.take_along_axis(tokens, visible[..., None], 1)  # [b, n - hidden, d]
      tokens = m.backbone.encode(tokens, train=True, key=key)
      target = patchify(batch['image'], m.backbone.patch)  # [b, n, p]
      return m.decoder(tokens, visible), target, mask

    (predicted, target, mask), statistics = net.apply(params, memory['statistics'], reconstruct)
    target = losses.standardize_patches(target) if standardize else target
    return losses.masked_mse(predicted, target, mask), ({'statistics': statistics}, {})

  return Objective({'image': 'b h w c', 'index': 'b'}, loss=loss, **plain(net))
