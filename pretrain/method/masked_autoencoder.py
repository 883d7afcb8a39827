"""Masked autoencoders: an encoder of the visible cells and a light decoder of all, of whatever a front end cuts."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.frontends import Modality
from pretrain.method.objective import Network, Objective, method
from pretrain.models.decoder import PatchDecoder


def masked_autoencoder(modality: Modality, backbone: Callable, *, hide: Callable, target: Callable, width: int,
                       depth: int, heads: int) -> Objective:
  """The method of MAE and VideoMAE, which differ by what they read, hide and predict.

  Args:
    modality: of the inputs x [b, ...].
    backbone, width, depth, heads: as of `autoencoder`.
    hide: (key, index i32[b], grid) -> as `hide` of `hidden_error`.
    target: as of `hidden_error`.
  """
  def loss(student, batch, key):
    return hidden_error(student, batch[modality.reads], lambda grid: hide(key, batch['index'], grid), target, key), {}

  return method(modality.batch | {'index': 'b'}, autoencoder(backbone, width=width, depth=depth, heads=heads), loss)


def autoencoder(backbone: Callable, *, width: int, depth: int, heads: int) -> Callable:
  """Modules: a `backbone`, and a `decoder` of these sizes of all its cells.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `cells`, `levers` and `width`.
  """
  def modules(rngs):
    f = backbone(rngs)
    decoder = PatchDecoder(f.width, f.cells.size, width=width, depth=depth, heads=heads, rngs=rngs, **f.levers)
    return nnx.Dict(backbone=f, decoder=decoder)
  return modules


def hidden_error(student: Network, x, hide: Callable, target: Callable, key):
  """f32[], the squared error of hidden cells, which are reconstructed from those that the encoder sees.

  Args:
    x: [b, ...], what the backbone reads.
    hide: grid -> visible i32[b, k], mask bool[b, n].
    target: (x, `Cells` of the backbone) -> f32[b, n, p], what to predict.
  """
  f = student.backbone
  tokens = f.embed(x)  # [b, n, d]
  grid = f.cells.grid_of(x.shape)
  visible, mask = hide(grid)
  tokens = jnp.take_along_axis(tokens, visible[..., None], 1)  # [b, n - hidden, d]
  tokens = f.encode(tokens, train=True, key=key)
  predicted = student.decoder(tokens, visible, f.cells.positions(grid, student.decoder.width))
  return losses.masked_mse(predicted, target(x, f.cells), mask=mask)
