"""Residual networks (1512.03385v1), with BatchNorm or with GroupNorm and weight standardisation."""
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.config import Count, Number, Positive
from pretrain.frontends.image import check_statistics, normalize
from pretrain.models.convolutions import Conv, convolve, max_pool
from pretrain.models.layers import batch_norm, check_remat

# depth: (blocks of each stage, whether they are bottlenecks); 1512.03385v1 table 1
DEPTHS = {
  18: ((2, 2, 2, 2), False),
  34: ((3, 4, 6, 3), False),
  50: ((3, 4, 6, 3), True),
  101: ((3, 4, 23, 3), True),
}
EXPANSION = 4  # output over inner channels of a bottleneck


class Norm(nnx.Module):
  """BatchNorm or GroupNorm of 32 groups on [b, h, w, width], epsilon 1e-5; `zero` starts the gain at 0.

  Raises ValueError if 32 groups do not divide the width.
  """

  def __init__(self, kind: str, width: int, *, zero: bool = False, dtype: str = 'float32', rngs: nnx.Rngs):
    if kind == 'batch':
      self.norm = batch_norm(width, zero=zero, dtype=dtype, rngs=rngs)
      return
    if width % 32:
      raise ValueError(f'wanted channels divisible by 32, the groups of norm=\'group\', got {width}; '
                       f'the nearest is {max(32, round(width / 32) * 32)}')
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.ones_init()
    self.norm = nnx.GroupNorm(width, num_groups=32, epsilon=1e-5, scale_init=init, dtype=jnp.dtype(dtype),
                              use_fast_variance=False, rngs=rngs)  # whose error grows with the mean

  def __call__(self, x, *, train: bool, visible=None):
    """visible: bool[b, rows, columns] or None: statistics are over the visible positions, the others become 0."""
    mask = None if visible is None else jnp.broadcast_to(spread(visible, x), x.shape)
    x = self.norm(x, use_running_average=not train, mask=mask) if isinstance(self.norm, nnx.BatchNorm) else \
        self.norm(x, mask=mask)
    return x if mask is None else jnp.where(mask, x, 0)


class Block(nnx.Module):
  """A residual block [b, h, w, in_] -> [b, h / stride, w / stride, out]: relu(x + branch(x)).

  The branch is two 3x3 convolutions to `width` channels, or, if `bottleneck`, 1x1, 3x3 and 1x1 to width, width and
  4 * width. The stride is in the first 3x3 convolution (torchvision's v1.5; in the paper's bottleneck, in the 1x1).
  The shortcut is a 1x1 convolution and a norm where the shape changes (option B).
  """

  def __init__(self, in_: int, width: int, *, stride: int, bottleneck: bool, norm: str, zero_init: bool,
               dtype: str = 'float32', rngs: nnx.Rngs):
    # (out, size, stride) of the branch's convolutions
    convs = [(width, 3, stride), (width, 3, 1)]
    if bottleneck:
      convs = [(width, 1, 1), (width, 3, stride), (EXPANSION * width, 1, 1)]
    out, options = convs[-1][0], dict(standardize=norm == 'group', dtype=dtype, rngs=rngs)
    widths = [in_, *(c for c, _, _ in convs)]
    self.convs = nnx.List([Conv(a, b, size, stride=s, axes=('tensor', None) if i % 2 else (None, 'tensor'), **options)
                           for i, (a, (b, size, s)) in enumerate(zip(widths, convs, strict=False))])
    self.norms = nnx.List([Norm(norm, b, zero=zero_init and i == len(convs), dtype=dtype, rngs=rngs)
                           for i, (b, _, _) in enumerate(convs, 1)])
    self.project = in_ != out or stride != 1
    if self.project:
      self.shortcut = Conv(in_, out, 1, stride=stride, **options)
      self.shortcut_norm = Norm(norm, out, dtype=dtype, rngs=rngs)

  def __call__(self, x, *, train: bool, visible=None):
    y = x
    for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
      y = norm(conv(y), train=train, visible=visible)
      if i < len(self.convs) - 1:
        y = jax.nn.relu(y)
    if self.project:
      x = self.shortcut_norm(self.shortcut(x), train=train, visible=visible)
    return jax.nn.relu(x + y)


class ResNet(nnx.Module):
  """A residual network without a head; see `resnet` for its arguments.

  Attributes:
    width: of the features.
    dtype: of the computation; heads take it too.
    widths: channels of the maps of `outputs`.
    reduction: pixels on a side of a position of the last map.
  """

  def __init__(self, *, blocks: tuple[int, ...], bottleneck: bool, stem: str, channels: int, width: int, norm: str,
               zero_init: bool, mean: tuple[float, ...], std: tuple[float, ...], remat: str, dtype: str,
               rngs: nnx.Rngs):
    self.channels, self.mean, self.std, self.imagenet, self.remat = channels, mean, std, stem == 'imagenet', remat
    self.dtype = dtype
    size, stride = (7, 2) if self.imagenet else (3, 1)
    self.stem = Conv(channels, width, size, stride=stride, standardize=norm == 'group', dtype=dtype, rngs=rngs)
    self.stem_norm = Norm(norm, width, dtype=dtype, rngs=rngs)
    layers, in_ = [], width
    self.counts, self.reduction = blocks, (4 if self.imagenet else 1) << len(blocks) - 1
    self.widths = tuple((width << stage) * (EXPANSION if bottleneck else 1) for stage in range(len(blocks)))
    for stage, count in enumerate(blocks):
      for i in range(count):
        layers.append(Block(in_, width << stage, stride=2 if stage and not i else 1, bottleneck=bottleneck, norm=norm,
                            zero_init=zero_init, dtype=dtype, rngs=rngs))
        in_ = self.widths[stage]
    self.blocks, self.width = nnx.List(layers), in_

  @property
  def layers(self) -> Mapping[str, int | None]:
    return {'': 0} | {f'blocks/{i}': i + 1 for i in range(len(self.blocks))}

  def __call__(self, images, *, train: bool = False, key=None):
    """Features f32[b, width] of images float[b, h, w, c] in [0, 1], a mean over positions.

    `train` normalises by the batch and moves the running statistics. The key is for the signature that backbones share.

    Raises ValueError for other channels or integer pixels.
    """
    return self.outputs(images, train=train, key=key)[-1].mean((1, 2))

  def outputs(self, images, visible=None, *, train: bool = False, key=None):
    """The maps at the end of each stage, f32[b, h, w, widths[i]] each, of images as above.

    visible: bool[b, h / reduction, w / reduction], True where pixels are seen; None: all. Hidden pixels have no
    influence, as all is 0 there after each convolution and norm (2301.03580, "sparse convolution"), and maps are 0.

    Raises ValueError if the mask does not fit the image.
    """
    del key
    x = normalize(images, channels=self.channels, mean=self.mean, std=self.std)
    if visible is not None:
      if (want := (len(x), *(side // self.reduction for side in x.shape[1:3]))) != visible.shape:
        raise ValueError(f'wanted a mask {want} for images {images.shape}, got {visible.shape}')
      x = jnp.where(spread(visible, x), x, 0)
    x = jax.nn.relu(self.stem_norm(self.stem(x), train=train, visible=visible))
    if self.imagenet:
      x = max_pool(x)
      x = x if visible is None else jnp.where(spread(visible, x), x, 0)
    maps, blocks = [], iter(self.blocks)
    for count in self.counts:
      x = convolve([next(blocks) for _ in range(count)], x, train=train, remat=self.remat, visible=visible)
      maps.append(x.astype(jnp.float32))
    return maps


def spread(visible, x):
  """A mask bool[b, rows, columns] at the size of the maps x [b, h, w, c]: bool[b, h, w, 1].

  Raises ValueError if the mask's sides do not divide those of the maps.
  """
  (rows, columns), (h, w) = visible.shape[1:], x.shape[1:3]
  if h % rows or w % columns:
    raise ValueError(f'wanted a mask whose sides divide those of maps of {h} x {w}, got {rows} x {columns}')
  return jnp.repeat(jnp.repeat(visible, h // rows, 1), w // columns, 2)[..., None]


def resnet(*, depth: Count, stem: str, channels: Count, width: Count = 64, norm: str = 'batch',
           blocks: tuple[Count, ...] | None = None, zero_init: bool = True, mean: tuple[Number, ...] = (0.5,),
           std: tuple[Positive, ...] = (0.5,), remat: str = 'none',
           dtype: str = 'float32') -> Callable[[nnx.Rngs], ResNet]:
  """ResNet (1512.03385v1, torchvision's v1.5) without a head: images in [0, 1] to features f32[b, width].

  Kernels are He-normal (fan-out); BatchNorm as in `layers.batch_norm`, with momentum 0.9 and epsilon 1e-5.

  Args:
    depth: 18 or 34 (two 3x3 convolutions a block), 50 or 101 (bottlenecks).
    stem: 'imagenet' (7x7 of stride 2 and max-pooling, 1/4 of the side) or 'cifar' (3x3 of stride 1, no pooling;
      2002.05709v3 appendix B.9).
    channels: channels of the images.
    width: channels of the first stage; each later stage doubles them and halves the side.
    norm: 'batch', or 'group' for GroupNorm of 32 groups (1803.08494v3) with weight standardisation (1903.10520v2),
      which couples no examples.
    blocks: number of blocks in each stage, instead of those of `depth`, which then only chooses the kind of block.
    zero_init: start each branch's last gain at 0, so that blocks begin as the identity (1706.02677v2 section 5.1).
    mean, std: of the pixels, one for each channel or one for all; applied by the first layer.
    remat: a key of `layers.REMAT`: what of a block the backward pass keeps ('dots': the convolutions).
    dtype: of the computation; parameters, statistics and features are float32.

  Returns build(rngs) -> ResNet.

  Raises ValueError for an unknown depth, stem, norm or remat.
  """
  if depth not in DEPTHS:
    raise ValueError(f'wanted depth to be one of {tuple(DEPTHS)}, got {depth}; '
                     f'the nearest is {min(DEPTHS, key=lambda d: abs(d - depth))}')
  for name, value, valid in (('stem', stem, ('imagenet', 'cifar')), ('norm', norm, ('batch', 'group'))):
    if value not in valid:
      raise ValueError(f'wanted {name} to be one of {valid}, got {value!r}')
  check_statistics(channels, mean=mean, std=std)
  check_remat(remat)
  counts, bottleneck = DEPTHS[depth]

  def build(rngs: nnx.Rngs) -> ResNet:
    return ResNet(blocks=tuple(blocks or counts), bottleneck=bottleneck, stem=stem, channels=channels, width=width,
                  norm=norm, zero_init=zero_init, mean=tuple(mean), std=tuple(std), remat=remat, dtype=dtype,
                  rngs=rngs)

  return build
