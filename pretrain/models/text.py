"""A Transformer encoder of text: token ids to tokens to features, of the blocks of the ViT."""
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from flax import nnx

from data.text import PAD
from pretrain.config import Count
from pretrain.models.vit import Transformer

POOLS = ('cls', 'last', 'mean')


class Text(nnx.Module):
  """A text encoder without a head; see `text` for its arguments.

  Attributes:
    width: features of a token, and of the pooled features.
    dtype: of the computation; heads take it too.
    vocabulary, length: number of ids, longest text.
  """

  def __init__(self, *, vocabulary: int, length: int, width: int, depth: int, heads: int, mlp: int, causal: bool,
               pool: str, dtype: str, rngs: nnx.Rngs, **trunk):
    normal = nnx.initializers.normal
    self.vocabulary, self.length, self.width, self.causal, self.pooling = vocabulary, length, width, causal, pool
    self.dtype = dtype
    self.tokens = nnx.Embed(vocabulary, width, embedding_init=normal(0.02), rngs=rngs,
                            embedding_metadata=dict(axes=('tensor', None)))
    self.position_table = nnx.Param(normal(0.01)(rngs.params(), (length, width), jnp.float32), decay=False)
    self.trunk = Transformer(width, depth, heads, mlp, dtype=dtype, rngs=rngs, **trunk)

  @property
  def layers(self) -> Mapping[str, int | None]:
    return self.trunk.layers

  def __call__(self, tokens, *, train: bool = False, key=None):
    """Pooled features f32[b, width] of tokens int[b, l]."""
    return self.pool(self.encode(tokens, train=train, key=key), tokens)

  def encode(self, tokens, *, train: bool = False, key=None):
    """f32[b, l, width] of tokens int[b, l]; only PAD looks at PAD, and if causal nothing at what comes after it.

    Raises ValueError for more than `length` ids, or for what are none.
    """
    if tokens.ndim != 2 or tokens.shape[1] > self.length or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(f'wanted token ids int[b, l] with l at most {self.length}, got {tokens.dtype}{tokens.shape}; '
                       'set `length` of the text model to that of the source')
    n = tokens.shape[1]
    sees = dict(mask=jnp.tril(jnp.ones((n, n), bool))[None, None]) if self.causal else dict(segments=tokens != PAD)
    return self.trunk(self.tokens(tokens) + self.position_table[:n], train=train, key=key, **sees)

  def pool(self, x, tokens):
    """Features f32[b, width] of those of `encode`: at the first place, at the last that is no PAD, or their mean."""
    there = tokens != PAD
    if self.pooling == 'cls':
      return x[:, 0]
    if self.pooling == 'mean':
      return jnp.sum(x * there[..., None], 1) / jnp.maximum(jnp.sum(there, 1, keepdims=True), 1)
    last = jnp.maximum(jnp.sum(there, 1) - 1, 0)  # texts are padded at their end
    return jnp.take_along_axis(x, last[:, None, None], 1)[:, 0]


def text(*, vocabulary: Count, length: Count, width: Count, depth: Count, heads: Count, mlp: Count,
         causal: bool = False, pool: str = 'cls', attention: str = 'xla', remat: str = 'none', scan: bool = False,
         dtype: str = 'float32', quantize: str | None = None) -> Callable[[nnx.Rngs], Text]:
  """A pre-norm Transformer encoder of token ids without a head: int[b, l] to features f32[b, width].

  Blocks are those of `vit` (exact GELU, LayerNorm with epsilon 1e-6, Xavier-uniform kernels), positions are learned.

  - 2103.00020v1 section 2.4 (CLIP): vocabulary=49408, length=77, width=512, depth=12, heads=8, mlp=2048, causal=True,
    pool='last'; the authors' code approximates GELU by a sigmoid and scales the first kernels otherwise
  - 2303.15343v4 (SigLIP): vocabulary=32000, length=64, width=768, depth=12, heads=12, mlp=3072, pool='last'; in the
    authors' code padding is seen, and the last place of all is pooled
  - 2104.07705v2: norms before the branches, as here (BERT, 1810.04805v2, has them behind); here without segments and
    dropout

  Args:
    vocabulary: number of ids, that of the source's tokeniser.
    length: ids of the longest text, the number of positions.
    width, depth, heads, mlp: as in `vit`.
    causal: a token looks only at those before it and at itself.
    pool: 'cls' (the first token), 'last' (the last that is no padding, the END of a caption), or 'mean'.
    attention, remat, scan: as in `vit.Transformer`.
    dtype, quantize: as in `vit.vit`.

  Returns build(rngs) -> Text.

  Raises ValueError for another pool, causal attention with the first token, which would see only itself, or by
  'splash', which has no causal mask.
  """
  if pool not in POOLS or (causal and pool == 'cls'):
    raise ValueError(f"wanted pool to be one of {POOLS}, not 'cls' with causal=True; got pool={pool!r}, "
                     f'causal={causal}')
  if causal and attention == 'splash':
    raise ValueError("attention='splash' has no causal mask; wanted attention='xla' where causal=True")

  def build(rngs: nnx.Rngs) -> Text:
    return Text(vocabulary=vocabulary, length=length, width=width, depth=depth, heads=heads, mlp=mlp, causal=causal,
                pool=pool, attention=attention, remat=remat, scan=scan, dtype=dtype, quantize=quantize, rngs=rngs)

  return build
