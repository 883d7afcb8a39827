"""Vision Transformer (2010.11929v2): cells to tokens to features, in pieces that masked objectives can take apart."""
import difflib
import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from pretrain import config as configs
from pretrain import frontends
from pretrain.config import Count, Natural, NonNegative, Number, Positive, Range
from pretrain.frontends import Cells
from pretrain.frontends.image import image as image_cells
from pretrain.frontends.video import video as video_cells
from pretrain.machine.sharding import materialize, rows_stay
from pretrain.models.attention import attend, check_attention
from pretrain.models.layers import SPLIT, Linear, check_remat, gelu, layer_norm, remembering
from pretrain.models.quantized import products

# (width, depth, heads, mlp): Ti and S are DeiT's (2012.12877v2 table 1), B, L and H those of 2010.11929v2 table 1,
# g and G those of 2106.04560v2 table 2 (the `giant` of 2304.07193v2, 1536 wide with a gated MLP, is another model).
VARIANTS = {
  'Ti': (192, 12, 3, 768),
  'S': (384, 12, 6, 1536),
  'B': (768, 12, 12, 3072),
  'L': (1024, 24, 16, 4096),
  'H': (1280, 32, 16, 5120),
  'g': (1408, 40, 16, 6144),
  'G': (1664, 48, 16, 8192),
}


class Attention(nnx.Module):
  """Multi-head self-attention (1706.03762v7 section 3.2) on tokens [b, n, width].

  The kernels are `qkv` [width, 3, heads, width / heads] and `out` [heads, width / heads, width], so that heads can be
  sharded. Each of q, k, v is Xavier-uniform as a width x width matrix. The softmax is in float32 whatever `dtype`.

  Args:
    kind: a key of `attention.KINDS`.

  Raises ValueError if the width is not divisible by the number of heads, or for a kind that cannot be had here.
  """

  def __init__(self, width: int, heads: int, *, kind: str = 'xla', dtype: str = 'float32', quantize: str | None = None,
               rngs: nnx.Rngs):
    if width % heads:
      near = min((n for n in range(1, width + 1) if width % n == 0), key=lambda n: abs(n - heads))
      raise ValueError(f'wanted a width divisible by the number of heads, got width={width}, heads={heads}; '
                       f'the nearest number of heads is {near}')
    check_attention(kind, head=width // heads, dtype=dtype)
    self.kind, head, init = kind, (heads, width // heads), nnx.initializers
    compute = dict(dtype=jnp.dtype(dtype), dot_general=products(quantize))
    # NNX initialises the flattened kernel [width, 3 * width]: with fan-in alone its bound sqrt(3 / width) is Xavier's.
    self.qkv = Linear(width, (3, *head), kernel_init=init.lecun_uniform(), rngs=rngs, **compute,
                      kernel_metadata=dict(axes=(None, None, 'tensor', None)),
                      bias_metadata=dict(axes=(None, 'tensor', None), decay=None))
    self.out = Linear(head, width, axis=(-2, -1), kernel_init=init.xavier_uniform(), rngs=rngs, **compute,
                      kernel_metadata=dict(axes=('tensor', None, None)))

  def __call__(self, x, mask=None, segments=None):
    """x [b, n, width]; mask and segments as in `attention.attend`."""
    return self.out(attend(self.qkv(x), kind=self.kind, mask=mask, segments=segments))


class Block(nnx.Module):
  """A pre-norm Transformer block: x + attention(norm(x)), then x + mlp(norm(x)), on tokens [b, n, width].

  LayerNorm with epsilon 1e-6, biases everywhere, exact GELU, kernels Xavier-uniform, as in the code of 2111.06377v3.
  The branches compute in `dtype`, parameters and the residual stream are float32 (as under PyTorch's autocast).

  Args:
    width, heads, mlp: features of a token, attention heads, hidden features of the MLP.
    layer_scale: initial value of a learned gain on each branch (LayerScale, 2103.17239v2 section 2), or None.
    attention: a key of `attention.KINDS`.
    quantize: of the four products with kernels, as in `quantized.products`.
  """

  def __init__(self, width: int, heads: int, mlp: int, *, layer_scale: float | None = None, attention: str = 'xla',
               dtype: str = 'float32', quantize: str | None = None, rngs: nnx.Rngs):
    compute, xavier = dict(dtype=jnp.dtype(dtype), dot_general=products(quantize)), nnx.initializers.xavier_uniform()
    self.norm1 = layer_norm(width, dtype=dtype, rngs=rngs)
    self.attention = Attention(width, heads, kind=attention, dtype=dtype, quantize=quantize, rngs=rngs)
    self.norm2 = layer_norm(width, dtype=dtype, rngs=rngs)
    self.mlp1 = Linear(width, mlp, kernel_init=xavier, rngs=rngs, **compute, **SPLIT[0])
    self.mlp2 = Linear(mlp, width, kernel_init=xavier, rngs=rngs, **compute, **SPLIT[1])
    self.scaled = layer_scale is not None
    if layer_scale is not None:
      self.scale1 = nnx.Param(jnp.full((width,), layer_scale, jnp.float32))
      self.scale2 = nnx.Param(jnp.full((width,), layer_scale, jnp.float32))

  def __call__(self, x, *, mask=None, segments=None, drop_path=0.0, drop_group: int = 1, key=None):
    """x float[b, n, width], others as in `attend`; with a key branches are left out for some examples, see `drop`."""
    keys = (None, None) if key is None else jax.random.split(key)
    x = drop(lambda x: self.attend(x, mask, segments), materialize(x), keys[0], drop_path, drop_group)
    return drop(self.feed, materialize(x), keys[1], drop_path, drop_group)

  def attend(self, x, mask=None, segments=None):
    y = self.attention(self.norm1(x), mask, segments)
    return y * self.scale1[...] if self.scaled else y

  def feed(self, x):
    y = self.mlp2(gelu(self.mlp1(self.norm2(x))))
    return y * self.scale2[...] if self.scaled else y


def drop(branch: Callable, x, key, drop_path, group: int = 1):
  """x + branch(x), the branch left out for some examples and scaled up for the others (stochastic depth, 1603.09382v3).

  Args:
    x: float[b, n, width].
    key: None leaves out nothing, as teachers train.
    drop_path: probability in [0, 1); with group > 1 a Python number.
    group: 1 draws for each example, and computes the branch for all. Otherwise the same round(group * (1 - drop_path))
      rows of each `group` neighbouring ones are drawn, and the branch is computed for these alone (2304.07193v2,
      section 5, "Efficient stochastic depth", which draws among all rows of a device).
  """
  if key is None:
    return x + branch(x)
  if group == 1:
    kept = jax.random.bernoulli(key, 1 - drop_path, (len(x), 1, 1))
    return x + jnp.where(kept, branch(x) / (1 - drop_path), 0)
  rows = jax.random.permutation(key, group)[:round(group * (1 - drop_path))]
  grouped = x.reshape(-1, group, *x.shape[1:])  # [b / group, group, n, width]: no row leaves its device
  y = branch(grouped[:, rows].reshape(-1, *x.shape[1:])).reshape(len(grouped), len(rows), *x.shape[1:])
  return grouped.at[:, rows].add(y * (group / len(rows))).reshape(x.shape)


class Transformer(nnx.Module):
  """A trunk: tokens [b, n, width] -> blocks -> LayerNorm -> f32 tokens of the same shape.

  It adds no positions and no tokens, so that encoders and decoders share it. The rest is as in `Block`.

  Args:
    drop_path: rate of the last block; that of block l of L is drop_path * l / (L - 1), l = 0, ..., L - 1.
    drop_group: above 1 the branches left out are not computed, see `drop`; then all blocks have the rate drop_path.
    attention: a key of `attention.KINDS`.
    remat: a key of `layers.REMAT`.
    scan: compile one block instead of all; the parameters are the same, and stacked at each call.

  Raises ValueError for a rate outside [0, 1), another policy, or a group in which nothing would be left out, or all.
  """

  def __init__(self, width: int, depth: int, heads: int, mlp: int, *, layer_scale: float | None = None,
               drop_path: float = 0.0, drop_group: int = 1, attention: str = 'xla', remat: str = 'none',
               scan: bool = False, dtype: str = 'float32', quantize: str | None = None, rngs: nnx.Rngs):
    if not 0 <= drop_path < 1:
      raise ValueError(f'wanted drop_path in [0, 1), got {drop_path}')
    if drop_group < 1 or (drop_group > 1 and not 0 < round(drop_group * (1 - drop_path)) < drop_group):
      raise ValueError(f'wanted a drop_group of which drop_path={drop_path} leaves out some rows and keeps some, or 1, '
                       f'got {drop_group}')
    check_remat(remat)
    self.blocks = nnx.List([Block(width, heads, mlp, layer_scale=layer_scale, attention=attention, dtype=dtype,
                                  quantize=quantize, rngs=rngs) for _ in range(depth)])
    self.norm = layer_norm(width, rngs=rngs)
    rates = np.linspace(0, drop_path, depth) if drop_group == 1 else np.full(depth, drop_path)
    self.rates, self.drop_group = tuple(rates.tolist()), drop_group
    self.remat, self.scan = remat, scan

  @property
  def layers(self) -> Mapping[str, int | None]:
    """The layers of a backbone whose part `trunk` this is, and whose others make the tokens: see `functional.Leaf`."""
    return {'': 0, 'trunk/norm': None} | {f'trunk/blocks/{i}': i + 1 for i in range(len(self.blocks))}

  def __call__(self, tokens, *, mask=None, segments=None, train: bool = False, key=None):
    """mask, segments: as in `attend`, the same in all blocks; of several rows not with a drop_group above 1."""
    return self.norm(self._run(tokens, train, key, mask, segments, every=False))

  def outputs(self, tokens, *, train: bool = False, key=None):
    """What every block gives, f32[b, n, width] each, in their order and before the last LayerNorm."""
    return self._run(tokens, train, key, None, None, every=True)

  def _run(self, tokens, train, key, mask, segments, every):
    """The output of the last block, or of all; branches are left out when training with a key."""
    drops = train and key is not None and max(self.rates) > 0
    keys = jax.random.split(key, len(self.blocks)) if drops else [None] * len(self.blocks)
    rates, grouped = np.array(self.rates, np.float32), self.drop_group > 1

    def run(block, x, rate, key):
      x = checkpoint_name(rows_stay(x), 'block')
      return block(x, mask=mask, segments=segments, drop_path=self.rates[0] if grouped else rate,
                   drop_group=self.drop_group, key=key)

    run = remembering(run, self.remat)
    x, outputs = tokens.astype(jnp.float32), []
    if self.scan:
      def body(x, inputs):
        block, rate, key = inputs
        x = run(block, x, rate, key)
        return x, x if every else None

      stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *self.blocks)
      x, outputs = jax.lax.scan(body, x, (stacked, rates, keys if drops else None))
    else:
      for i, block in enumerate(self.blocks):
        x = run(block, x, rates[i], keys[i])
        outputs.append(x)
    return outputs if every else x


class ViT(nnx.Module):
  """A Vision Transformer without a head; see `vit` for its arguments.

  `encode(embed(images))` gives all tokens; an objective that hides patches gathers rows of the tokens in between.

  Attributes:
    width: features of a token, and of the pooled features.
    dtype: of the computation; heads of linear layers take it too.
    cells: the front end: patches of images, cubes of clips, or cells of what else it reads.
  """

  def __init__(self, *, cells: Cells, width: int, depth: int, heads: int, mlp: int, registers: int, positions: str,
               pool: str, rngs: nnx.Rngs, dtype: str, **trunk):
    self.cells, self.width, self.registers, self.pooling, self.dtype = cells, width, registers, pool, dtype
    small = nnx.initializers.truncated_normal(0.02)
    self.project = Linear(cells.size, width, kernel_init=nnx.initializers.xavier_uniform(), dtype=jnp.dtype(dtype),
                          rngs=rngs)
    self.cls = nnx.Param(small(rngs.params(), (width,), jnp.float32), decay=False)
    if registers:
      self.register_tokens = nnx.Param(small(rngs.params(), (registers, width), jnp.float32), decay=False)
    self.learned = positions == 'learned'
    if self.learned:  # the first row is that of the class token
      table = small(rngs.params(), (1 + math.prod(cells.grid), width), jnp.float32)
      self.position_table = nnx.Param(table, decay=False)
    levers = ('attention', 'remat', 'scan', 'quantize')
    self.levers = dict(dtype=dtype, **{name: trunk[name] for name in levers})  # for heads that are trunks too
    self.trunk = Transformer(width, depth, heads, mlp, dtype=dtype, rngs=rngs, **trunk)

  @property
  def layers(self) -> Mapping[str, int | None]:
    return self.trunk.layers

  def __call__(self, images, *, train: bool = False, key=None):
    """Pooled features f32[b, width] of images float[b, h, w, c] in [0, 1]; the key is for drop_path alone."""
    return self.pool(self.encode(self.embed(images), train=train, key=key))

  def positions(self, grid: tuple[int, ...] | None = None):
    """Positions f32[n, width] of the cells of a grid, the native one if None; no class token.

    Raises ValueError for learned positions of another grid, where the front end does not resample them.
    """
    grid = self.cells.grid if grid is None else grid
    if self.learned:
      return self.cells.resample(self.position_table[1:], grid)
    return jnp.asarray(self.cells.positions(grid, self.width))

  def embed(self, images, mask=None, mask_token=0.0):
    """Tokens f32[b, n, width] of the cells, positions added, without class token and registers.

    Takes float[b, h, w, c] in [0, 1] of any size that is divisible by the patch; positions of another size than the
    native one are interpolated if learned, computed if sine-cosine. Where `mask` bool[b, n] is True, `mask_token`
    f32[width] stands for the patch; it gets the patch's position. Clips and other inputs: see their front end.

    Raises ValueError for other channels, integer pixels, or sides that the patch size does not divide.
    """
    x = self.cells.normalize(images)
    tokens = self.project(self.cells.cut(x))
    if mask is not None:
      tokens = jnp.where(mask[..., None], mask_token, tokens)
    return tokens + self.positions(self.cells.grid_of(x.shape))

  def encode(self, tokens, *, train: bool = False, key=None):
    """Run the trunk over [class token, registers, tokens]: [b, n, width] -> f32[b, 1 + registers + n, width].

    `tokens` are any of those of `embed`, in any order. The class token has its own position if positions are
    learned, a zero one otherwise; registers (2309.16588v2) have none.
    """
    return self.trunk(self._extend(tokens), train=train, key=key)

  def outputs(self, tokens, *, train: bool = False, key=None):
    """As `encode`, but what every block gives, f32[b, 1 + registers + n, width] each, before the last norm."""
    return self.trunk.outputs(self._extend(tokens), train=train, key=key)

  def together(self, parts, examples: int, *, train: bool = False, key=None):
    """As `encode`, of several [b * v, n, width] at once: all of an example in one sequence, each view seeing itself.

    Sequence packing (2304.07193v2 section 5): the numbers are those of `encode` one by one, but for branches that are
    left out, which are drawn for an example with all its views.

    Args:
      parts: tokens as of `embed`, the v views of an example beside each other, n and v each part's own.
      examples: b.

    Returns [f32[b * v, 1 + registers + n, width]], one for each part.
    """
    parts = [self._extend(tokens) for tokens in parts]
    rows = [x.reshape(examples, -1, self.width) for x in parts]  # [b, v * (1 + registers + n), width]
    lengths = [x.shape[1] for x in parts for _ in range(len(x) // examples)]
    segments = jnp.asarray(np.repeat(np.arange(len(lengths)), lengths)[None])
    out = self.trunk(jnp.concatenate(rows, 1), segments=segments, train=train, key=key)
    ends = np.cumsum([x.shape[1] for x in rows])[:-1]
    return [y.reshape(x.shape) for x, y in zip(parts, jnp.split(out, ends, 1), strict=True)]

  def _extend(self, tokens):
    extra = self.cls[...] + self.position_table[0] if self.learned else self.cls[...]
    extra = extra[None]
    if self.registers:
      extra = jnp.concatenate([extra, self.register_tokens[...]])
    extra = jnp.broadcast_to(extra, (tokens.shape[0], *extra.shape))
    return jnp.concatenate([extra, tokens], axis=1)

  def pool(self, tokens):
    """Features f32[b, width] of the tokens of `encode`: the class token, or the mean of the patches' tokens."""
    return tokens[:, 0] if self.pooling == 'cls' else self.patches(tokens).mean(1)

  def patches(self, tokens):
    """The patches' tokens [b, n, width] of those of `encode`: without class token and registers."""
    return tokens[:, 1 + self.registers:]


def vit(*, variant: str | None = None, image: Count | None = None, channels: Count | None = None,
        frames: Count | None = None, tubelet: Count = 1, frontend: dict | None = None, patch: Count | None = None,
        width: Count | None = None, depth: Count | None = None, heads: Count | None = None, mlp: Count | None = None,
        registers: Natural = 0, layer_scale: NonNegative | None = None,
        drop_path: Annotated[float, Range(0, 1, below=True)] = 0.0, drop_group: Count = 1, positions: str = 'learned',
        pool: str = 'cls', mean: tuple[Number, ...] = (0.5,), std: tuple[Positive, ...] = (0.5,),
        attention: str = 'xla', remat: str = 'none', scan: bool = False, dtype: str = 'float32',
        quantize: str | None = None) -> Callable[[nnx.Rngs], ViT]:
  """Vision Transformer (2010.11929v2) without a head: images in [0, 1] to features f32[b, width].

  Kernels are Xavier-uniform (2111.06377v3 appendix A.1; q, k and v apart), biases zero; positions, the class token
  and registers are a normal of standard deviation 0.02 truncated at two of them.

  Args:
    variant: 'S/16' is size/patch, with the sizes of `VARIANTS`: Ti S B L H g G; None if all sizes are given.
    image: native side in pixels; it sets the grid of learned positions. Other sizes work, see `ViT.embed`.
    channels: channels of the images.
    frames, tubelet: for clips [b, t, h, w, c]: their frames, and how many of them a token spans (2203.12602v3, section
      3.1: 16 and 2). An image is then a clip in which nothing moves.
    frontend: for what is neither, in place of image, channels, frames and patch: dict(name='...', ...), a function of
      pretrain/frontends that gives the cells.
    patch, width, depth, heads, mlp: override the variant.
    registers: number of additional tokens without position, dropped by pooling (2309.16588v2).
    layer_scale, drop_path, drop_group, attention, remat, scan: as in `Transformer`.
    positions: 'learned' (one for the class token too) or 'sincos' (fixed, see `frontends.image.sincos`).
    pool: 'cls', or 'mean' of the patches' tokens. The class token is there in both. Deviation from
      the fine-tuning code of 2111.06377v3: the mean is taken after the final norm.
    mean, std: of the pixels, one for each channel or one for all; applied by the first layer.
    dtype: of the computation in the branches; parameters, residual stream and features are float32.
    quantize: 'int8' or 'fp8' rounds what the blocks multiply with their kernels, see `quantized.products`; the patches'
      projection, attention's own products and heads stay in `dtype`.

  Returns build(rngs) -> ViT.

  Raises ValueError for an unknown variant, a size that is missing, sizes that do not divide, or a frontend and sizes of
  images.
  """
  given = dict(width=width, depth=depth, heads=heads, mlp=mlp)
  pixels = dict(patch=patch, image=image, channels=channels)
  sizes = _parse(variant) | {name: size for name, size in (given | pixels).items() if size is not None}
  if missing := [name for name in (given if frontend else given | pixels) if name not in sizes]:
    raise ValueError(f'wanted {", ".join(missing)}, from a variant such as \'S/16\' or by name, '
                     f'got variant={variant!r}')
  pixels = {name: sizes.pop(name) for name in pixels if name in sizes}
  cells = _cells(frontend, pixels, frames, tubelet, dict(mean=tuple(mean), std=tuple(std)))
  for name, value, valid in (('positions', positions, ('learned', 'sincos')), ('pool', pool, ('cls', 'mean'))):
    if value not in valid:
      raise ValueError(f'wanted {name} to be one of {valid}, got {value!r}')

  def build(rngs: nnx.Rngs) -> ViT:
    return ViT(cells=cells, registers=registers, layer_scale=layer_scale, drop_path=drop_path, drop_group=drop_group,
               attention=attention, remat=remat, scan=scan, positions=positions, pool=pool, dtype=dtype,
               quantize=quantize, rngs=rngs, **sizes)

  return build


def _cells(frontend: dict | None, pixels: dict, frames: int | None, tubelet: int, statistics: dict) -> Cells:
  """The front end that is named, or that of images or clips: `pixels` are image, channels and patch."""
  if frontend is not None:
    if pixels or frames:
      raise ValueError(f'wanted frontend alone, or {", ".join(pixels) or "frames"} of images or clips; got frontend='
                       f'{frontend} too')
    return configs.build(frontends, frontend, 'vit.frontend')
  if (frames or 1) % tubelet:
    raise ValueError(f'wanted frames that a tubelet divides, or tubelet=1 for images; got frames={frames}, '
                     f'tubelet={tubelet}')
  of = dict(size=pixels['image'], channels=pixels['channels'], patch=pixels['patch']) | statistics
  return image_cells(**of) if frames is None else video_cells(**of, frames=frames, tubelet=tubelet)


def _parse(variant: str | None) -> dict[str, int]:
  if variant is None:
    return {}
  name, slash, patch = variant.partition('/')
  if name not in VARIANTS or (slash and not (patch.isdecimal() and int(patch))):
    names = {known.lower(): known for known in VARIANTS}
    near = names[difflib.get_close_matches(name.lower(), names, 1, 0)[0]]
    raise ValueError(f'unknown ViT variant {variant!r}: wanted size/patch with a size of {", ".join(VARIANTS)} and '
                     f'a patch in pixels; the nearest is {near}/{patch if patch.isdecimal() and int(patch) else 16}')
  sizes = dict(zip(('width', 'depth', 'heads', 'mlp'), VARIANTS[name], strict=True))
  return sizes | {'patch': int(patch)} if slash else sizes
