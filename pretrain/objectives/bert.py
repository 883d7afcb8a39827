"""BERT's masked language modelling, as in How to Train BERT with an Academic Budget (masked modelling)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import ProperPart
from pretrain.method.masks import token_mask
from pretrain.method.objective import Objective, plain
from pretrain.models.functional import functional
from pretrain.models.heads import MaskedWords


def bert(backbone: Callable, *, mask_ratio: ProperPart) -> Objective:
  """Hidden tokens are predicted from all others; there is no second task.

  arXiv:1810.04805v2, section 3.1, task 1, with what arXiv:2104.07705v2, section 2, keeps of it: packed sequences, no
  next sentence, predictions at the hidden places alone. The budget there is a time; here it is `steps`, with a schedule
  that ends at 0 (`warmup_stable_decay`). The mask of an example depends on the step and its index.

  Args:
    backbone: a text encoder without causal attention, build(rngs) -> module with `encode`, `tokens`, `width` and
      `vocabulary`; the features of `encode` are what it pools.
    mask_ratio: share of a sequence's tokens that are predicted; the paper's is 0.15.
  Raises:
    ValueError: a causal encoder; what `token_mask` raises.
  """
  def parts(rngs):
    f = backbone(rngs)
    if f.causal:
      raise ValueError('bert wants an encoder whose tokens see those after them too, got causal=True')
    return nnx.Dict(backbone=f, head=MaskedWords(f.width, f.vocabulary, dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    tokens = batch['tokens']

    def predict(m):
      shown, places, hidden = token_mask(key, batch['index'], tokens, mask_ratio, m.backbone.vocabulary)
      x = m.backbone.encode(shown, train=True, key=key)  # [b, l, d]
      x = jnp.take_along_axis(x, places[..., None], 1)  # [b, k, d]
      return m.head(x, m.backbone.tokens.embedding[...]), jnp.take_along_axis(tokens, places, 1), hidden

    (logits, words, hidden), statistics = net.apply(params, memory['statistics'], predict)
    value, accuracy = losses.masked_words(logits, words, hidden)
    return value, ({'statistics': statistics}, {'accuracy': accuracy})

  return Objective({'tokens': 'b l', 'index': 'b'}, loss=loss, **plain(net))
