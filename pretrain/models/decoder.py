"""Light decoders: what was hidden, predicted from what is seen."""
import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.frontends.image import sincos
from pretrain.models.convolutions import convolution
from pretrain.models.layers import Linear, MaskToken, batch_norm
from pretrain.models.resnet import Norm, spread
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
    self.embed = Linear(in_, width, kernel_init=xavier, rngs=rngs)
    token = nnx.initializers.normal(0.02)(rngs.params(), (width,), jnp.float32)
    self.mask_token = nnx.Param(token, decay=False)
    self.trunk = Transformer(width, depth, heads, 4 * width, rngs=rngs, **levers)
    self.predict = Linear(width, out, kernel_init=xavier, rngs=rngs)

  def __call__(self, tokens, visible, positions):
    """tokens [b, e + k, in_] (e extra tokens, then k patches), visible int[b, k] their places -> f32[b, n, out].

    positions: f32[n, width] of all patches.
    """
    tokens = self.embed(tokens)
    b, n, extra = len(tokens), len(positions), tokens.shape[1] - visible.shape[1]
    full = jnp.broadcast_to(self.mask_token[...], (b, n, self.width))
    full = full.at[jnp.arange(b)[:, None], visible].set(tokens[:, extra:])  # [b, n, width]
    full = full + jnp.asarray(positions)[None]
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
    self.embed = Linear(in_, width, kernel_init=xavier, rngs=rngs)
    token = nnx.initializers.normal(0.02)(rngs.params(), (width,), jnp.float32)
    self.mask_token = nnx.Param(token, decay=False)
    self.trunk = Transformer(width, depth, heads, 4 * width, rngs=rngs, **levers)
    self.predict = Linear(width, in_, kernel_init=xavier, rngs=rngs)

  def __call__(self, tokens, context, target, grid: tuple[int, int]):
    """tokens [b, k, in_] at the places int[b, k]; places of m blocks int[b, m, t] -> f32[b, m, t, in_]."""
    (b, k), (_, m, t) = context.shape, target.shape
    positions = jnp.asarray(sincos(grid, self.width))
    x = self.embed(tokens) + positions[context]  # [b, k, width]
    x = jnp.broadcast_to(x[:, None], (b, m, k, self.width))
    x = jnp.concatenate([x, self.mask_token[...] + positions[target]], 2)  # [b, m, k + t, width]
    x = self.trunk(x.reshape(b * m, k + t, self.width))[:, k:]
    return self.predict(x).reshape(b, m, t, -1)


class Double(nnx.Module):
  """A transposed 4 x 4 convolution of stride 2 with bias: f32[b, h, w, c] -> [b, 2 h, 2 w, c].

  The kernel [4, 4, c, c] is a normal of variance 2 / (16 c) (fan-out). As `nnx.ConvTranspose` with padding 'SAME'; on
  CPUs, where XLA's own is slow, as a 3 x 3 convolution to the four pixels of each position.
  """

  def __init__(self, channels: int, *, rngs: nnx.Rngs):
    init = nnx.initializers.variance_scaling(2., 'fan_out', 'normal')
    self.kernel = nnx.Param(init(rngs.params(), (4, 4, channels, channels), jnp.float32))
    self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))

  def __call__(self, x):
    whole = lambda x, kernel: jax.lax.conv_transpose(x, kernel, (2, 2), 'SAME')

    def pixels(x, kernel):
      b, h, w, c = x.shape
      # in the 3 x 3 kernel, row r has tap 2 r - p of the pixel's row p = 0, 1, and so have columns
      kernel = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0))).reshape(3, 2, 3, 2, c, c)[:, ::-1, :, ::-1]
      four = convolution(x, kernel.transpose(0, 2, 4, 1, 3, 5).reshape(3, 3, c, 4 * c), 1)
      return four.reshape(b, h, w, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c)

    return jax.lax.platform_dependent(x, self.kernel[...], cpu=pixels, default=whole) + self.bias[...]


class MapDecoder(nnx.Module):
  """Maps of a convolutional encoder at several scales -> an image, in the shape of a U-Net (arXiv:2301.03580).

  From the smallest map on: normalised over the visible positions, a learned vector in the hidden ones, a convolution
  to the decoder's width, added to what comes from below; then twice the side and half the width.

  Args:
    widths: channels of the maps, from the largest map to the smallest, each of half the side of the one before.
    out: channels of the image.
    reduction: pixels on a side of a position of the smallest map, a power of two.
    width: of the decoder at the smallest map.

  Raises ValueError for a width that cannot be halved so often.
  """

  def __init__(self, widths: tuple[int, ...], out: int, reduction: int, *, width: int, rngs: nnx.Rngs):
    doublings = reduction.bit_length() - 1
    if width % reduction:
      raise ValueError(f'wanted a decoder width divisible by {reduction}, as it is halved {doublings} times, got '
                       f'{width}; the nearest is {max(reduction, round(width / reduction) * reduction)}')
    small, back = nnx.initializers.truncated_normal(0.02), widths[::-1]

    def conv(in_, out, size, bias=False, axes: tuple[str | None, ...] = ()):
      return nnx.Conv(in_, out, (size, size), use_bias=bias, kernel_init=small, kernel_metadata=dict(axes=axes),
                      conv_general_dilated=lambda x, kernel, *_, **__: convolution(x, kernel, 1), rngs=rngs)

    channels = [width >> i for i in range(doublings + 1)]
    self.norms = nnx.List([Norm('batch', each, rngs=rngs) for each in back])
    self.tokens = nnx.List([MaskToken(each, layer=None, rngs=rngs) for each in back])
    self.projects = nnx.List([conv(each, width >> i, 3 if i else 1, bias=True) for i, each in enumerate(back)])
    self.ups = nnx.List([Double(c, rngs=rngs) for c in channels[:-1]])
    self.convs = nnx.List([conv(c, b, 3, axes=axes) for c, d in zip(channels, channels[1:], strict=False)
                           for b, axes in ((c, (None, 'tensor')), (d, ('tensor', None)))])
    self.conv_norms = nnx.List([batch_norm(b, rngs=rngs) for c, d in zip(channels, channels[1:], strict=False)
                                for b in (c, d)])
    self.predict = conv(channels[-1], out, 1, bias=True)

  def __call__(self, maps, visible, *, train: bool):
    """maps: those of the encoder's `outputs`; visible bool[b, rows, columns], of the smallest -> f32[b, h, w, out]."""
    x = jnp.zeros(())
    for i in range(len(self.ups) + 1):
      if i < len(maps):
        mask = spread(visible, maps[-1 - i])
        y = self.norms[i](maps[-1 - i], train=train, visible=visible)
        x = x + self.projects[i](jnp.where(mask, y, self.tokens[i]()))
      if i < len(self.ups):
        x = self.convs[2 * i](self.ups[i](x))
        x = jax.nn.relu6(self.conv_norms[2 * i](x, use_running_average=not train))
        x = self.conv_norms[2 * i + 1](self.convs[2 * i + 1](x), use_running_average=not train)
    return self.predict(x)
