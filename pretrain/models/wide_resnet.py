"""Wide residual networks (1605.07146v4), with the details that semi-supervised learning settled on."""
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.config import Count, Number, Positive
from pretrain.frontends.image import check_statistics, normalize
from pretrain.models.convolutions import Conv, convolve
from pretrain.models.layers import batch_norm, check_remat

leaky_relu = partial(jax.nn.leaky_relu, negative_slope=0.1)
norm_of = partial(batch_norm, momentum=0.999, epsilon=1e-3)


class Block(nnx.Module):
  """A pre-activation block [b, h, w, in_] -> [b, h / stride, w / stride, out]: x + branch(x).

  The branch is norm, leaky ReLU and 3x3 convolution, twice. Where channels change the shortcut is a 1x1 convolution, of
  the block's input, or of its first activation if `activate_first`.
  """

  def __init__(self, in_: int, out: int, *, stride: int, activate_first: bool, dtype: str = 'float32', rngs: nnx.Rngs):
    self.activate_first, self.project = activate_first, in_ != out
    self.norm1 = norm_of(in_, dtype=dtype, rngs=rngs)
    self.conv1 = Conv(in_, out, 3, stride=stride, dtype=dtype, rngs=rngs)
    self.norm2 = norm_of(out, dtype=dtype, rngs=rngs)
    self.conv2 = Conv(out, out, 3, dtype=dtype, rngs=rngs)
    if self.project:
      self.shortcut = Conv(in_, out, 1, stride=stride, dtype=dtype, rngs=rngs)

  def __call__(self, x, *, train: bool):
    y = leaky_relu(self.norm1(x, use_running_average=not train))
    if self.activate_first:
      x = y
    y = leaky_relu(self.norm2(self.conv1(y), use_running_average=not train))
    return (self.shortcut(x) if self.project else x) + self.conv2(y)


class WideResNet(nnx.Module):
  """A wide residual network without a head; see `wide_resnet`.

  Attributes:
    width: of the features.
    dtype: of the computation; heads take it too.
  """

  def __init__(self, *, count: int, widen: int, channels: int, mean: tuple[float, ...], std: tuple[float, ...],
               remat: str, dtype: str, rngs: nnx.Rngs):
    self.channels, self.mean, self.std, self.remat, self.dtype = channels, mean, std, remat, dtype
    self.stem = Conv(channels, 16, 3, dtype=dtype, rngs=rngs)
    blocks, in_ = [], 16
    for stage in range(3):
      for i in range(count):
        out = 16 * widen << stage
        blocks.append(Block(in_, out, stride=2 if stage and not i else 1, activate_first=not stage and not i,
                            dtype=dtype, rngs=rngs))
        in_ = out
    self.blocks, self.width = nnx.List(blocks), in_
    self.norm = norm_of(in_, dtype=dtype, rngs=rngs)

  @property
  def layers(self) -> Mapping[str, int | None]:
    return {'': 0, 'norm': None} | {f'blocks/{i}': i + 1 for i in range(len(self.blocks))}

  def __call__(self, images, *, train: bool = False, key=None):
    """Features f32[b, width] of images float[b, h, w, c] in [0, 1], a mean over positions.

    `train` normalises by the batch and moves the running statistics. The key is for the signature that backbones share.

    Raises ValueError for other channels or integer pixels.
    """
    del key
    x = self.stem(normalize(images, channels=self.channels, mean=self.mean, std=self.std))
    x = convolve(self.blocks, x, train=train, remat=self.remat)
    x = leaky_relu(self.norm(x, use_running_average=not train))
    return x.astype(jnp.float32).mean((1, 2))


def wide_resnet(*, depth: Count, widen: Count, channels: Count, mean: tuple[Number, ...] = (0.5,),
                std: tuple[Positive, ...] = (0.5,), remat: str = 'none',
                dtype: str = 'float32') -> Callable[[nnx.Rngs], WideResNet]:
  """WRN-depth-widen (1605.07146v4) without a head: images in [0, 1] to features f32[b, 64 * widen].

  Follows the code of 2001.07685v2: leaky ReLU of slope 0.1, BatchNorm with momentum 0.999 (flax's convention: the part
  of the old statistics that is kept) and epsilon 1e-3, kernels a normal of variance 2 / (size * size * out), the first
  activation shared with the shortcut in the first block. Deviations: its convolutions have biases and pad as
  TensorFlow's 'SAME'; ours have no biases and pad symmetrically.

  The PyTorch versions pad as ours and differ in where channels change, that is in the first block of each stage:
  kekmodel/FixMatch-pytorch (models/wideresnet.py; no biases, epsilon 1e-5) and TorchSSL (models/nets/wrn.py; biases)
  feed the first convolution of stages 2 and 3 with the block's input, without its norm and activation; USB
  (semilearn/nets/wrn/wrn.py; biases) shares the first activation with the shortcut in all three stages.

  Args:
    depth: convolutions on the longest path and the classifier, 6 * n + 4: n blocks in each of three stages.
    widen: factor of the channels 16, 32 and 64.
    channels: channels of the images.
    mean, std: of the pixels, one for each channel or one for all; applied by the first layer.
    remat: a key of `layers.REMAT`: what of a block the backward pass keeps ('dots': the convolutions).
    dtype: of the computation; parameters, statistics and features are float32.

  Returns build(rngs) -> WideResNet.

  Raises ValueError if the depth is not 6 * n + 4, or for an unknown remat.
  """
  if depth < 10 or (depth - 4) % 6:
    raise ValueError(f'wanted a depth of 6 * n + 4, got {depth}; '
                     f'the nearest is {max(10, round((depth - 4) / 6) * 6 + 4)}')
  check_statistics(channels, mean=mean, std=std)
  check_remat(remat)

  def build(rngs: nnx.Rngs) -> WideResNet:
    return WideResNet(count=(depth - 4) // 6, widen=widen, channels=channels, mean=tuple(mean), std=tuple(std),
                      remat=remat, dtype=dtype, rngs=rngs)

  return build
