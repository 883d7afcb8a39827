"""SimMIM: A Simple Framework for Masked Image Modeling (masked modelling)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, ProperPart
from pretrain.method.masks import random_mask
from pretrain.method.objective import Objective, method
from pretrain.models.layers import Linear, MaskToken

PAPER = dict(title='SimMIM: A Simple Framework for Masked Image Modeling',
             arxiv='2111.09886v2', family='masked modelling', modality='image')


def simmim(backbone: Callable, *, mask_ratio: ProperPart, mask_size: Count) -> Objective:
  """A linear layer reads the pixels of hidden patches off the backbone's tokens, with mask tokens among its inputs.

  arXiv:2111.09886v2, section 3; pixels are normalised as the backbone's mean and std say, as in the authors' code.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `patches`, `cells`.
    mask_ratio: share of hidden squares, in (0, 1), rounded up to whole ones; 0.6 in the paper.
    mask_size: side of a square in pixels, a multiple of the patch; 32 in the paper.
  Raises:
    ValueError: squares, patches and the image do not fit; the ratio hides nothing or everything.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, mask_token=MaskToken(f.width, rngs=rngs),
                    head=Linear(f.width, f.cells.size, rngs=rngs))

  def loss(student, batch, key):
    images, f = batch['image'], student.backbone
    grid = f.cells.grid_of(images.shape)
    mask = square_mask(key, batch['index'], grid, mask_ratio, mask_size, images.shape[1] // grid[0])  # [b, n]
    tokens = f.encode(f.embed(images, mask, student.mask_token()), train=True, key=key)
    target = f.cells.cut(f.cells.normalize(images))  # [b, n, p]
    return masked_l1(student.head(f.patches(tokens)), target, mask=mask), {}

  return method({'image': 'b h w c', 'index': 'b'}, modules, loss)


def masked_l1(predicted, target, *, mask):
  """Mean absolute error of the hidden patches only, over the pixels of a patch and all hidden patches of the batch.

  arXiv:2111.09886v2, section 3.4. The authors' code adds 1e-5 to the number of hidden pixels.

  Args:
    predicted, target: [b, n, p].
    mask: bool[b, n], True where hidden; at least one is.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  return losses.masked_error('masked_l1', jnp.abs, predicted=predicted, target=target, mask=mask)


def square_mask(key, index, grid: tuple[int, int], mask_ratio: float, size: int, patch: int):
  """Random squares of `size` pixels, of whole patches: bool[b, rows * columns], True where hidden."""
  side, (rows, columns) = size // patch, grid
  if size % patch or rows % side or columns % side:
    raise ValueError(f'mask_size wants a multiple of the patch of {patch} pixels that divides the image of '
                     f'{rows * patch} x {columns * patch}, got {size}; nearest: {patch}')
  _, mask = random_mask(key, index, rows * columns // side ** 2, mask_ratio)
  mask = mask.reshape(-1, rows // side, columns // side)
  return jnp.repeat(jnp.repeat(mask, side, 1), side, 2).reshape(len(index), rows * columns)
