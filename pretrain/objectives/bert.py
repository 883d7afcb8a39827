"""BERT's masked language modelling, as in How to Train BERT with an Academic Budget (masked modelling)."""
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import ProperPart
from pretrain.method.masks import token_mask
from pretrain.method.objective import Objective, method
from pretrain.models.heads import MaskedWords

PAPER = dict(title='How to Train BERT with an Academic Budget',
             arxiv='2104.07705v2', family='masked modelling', modality='text')


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
  def modules(rngs):
    f = backbone(rngs)
    if f.causal:
      raise ValueError('bert wants an encoder whose tokens see those after them too, got causal=True')
    return nnx.Dict(backbone=f, head=MaskedWords(f.width, f.vocabulary, dtype=f.dtype, rngs=rngs))

  def loss(student, batch, key):
    tokens, f = batch['tokens'], student.backbone
    shown, places, hidden = token_mask(key, batch['index'], tokens, mask_ratio, f.vocabulary)
    x = f.encode(shown, train=True, key=key)  # [b, l, d]
    x = jnp.take_along_axis(x, places[..., None], 1)  # [b, k, d]
    logits = student.head(x, f.tokens.embedding[...])
    value, accuracy = masked_words(logits, jnp.take_along_axis(tokens, places, 1), hidden=hidden)
    return value, {'accuracy': accuracy}

  return method({'tokens': 'b l', 'index': 'b'}, modules, loss)


def masked_words(logits, words, *, hidden):
  """Cross-entropy of the hidden words, the mean over all of the batch.

  arXiv:1810.04805v2, section 3.1 and appendix A.1.

  Args:
    logits: [b, k, v] at k places a text.
    words: int[b, k], what stood there.
    hidden: bool[b, k], which places count; 0 if none does.
  Returns:
    f32[], nats, and the share f32[] of the hidden words whose logit is the largest.
  Raises:
    ValueError: the shapes do not fit.
  """
  losses.same_shape('masked_words', words=words.shape, hidden=hidden.shape)
  count = jnp.maximum(jnp.sum(hidden), 1)
  right = jnp.argmax(logits, -1) == words
  return jnp.sum(losses.cross_entropy(logits, words) * hidden) / count, jnp.sum(right & hidden) / count
