"""SparK: Designing BERT for Convolutional Networks, Sparse and Hierarchical Masked Modeling (masked modelling)."""
import math
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, ProperPart
from pretrain.frontends.image import grid_of, normalize, patchify
from pretrain.method.masks import random_mask
from pretrain.method.objective import Objective, method
from pretrain.models.decoder import MapDecoder

PAPER = dict(title='Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling',
             arxiv='2301.03580', family='masked modelling', modality='image')


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
  def modules(rngs):
    f = backbone(rngs)
    if getattr(f, 'reduction', 1) < 2:
      raise ValueError('spark wants a backbone with maps that get smaller from stage to stage, such as a resnet of two '
                       f'stages or more, got {type(f).__name__}')
    return nnx.Dict(backbone=f, decoder=MapDecoder(f.widths, f.channels, f.reduction, width=decoder_width, rngs=rngs))

  def loss(student, batch, key):
    images, f = batch['image'], student.backbone
    grid = grid_of(images.shape, f.reduction)
    _, mask = random_mask(key, batch['index'], math.prod(grid), mask_ratio)  # [b, n]
    visible = ~mask.reshape(-1, *grid)
    predicted = student.decoder(f.outputs(images, visible, train=True, key=key), visible, train=True)
    pixels = normalize(images, channels=f.channels, mean=f.mean, std=f.std)
    target = losses.standardize_patches(patchify(pixels, f.reduction))  # [b, n, p]
    return losses.masked_mse(patchify(predicted, f.reduction), target, mask=mask), {}

  return method({'image': 'b h w c', 'index': 'b'}, modules, loss)
