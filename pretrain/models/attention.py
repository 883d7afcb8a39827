"""Softmax attention: by XLA, or by a kernel that never writes the matrix of weights to memory."""
import functools

import jax
import jax.numpy as jnp

from pretrain.machine.sharding import barrier_on, per_device, platform, single_device

# implementation: where it runs (None: everywhere)
KINDS: dict[str, str | None] = {'xla': None, 'splash': 'tpu', 'cudnn': 'gpu'}


def check_attention(kind: str, *, head: int, dtype: str) -> None:
  """Raises ValueError unless `kind` is a key of `KINDS` that runs here, for heads of this width and this dtype."""
  if kind not in KINDS:
    raise ValueError(f'wanted attention to be one of {tuple(KINDS)}, got {kind!r}')
  wanted, here = KINDS[kind], platform()
  if wanted and here not in (wanted, None):
    valid = tuple(k for k, where in KINDS.items() if where in (here, None))
    raise ValueError(f'attention={kind!r} is a kernel for {wanted}s, and this is a {here}; valid here: {valid}')
  if kind == 'cudnn' and (jnp.dtype(dtype).itemsize != 2 or head % 8 or head > 128):
    raise ValueError(f"attention='cudnn' wants dtype='bfloat16' or 'float16' and heads of at most 128 features, a "
                     f'multiple of 8; got {dtype!r} and {head}')


def attend(qkv, *, kind: str = 'xla', mask=None, segments=None):
  """softmax(q k^T / sqrt(d)) v for each head, the softmax in float32 whatever the dtype: [b, n, heads, d].

  Args:
    qkv: float[b, n, 3, heads, d], the queries, keys and values.
    kind: a key of `KINDS`. 'splash' is the Pallas kernel that comes with JAX (on CPUs it is interpreted, very slowly);
      it rounds q / sqrt(d) to the dtype. 'cudnn' wants an even n in training: an odd one is padded.
    mask: bool[b or 1, 1, n or 1, n], True where a row's token sees a column's; None: it sees all.
    segments: int[b or 1, n]: tokens see those of the same number alone; None: all have the same.

  Raises ValueError for a mask of 'splash', which knows segments alone.
  """
  b, n, _, heads, _ = qkv.shape
  large = b > 1 and heads * n ** 2 >= 1 << 16  # an image's weights, f32: 256 KiB
  if platform() == 'cpu' and kind == 'xla' and mask is None and segments is None and large and single_device():
    return image_by_image(qkv)
  q, k, v = parts(qkv)
  if kind == 'splash':
    if mask is not None:
      raise ValueError("attention='splash' takes no mask, only segments; wanted 'xla' where a mask is needed (a causal "
                       'text model)')
    return splash(q, k, v, segments)
  if segments is not None:
    same = segments[:, None, :, None] == segments[:, None, None, :]
    mask = same if mask is None else mask & same
  if kind == 'xla' or n % 2 == 0:
    attention = functools.partial(jax.nn.dot_product_attention, mask=mask, implementation=kind)  # pyrefly: ignore
    if platform() != 'cpu':
      return attention(q, k, v)
    return jax.checkpoint(attention)(q, k, v)  # XLA keeps four arrays of the weights' size for the gradient
  pad = lambda x, *axes: jnp.pad(x, [(0, int(i in axes and s > 1)) for i, s in enumerate(x.shape)])
  lengths = jnp.full(b, n, jnp.int32)
  return jax.nn.dot_product_attention(
      pad(q, 1), pad(k, 1), pad(v, 1), mask=None if mask is None else pad(mask, 2, 3), query_seq_lengths=lengths,
      key_value_seq_lengths=lengths, implementation='cudnn')[:, :n]


def parts(qkv):
  """Queries, keys and values [..., heads, d] of [..., 3, heads, d]."""
  return jnp.moveaxis(qkv, -3, 0)


@jax.custom_vjp
def image_by_image(qkv):
  """`attend` for CPUs: an image's weights stay in the cache, and are computed again for the gradient.

  There is no forward-mode derivative.
  """
  return _each(_of_image, qkv)


def _of_image(qkv):
  return jax.nn.dot_product_attention(*parts(qkv[None]), implementation='xla')[0]


def _gradients_by_image(qkv, dy):
  return _each(lambda qkv, dy: jax.vjp(_of_image, qkv)[1](dy)[0], qkv, dy),


image_by_image.defvjp(lambda qkv: (image_by_image(qkv), qkv), _gradients_by_image)


def _each(f, *arrays):
  """`jax.lax.map` of f over arrays; what it writes to is made when they are there."""
  one = lambda i: f(*(jax.lax.dynamic_index_in_dim(x, i, keepdims=False) for x in arrays))
  y = jax.eval_shape(one, 0)
  y = barrier_on(jnp.zeros((len(arrays[0]), *y.shape), y.dtype), arrays)
  return jax.lax.fori_loop(0, len(y), lambda i, y: jax.lax.dynamic_update_index_in_dim(y, one(i), i, 0), y)


def splash(q, k, v, segments=None):
  """`attend` by JAX's splash kernel for TPUs: tokens are padded to whole blocks, in a segment of their own."""
  n, d = q.shape[1], q.shape[3]
  block = block_of(n)
  padding = -n % block
  if padding and segments is None:
    segments = jnp.zeros((1, n), jnp.int32)
  pad = lambda x, value=0: jnp.pad(x, ((0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 2), constant_values=value)
  given = [pad((q * d ** -0.5).astype(q.dtype)), pad(k), pad(v)]
  if segments is not None:
    given.append(pad(segments.astype(jnp.int32), -1))
  return per_device(functools.partial(_splash, block=block), *given)[:, :n]


def block_of(n: int) -> int:
  """Tokens of a block, a multiple of 128 and at most 1024: the largest of those that need the fewest blocks' tokens."""
  return min(range(1024, 256 if n > 1024 else 0, -128), key=lambda block: -(-n // block) * block)


def _splash(q, k, v, segments=None, *, block: int):
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
  heads, n = q.shape[2], q.shape[1]
  sizes = kernels.BlockSizes(
      block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
      block_kv_dkv_compute=block, use_fused_bwd_kernel=True)
  kernel = kernels.make_splash_mha_single_device(
      masks.MultiHeadMask([masks.FullMask((n, n))] * heads), block_sizes=sizes, interpret=platform() == 'cpu')
  ids = None if segments is None else jnp.broadcast_to(segments, (len(q), n))

  def one(q, k, v, ids) -> jax.Array:
    return kernel(q, k, v, None if ids is None else kernels.SegmentIds(ids, ids))  # pyrefly: ignore[bad-return]

  q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
  return jax.vmap(one)(q, k, v, ids).swapaxes(1, 2)
