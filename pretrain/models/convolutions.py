"""Convolutions, their gradients, pooling, and blocks of them."""
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from pretrain.machine.sharding import barrier_on, materialize
from pretrain.models import winograd
from pretrain.models.layers import product_gradients, remembering


class Conv(nnx.Module):
  """A square convolution without bias: float[b, h, w, in_] -> [b, h / stride, w / stride, out], in `dtype`.

  Padding is (size - 1) / 2 zeros on every side, as PyTorch's (not 'SAME', which is lopsided for a stride of 2). The
  kernel [size, size, in_, out] is a normal of variance 2 / (size * size * out) (1502.01852v1, fan-out).
  `standardize` shifts and scales the kernel of each output to mean 0 and variance 1 (weight standardisation,
  1903.10520v2, with 1e-10 added to the variance). `axes` of the kernel's last dimensions: see `functional.Leaf`.
  """

  def __init__(self, in_: int, out: int, size: int, *, stride: int = 1, standardize: bool = False,
               dtype: str = 'float32', axes: tuple[str | None, ...] = (), rngs: nnx.Rngs):
    self.stride, self.standardize, self.dtype = stride, standardize, jnp.dtype(dtype)
    init = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
    self.kernel = nnx.Param(init(rngs.params(), (size, size, in_, out), jnp.float32), axes=axes)

  def __call__(self, x):
    kernel = self.kernel[...]
    if self.standardize:
      kernel = kernel - kernel.mean((0, 1, 2))
      kernel = kernel * jax.lax.rsqrt(jnp.square(kernel).mean((0, 1, 2)) + 1e-10)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    if -(-min(x.shape[1:3]) // self.stride) < len(kernel):
      return jnp.einsum('brsi,rsituo->btuo', x, dense_kernel(kernel, x.shape[1:3], self.stride))
    return convolution(x, kernel, self.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolution(x, kernel, stride: int):
  """[b, h, w, in] and [size, size, in, out] to [b, h / stride, w / stride, out], padded by (size - 1) / 2 zeros.

  CPUs have their own ways for it and its gradients, as XLA's reach a fifth to a half of the rate of its matrix products
  there: Winograd's for 3 x 3 pixels (`models/winograd.py`), products with what each tap of the kernel sees, one product
  for a single tap. There is no forward-mode derivative.
  """
  return _convolution(x, kernel, stride)


def _convolution(x, kernel, stride: int):
  cpu = lambda x, kernel: checkpoint_name(_on_cpus(x, kernel, stride), 'convolution')
  return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=functools.partial(_whole, stride=stride))


def _kept(x, kernel, stride: int):
  x = materialize(x)  # once: XLA would compute it again for what reads it in another shape
  return _convolution(x, kernel, stride), (x, kernel)


def _gradients(stride: int, kept, dy):
  x, kernel = kept
  return jax.lax.platform_dependent(materialize(x), kernel, materialize(dy),
                                    cpu=functools.partial(_gradients_on_cpus, stride=stride),
                                    default=functools.partial(_gradients_of_whole, stride=stride))


convolution.defvjp(_kept, _gradients)


def _whole(x, kernel, stride: int):
  side = (len(kernel) - 1) // 2
  return jax.lax.conv_general_dilated(x, kernel, (stride, stride), ((side, side), (side, side)),
                                      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _gradients_of_whole(x, kernel, dy, stride: int):
  return (jax.linear_transpose(lambda x: _whole(x, kernel, stride), x)(dy)[0],
          jax.linear_transpose(lambda kernel: _whole(x, kernel, stride), kernel)(dy)[0])


def _on_cpus(x, kernel, stride: int):
  size, _, in_, _ = kernel.shape
  if size == 1:
    return x[:, ::stride, ::stride] @ kernel[0, 0]
  if (m := winograd.fitting(x.shape, kernel.shape)) and stride == 1:
    x, kernel = jax.lax.optimization_barrier((x, kernel))  # kernels are transformed in turn
    return winograd.convolution(x, kernel, m)
  height, width = (-(-length // stride) for length in x.shape[1:3])
  if size > 3 or height * width > 16 or in_ < 256:
    return _whole(x, kernel, stride)
  return sum(tap @ kernel[i // size, i % size] for i, tap in enumerate(each_tap(x, size, stride, height, width)))


def _gradients_on_cpus(x, kernel, dy, stride: int):
  def dilated(dy):  # as if of a stride of 1
    after = [side - stride * (of - 1) - 1 for side, of in zip(x.shape[1:3], dy.shape[1:3], strict=True)]
    pads = ((0, 0, 0), *((0, zeros, stride - 1) for zeros in after), (0, 0, 0))
    return jax.lax.pad(dy, jnp.zeros((), dy.dtype), pads)

  if len(kernel) == 1:
    by_x, by_kernel = product_gradients(1, None, (x[:, ::stride, ::stride], kernel[0, 0]), dy)
    return dilated(by_x), by_kernel[None, None]
  m = winograd.fitting(x.shape, kernel.shape)
  if m:
    by_x = winograd.by_images(barrier_on(kernel, dy), dilated(dy), m)
  else:
    by_x, = jax.linear_transpose(lambda x: _on_cpus(x, kernel, stride), x)(dy)
  if m and stride == 1:
    return by_x, winograd.by_kernel(x, dy, m)
  if len(kernel) > 3:
    return by_x, _gradients_of_whole(x, kernel, dy, stride)[1]
  return by_x, by_taps(x, dy, size=len(kernel), stride=stride)


def each_tap(x, size: int, stride: int, height: int, width: int) -> list:
  """What each tap of a kernel sees of x [b, h, w, in], row by row: size * size times [b, height, width, in]."""
  side = (size - 1) // 2
  x = jnp.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
  return [x[:, row:row + stride * (height - 1) + 1:stride, column:column + stride * (width - 1) + 1:stride]
          for row in range(size) for column in range(size)]


def by_taps(x, dy, *, size: int, stride: int):
  """The gradient [size, size, in, out] of `convolution` by its kernel, of x and the gradient dy of what came out.

  With few channels in, what the taps see stands side by side in one product; with many, each has its own.
  """
  out, in_ = dy.shape[-1], x.shape[-1]
  few = in_ < 256
  x, dy = winograd.cut(dy.shape, 256 if few else 1024, x, dy)  # rows of a product whose slices stay in the cache
  height, width = dy.shape[2:4]

  def add(i, total):
    some, of = (jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in (x, dy))
    of = of.reshape(-1, out)
    taps = [tap.reshape(len(of), in_) for tap in each_tap(some, size, stride, height, width)]
    return total + (of.T @ jnp.concatenate(taps, 1) if few else jnp.stack([tap.T @ of for tap in taps]))

  shape = (out, size * size * in_) if few else (size * size, in_, out)
  total = jax.lax.fori_loop(0, x.shape[1], add, barrier_on(jnp.zeros(shape, x.dtype), dy))
  return (total.T if few else total).reshape(size, size, in_, out)


def dense_kernel(kernel, sides: tuple[int, int], stride: int):
  """The matrix [h, w, in, h', w', out] of a convolution [size, size, in, out] over maps of these sides h, w.

  For maps smaller than the kernel: each output sees most inputs, so one matrix product is less work than it was, and
  XLA has no fast convolution for them on CPUs.
  """
  size = len(kernel)
  taps = [jnp.arange(side)[:, None] - stride * jnp.arange(-(-side // stride)) + (size - 1) // 2 for side in sides]
  rows, columns = taps[0][:, None, :, None], taps[1][None, :, None, :]
  inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)  # [h, w, h', w']
  whole = jnp.where(inside[..., None, None], kernel[rows.clip(0, size - 1), columns.clip(0, size - 1)], 0)
  return whole.transpose(0, 1, 4, 2, 3, 5)


def max_pool(x):
  """The maximum over 3 x 3 windows with a stride of 2, padded by 1 on every side: [b, h, w, c] -> [b, h / 2, w / 2, c].

  On CPUs as maxima of slices, of rows and then of columns: XLA's gradient of a window takes several times as long
  there. Where a window has equal maxima the gradient goes to the first, on CPUs to all in parts.
  """
  def slices(x):
    for axis in (1, 2):
      padded = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)], constant_values=-jnp.inf)
      last = 2 * ((x.shape[axis] - 1) // 2) + 1
      x = functools.reduce(jnp.maximum, [jax.lax.slice_in_dim(padded, i, i + last, 2, axis) for i in range(3)])
    return x

  window = functools.partial(nnx.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
  return jax.lax.platform_dependent(x, cpu=slices, default=window)


def convolve(blocks, x, *, train: bool, remat: str, **given):
  """x through blocks that normalise by the batch, one after the other, each with `remembering`; `given` to each.

  With `train` the blocks' running statistics move once, although the backward pass computes them again.
  """
  def run(block, x):
    x = block(checkpoint_name(materialize(x), 'block'), train=train, **given)
    return x, nnx.state(block, nnx.BatchStat)

  run = remembering(run, remat)
  for block in blocks:
    x, statistics = run(block, x)
    nnx.update(block, statistics)
  return x
