"""MAE: Masked Autoencoders Are Scalable Vision Learners (masked modelling)."""
import math
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, ProperPart
from pretrain.frontends import Cells, image
from pretrain.method.masked_autoencoder import masked_autoencoder
from pretrain.method.masks import random_mask
from pretrain.method.objective import Objective

PAPER = dict(title='Masked Autoencoders Are Scalable Vision Learners',
             arxiv='2111.06377v3', family='masked modelling', modality='image')


def mae(backbone: Callable, *, mask_ratio: ProperPart, decoder_width: Count, decoder_depth: Count, decoder_heads: Count,
        standardize: bool) -> Objective:
  """Reconstructs the pixels of hidden patches from the visible ones, which alone the encoder sees.

  arXiv:2111.06377v3, section 3. The mask of an example depends on the step and its index, not on its row. The pixels to
  predict are normalised as the backbone's mean and std say, as in the authors' code (main_pretrain.py).

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `cells`, `levers` and `width`.
    mask_ratio: share of hidden patches, in (0, 1); the paper's is 0.75. int(n * (1 - mask_ratio)) patches stay.
    decoder_width, decoder_depth, decoder_heads: the paper's are 512, 8, 16.
    standardize: whether targets are normalised patch by patch besides ("w/ norm" in table 1d).
  Raises:
    ValueError: the mask ratio leaves no patch visible, or hides none.
  """
  return masked_autoencoder(
      image.MODALITY, backbone, hide=lambda key, index, grid: random_mask(key, index, math.prod(grid), mask_ratio),
      target=lambda x, cells: pixels_of(x, cells, standardize), width=decoder_width, depth=decoder_depth,
      heads=decoder_heads)


def pixels_of(images, cells: Cells, standardize: bool):
  """What `mae` predicts: f32[b, n, p * p * c], the patches, normalised as the backbone's mean and std say."""
  target = cells.cut(cells.normalize(images))
  return losses.standardize_patches(target) if standardize else target
