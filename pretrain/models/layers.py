"""Layers that several models share."""
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.machine.sharding import batch_shares, materialize, platform
from pretrain.models import winograd


def weighted(primitive, *given, **params) -> bool:
  """The policy that keeps products with weights: dots without a batch, and convolutions, on CPUs by name."""
  return any(keeps(primitive, *given, **params) for keeps in (
      lambda primitive, *_, **__: primitive is jax.lax.conv_general_dilated_p,
      jax.checkpoint_policies.save_only_these_names('convolution'),
      jax.checkpoint_policies.dots_with_no_batch_dims_saveable))


# what the backward pass of a block keeps; the rest it computes again
REMAT = {
  'none': None,
  'dots': weighted,
  'everything': jax.checkpoint_policies.nothing_saveable,
  'offload': jax.checkpoint_policies.save_and_offload_only_these_names(  # a block's input, in the host's memory
    names_which_can_be_saved=[], names_which_can_be_offloaded=['block'], offload_src='device',
    offload_dst='pinned_host'),
}


def check_remat(remat: str) -> None:
  if remat not in REMAT:
    raise ValueError(f'wanted remat to be one of {tuple(REMAT)}, got {remat!r}')


def remembering(run: Callable, remat: str) -> Callable:
  """`run`, whose backward pass keeps of it what `remat`, a key of `REMAT`, says; it must be a pure function."""
  return run if remat == 'none' else jax.checkpoint(run, policy=REMAT[remat])


def gelu(x):
  """The exact GELU, x * Phi(x) (1606.08415v5).

  On CPUs the gradient keeps x alone and computes Phi(x) again, and both are computed in float32: of bfloat16 XLA would
  round every operation.
  """
  if platform() != 'cpu':
    return jax.nn.gelu(x, approximate=False)

  def exact(x):
    y = x.astype(jnp.float32)
    return (y * (1 + jax.lax.erf(y * math.sqrt(0.5))) / 2).astype(x.dtype)

  return jax.checkpoint(exact)(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def product(x, kernel, axes: int = 1, dtype: str | None = None):
  """[rows..., in...] and a kernel [in..., out...], of which `axes` are in: [rows..., out...], in `dtype` or theirs.

  Gradients are in the dtype of x and the kernel, to which dy is cast: JAX would multiply a float32 dy by bfloat16.

  The kernel's gradient is x^T dy or, with more in than out, (dy^T x)^T. JAX's own is always the latter. XLA on CPUs
  writes what is transposed to memory first, together with what leads to it, and leaves such a gradient of a kernel of
  more than two axes transposed, which the optimizer reads slowly. (dy^T x)^T is materialized: a product that is
  transposed at once misses its fast kernels there, most of all in bfloat16. There is no forward-mode derivative.
  """
  return _product(x, kernel, axes, dtype)[0]


def _product(x, kernel, axes: int, dtype: str | None):
  return jnp.tensordot(x, kernel, axes, preferred_element_type=dtype), (x, kernel)


def product_gradients(axes: int, dtype: str | None, kept, dy):
  del dtype
  x, kernel = kept
  dy = dy.astype(x.dtype)
  rows = tuple(range(x.ndim - axes))
  by_x = jnp.tensordot(dy, kernel, (tuple(range(len(rows), dy.ndim)), tuple(range(axes, kernel.ndim))))
  if math.prod(kernel.shape[:axes]) <= math.prod(kernel.shape[axes:]):
    return by_x, jnp.tensordot(x, dy, (rows, rows))
  outs = kernel.ndim - axes
  return by_x, jnp.moveaxis(materialize(jnp.tensordot(dy, x, (rows, rows))), range(outs), range(-outs, 0))


product.defvjp(_product, product_gradients)


def dot_general(x, kernel, dimension_numbers, precision=None, out_sharding=None):
  """`product` as what a linear layer of NNX takes."""
  del precision, out_sharding  # the layers' defaults
  return product(x, kernel, len(dimension_numbers[0][0]))


@jax.custom_vjp
def add_bias(x, bias):
  """[rows..., out...] plus [out...].

  On CPUs the bias' gradient is a product with ones: XLA has no fast kernels there for such a sum in bfloat16.
  There is no forward-mode derivative.
  """
  return x + bias


def _add_bias_gradients(bias, dy):
  rows = dy.shape[:dy.ndim - bias.ndim]
  if platform() != 'cpu':
    return dy, dy.sum(tuple(range(len(rows))))
  return dy, jnp.tensordot(jnp.ones(rows, dy.dtype), dy, len(rows))


add_bias.defvjp(lambda x, bias: (x + bias, bias), _add_bias_gradients)


# Metadata of two linear layers in a row: the features between them are split over tensor, so that the first needs no
# communication and the second sums its outputs (1909.08053v4, section 3).
SPLIT: tuple[dict[str, Any], ...] = (
  dict(kernel_metadata=dict(axes=(None, 'tensor')), bias_metadata=dict(axes=('tensor',))),
  dict(kernel_metadata=dict(axes=('tensor', None))))


class Linear(nnx.LinearGeneral):
  """`nnx.LinearGeneral`, of the last axes, with the gradients of `product` and `add_bias`."""

  def __call__(self, inputs, out_sharding=None):
    del out_sharding  # the default
    bias = None if self.bias is None else self.bias[...]
    x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
    axes = len(self.axis)
    numbers = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))), ((), ())
    y = (self.dot_general or dot_general)(x, kernel, numbers)
    return y if bias is None else add_bias(y, bias)


class LayerNorm(nnx.LayerNorm):
  """`nnx.LayerNorm`. On CPUs the gradient keeps x alone; JAX's own keeps two f32 arrays of its shape besides."""

  def __call__(self, x, *, mask=None):
    normalized = functools.partial(super().__call__, mask=mask)
    return normalized(x) if platform() != 'cpu' else jax.checkpoint(normalized)(x)


def layer_norm(width: int, *, dtype: str = 'float32', rngs: nnx.Rngs) -> LayerNorm:
  """LayerNorm (1607.06450v1) with epsilon 1e-6; statistics in float32, the variance in two passes."""
  return LayerNorm(width, epsilon=1e-6, dtype=jnp.dtype(dtype), use_fast_variance=False, rngs=rngs)


CACHED = 1 << 15  # numbers of an array whose sums are taken at a time on CPUs
FAR = 64.  # squared deviations between a guess and the mean from which `normalized` sums again


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def normalized(x, gain, offset, near, mask, epsilon: float):
  """x [..., c], float, normalised by its own statistics, in its dtype; its mean and biased variance, f32[c] each.

  gain, offset: f32[c]. near: f32[c], a guess of the mean. mask: bool, of x's shape, or None: statistics are over where
  it is True.

  Sums are of x - near and its square, so that x is gone over once: where it is a convolution's output, TPUs sum while
  they write it. Their rounding errors grow with ((mean - near) / deviation)^2; where that is above `FAR` in a channel,
  all are summed again, about the mean that the first sums gave. On GPUs, where the host would wait for the outcome of
  that condition, the guess is the mean of one example of each device.

  The gradient (1502.03167v3 section 3) keeps x alone; JAX's own keeps x - mean besides, and goes over both more often.
  Nothing flows through `near` and the statistics that are returned. There is no forward-mode derivative.
  """
  return _normalized(x, gain, offset, near, mask, epsilon)[0]


def _normalized(x, gain, offset, near, mask, epsilon: float):
  if platform() == 'gpu':
    one = lambda x: x.reshape(math.gcd(batch_shares(), len(x)), -1, *x.shape[1:])[:, 0]  # so that none is sent
    count, (_, first, _) = _about(0., one(x), None if mask is None else one(mask))
    count, (centre, beside, var) = _about(jnp.where(count > 0, first, near), x, mask)
  else:
    count, first = _about(near, x, mask)
    centre, beside, var = first
    far = jnp.any(jnp.square(beside) > FAR * (var + epsilon))
    centre, beside, var = jax.lax.cond(far, lambda: _about(centre + beside, x, mask)[1], lambda: first)
  scale = jax.lax.rsqrt(var + epsilon)
  mean = centre + beside
  y = (x.astype(jnp.float32) - mean) * (scale * gain) + offset
  return (y.astype(x.dtype), mean, var), (x, gain, mask, count, centre, beside, scale)


def _about(centre, x, mask):
  """Of x, how many numbers a channel has; and `centre`, the mean less that, and the biased variance, f32[c] each."""
  if mask is None:
    count, (total, squares) = x.size // x.shape[-1], sums(lambda x: (x - centre, jnp.square(x - centre)), x)
  else:
    count, total, squares = sums(lambda x, mask: (mask, jnp.where(mask, x - centre, 0),
                                                  jnp.where(mask, jnp.square(x - centre), 0)), x, mask)
  beside = total / count
  return count, (centre, beside, jnp.maximum(0., squares / count - jnp.square(beside)))


def _normalized_gradients(epsilon: float, kept, cotangents):
  del epsilon
  (x, gain, mask, count, centre, beside, scale), (dy, _, _) = kept, cotangents
  by_offset, along = sums(lambda dy, x: (dy, dy * (x - centre)), dy, x)
  by_gain = (along - beside * by_offset) * scale
  slope = scale * by_gain / count
  shared = slope * (x.astype(jnp.float32) - centre) + (by_offset / count - slope * beside)
  by_x = (scale * gain) * (dy.astype(jnp.float32) - (shared if mask is None else jnp.where(mask, shared, 0)))
  return by_x.astype(x.dtype), by_gain, by_offset, None, None


normalized.defvjp(_normalized, _normalized_gradients)


def sums(terms: Callable, *arrays) -> list:
  """The sums over rows, f32[c] each, of what `terms` makes of arrays [..., c], cast to float32 if they are of floats.

  On CPUs some rows are taken at a time, which stay in the cache: what several sums read XLA would write to memory.
  """
  def total(*arrays):
    cast = [a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in arrays]
    return [term.sum(tuple(range(term.ndim - 1)), dtype=jnp.float32) for term in terms(*cast)]

  if platform() != 'cpu':
    return total(*arrays)
  *rows, channels = arrays[0].shape
  pixels, most = math.prod(rows[1:]), max(1, CACHED // channels)
  strips = math.gcd(pixels, 1 << (pixels // most).bit_length())  # of an image
  parts = winograd.cut((rows[0], pixels // strips, 1, channels), most * batch_shares(), *(
    a.reshape(rows[0], strips, -1, channels) for a in arrays))
  parts = [a.reshape(len(a), -1, *a.shape[3:]) for a in parts]
  part = lambda i: total(*(jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in parts))
  none = [jnp.zeros(channels) for _ in jax.eval_shape(part, 0)]
  return jax.lax.fori_loop(0, parts[0].shape[1], lambda i, so_far: jax.tree.map(jnp.add, so_far, part(i)), none)


class BatchNorm(nnx.BatchNorm):
  """`nnx.BatchNorm` over all axes but the last, whose gradient keeps less: `normalized`.

  Both by the batch's and by the running statistics it computes in float32 and rounds its output alone to its dtype.
  """

  def __call__(self, x, use_running_average: bool, *, mask=None):  # pyrefly: ignore[bad-override]
    gain = jnp.ones(self.num_features) if self.scale is None else self.scale[...]
    offset = jnp.zeros(self.num_features) if self.bias is None else self.bias[...]
    if use_running_average:
      scale = jax.lax.rsqrt(self.var[...] + self.epsilon) * gain
      return ((x.astype(jnp.float32) - self.mean[...]) * scale + offset).astype(self.dtype)
    y, *statistics = normalized(x.astype(self.dtype), gain, offset, self.mean[...], mask, self.epsilon)
    for running, new in zip((self.mean, self.var), statistics, strict=True):
      running[...] = self.momentum * running[...] + (1 - self.momentum) * new
    return y


def batch_norm(width: int, *, affine: bool = True, zero: bool = False, momentum: float = 0.9, epsilon: float = 1e-5,
               dtype: str = 'float32', rngs: nnx.Rngs) -> BatchNorm:
  """BatchNorm (1502.03167v3) over all axes but the last, hence over the global batch under jit.

  Call it with `use_running_average=not train`. Statistics are float32 whatever `dtype`. Running ones are
  momentum * old + (1 - momentum) * new (PyTorch's momentum is one minus this) and keep the biased variance (PyTorch:
  the unbiased one). `affine` adds a gain and an offset; `zero` starts the gain at 0.
  """
  init = nnx.initializers.zeros_init() if zero else nnx.initializers.ones_init()
  return BatchNorm(width, momentum=momentum, epsilon=epsilon, use_scale=affine, use_bias=affine, scale_init=init,
                   dtype=jnp.dtype(dtype), rngs=rngs)


def standardize(x):
  """LayerNorm without gain and offset: each row of [..., d] minus its mean over its deviation, f32; epsilon 1e-5."""
  x = x.astype(jnp.float32)
  return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


class MaskToken(nnx.Module):
  """What stands for a hidden patch: a learned f32[width], at first a normal of 0.02. Calling it gives the token.

  Args:
    layer: 0 among a backbone's inputs, None in a decoder, see `functional.Leaf`.
  """

  def __init__(self, width: int, *, layer: int | None = 0, rngs: nnx.Rngs):
    token = nnx.initializers.normal(0.02)(rngs.params(), (width,), jnp.float32)
    self.mask_token = nnx.Param(token, decay=False, layer=layer)

  def __call__(self):
    return self.mask_token[...]
