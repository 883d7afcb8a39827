"""VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training (masked)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain.config import Count, ProperPart
from pretrain.frontends import video
from pretrain.method.masked_autoencoder import masked_autoencoder
from pretrain.method.masks import tube_mask
from pretrain.method.objective import Objective

PAPER = dict(title='VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training',
             arxiv='2203.12602v3', family='masked modelling', modality='video')


def videomae(backbone: Callable, *, mask_ratio: ProperPart, decoder_width: Count, decoder_depth: Count,
             decoder_heads: Count, standardize: bool) -> Objective:
  """Reconstructs the pixels of hidden cubes of a clip; a place is hidden at all times, or at none.

  arXiv:2203.12602v3, section 3. The mask of a clip depends on the step and its index. Deviations from the authors'
  code: there is a class token; the decoder's projection of the tokens has a bias.

  Args:
    backbone: a ViT with `frames` and `tubelet`, as for `mae`.
    mask_ratio: share of hidden places, in (0, 1); the paper's is 0.9. int(n * mask_ratio) of n places are hidden.
    decoder_width, decoder_depth, decoder_heads: 384, 4, 6 for ViT-B in the authors' code.
    standardize: whether targets, pixels in [0, 1], are normalised cube by cube, each channel on its own, as in the
      authors' code.
  Raises:
    ValueError: the mask ratio leaves no place visible, or hides none.
  """
  def target(clips, cells):
    cubes = cells.cut(clips)  # [b, n, p * c]
    if not standardize:
      return cubes
    return standardize_cubes(cubes.reshape(*cubes.shape[:2], -1, clips.shape[-1])).reshape(cubes.shape)

  return masked_autoencoder(
      video.MODALITY, backbone, hide=lambda key, index, grid: tube_mask(key, index, grid, mask_ratio), target=target,
      width=decoder_width, depth=decoder_depth, heads=decoder_heads)


def standardize_cubes(cubes):
  """Each channel of a cube minus its mean over its unbiased standard deviation + 1e-6: [b, n, p, c] -> f32[b, n, p, c].

  arXiv:2203.12602v3, section 3.2; form and number of the authors' code, engine_for_pretraining.py.
  """
  cubes = cubes.astype(jnp.float32)
  return (cubes - cubes.mean(-2, keepdims=True)) / (cubes.std(-2, keepdims=True, ddof=1) + 1e-6)
