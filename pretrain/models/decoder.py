"""Light Transformers that predict patches from the tokens of others."""
import math

import jax.numpy as jnp
from flax import nnx

from pretrain.models.patches import fixed_positions, sincos
from pretrain.models.vit import Transformer


class PatchDecoder(nnx.Module):
  """Tokens of the visible patches -> a prediction for every patch of the grid (arXiv:2111.06377v3, section 3).

  Args:
    in_: width of the encoder's tokens.
    out: numbers predicted a patch, p.
    width, depth, heads: of the decoder's Transformer; its MLP is 4 * width wide.
    levers: more of the Transformer's arguments, such as dtype.
  """

  def __init__(self, in_: int, out: int, *, width: int, depth: int, heads: int, rngs: nnx.Rngs, **levers):
    xavier = nnx.initializers.xavier_uniform()
    self.width = width
    self.embed = nnx.Linear(in_, width, kernel_init=xavier, rngs=rngs)
    self.mask_token = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (width,), jnp.float32))
    self.trunk = Transformer(width, depth, heads, 4 * width, rngs=rngs, **levers)
    self.predict = nnx.Linear(width, out, kernel_init=xavier, rngs=rngs)

  def __call__(self, tokens, visible, grid: tuple[int, ...]):
    """tokens [b, e + k, in_] (e extra tokens, then k patches), visible int[b, k] their places -> f32[b, n, out].

    grid: (rows, columns) of the n patches, or (times, rows, columns).
    """
    tokens = self.embed(tokens)
    b, n, extra = len(tokens), math.prod(grid), tokens.shape[1] - visible.shape[1]
    full = jnp.broadcast_to(self.mask_token[...], (b, n, self.width))
    full = full.at[jnp.arange(b)[:, None], visible].set(tokens[:, extra:])  # [b, n, width]
    full = full + jnp.asarray(fixed_positions(grid, self.width))[None]
    return self.predict(self.trunk(jnp.concatenate([tokens[:, :extra], full], 1))[:, extra:])


class BlockPredictor(nnx.Module):
  """Tokens of a context -> predicted tokens of target blocks, each block on its own (arXiv:2301.08243v3, section 3).

  Positions are sine-cosine, here as in the authors' code, whatever those of the backbone are.

  Args:
    in_: width of the backbone's tokens, and of the predictions.
    width, depth, heads: of the predictor's Transformer; its MLP is 4 * width wide.
    levers: more of the Transformer's arguments, such as dtype.
  """

  def __init__(self, in_: int, *, width: int, depth: int, heads: int, rngs: nnx.Rngs,
               **levers):
    xavier = nnx.initializers.xavier_uniform()
    self.width = width
    self.embed = nnx.Linear(in_, width, kernel_init=xavier, rngs=rngs)
    self.mask_token = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (width,), jnp.float32))
    self.trunk = Transformer(width, depth, heads, 4 * width, rngs=rngs, **levers)
    self.predict = nnx.Linear(width, in_, kernel_init=xavier, rngs=rngs)

  def __call__(self, tokens, context, target, grid: tuple[int, int]):
    """tokens [b, k, in_] at the places int[b, k]; places of m blocks int[b, m, t] -> f32[b, m, t, in_]."""
    (b, k), (_, m, t) = context.shape, target.shape
    positions = jnp.asarray(sincos(grid, self.width))
    x = self.embed(tokens) + positions[context]  # [b, k, width]
    x = jnp.broadcast_to(x[:, None], (b, m, k, self.width))
    x = jnp.concatenate([x, self.mask_token[...] + positions[target]], 2)  # [b, m, k + t, width]
    x = self.trunk(x.reshape(b * m, k + t, self.width))[:, k:]
    return self.predict(x).reshape(b, m, t, -1)
