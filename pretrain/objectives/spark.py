"""SparK: Designing BERT for Convolutional Networks, Sparse and Hierarchical Masked Modeling (masked modelling)."""
import math
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, ProperPart
from pretrain.method.masks import random_mask
from pretrain.method.objective import Objective, plain
from pretrain.models.decoder import MapDecoder
from pretrain.models.functional import functional
from pretrain.models.patches import grid_of, normalize, patchify


def spark(backbone: Callable, *, mask_ratio: ProperPart, decoder_width: Count) -> Objective:
  """Reconstructs the pixels of hidden patches from the maps that a residual network makes of the visible ones alone.

  arXiv:2301.03580, section 3 (numbers of sections from memory), and the authors' code: a patch is what a position of
  the last map stands for; its pixels are normalised by the backbone's mean and std, then patch by patch, as MAE's.
  Deviations: int(n (1 - mask_ratio)) patches stay, not the nearest number, as with MAE here; the decoder's last map
  takes the encoder's of the same size too, if there is one (not in networks that begin with a stride); no drop_path.

  Args:
    backbone: a residual network, build(rngs) -> module with `outputs`, `widths`, `reduction` and `channels`.
    mask_ratio: share of hidden patches, in (0, 1); the paper's is 0.6.
    decoder_width: of the smallest map, halved at each doubling of the side; the authors' is 768 at 1/32 of the side.
  Raises:
    ValueError: a backbone without maps, a ratio that hides nothing or all, sides that do not fit.
  """
  def parts(rngs):
    f = backbone(rngs)
    if getattr(f, 'reduction', 1) < 2:
      raise ValueError('spark wants a backbone with maps that get smaller from stage to stage, such as a resnet of two '
                       f'stages or more, got {type(f).__name__}')
    return nnx.Dict(backbone=f, decoder=MapDecoder(f.widths, f.channels, f.reduction, width=decoder_width, rngs=rngs))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    images = batch['image']

    def reconstruct(m):
      size = m.backbone.reduction
      grid = grid_of(images.shape, size)
      _, mask = random_mask(key, batch['index'], math.prod(grid), mask_ratio)  # [b, n]
      visible = ~mask.reshape(-1, *grid)
      predicted = m.decoder(m.backbone.outputs(images, visible, train=True, key=key), visible, train=True)
      pixels = normalize(images, channels=m.backbone.channels, mean=m.backbone.mean, std=m.backbone.std)
      return patchify(predicted, size), losses.standardize_patches(patchify(pixels, size)), mask

    (predicted, target, mask), statistics = net.apply(params, memory['statistics'], reconstruct)
    return losses.masked_mse(predicted, target, mask), ({'statistics': statistics}, {})

  return Objective({'image': 'b h w c', 'index': 'b'}, loss=loss, **plain(net))
