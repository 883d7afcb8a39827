"""Masked modelling: what was hidden is predicted."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import cross_entropy, f32, same_shape


def standardize_patches(patches):
  """Each patch minus its mean over its unbiased standard deviation: [b, n, p] -> f32[b, n, p].

  arXiv:2111.06377v3, section 3, "Reconstruction target"; the authors' code adds 1e-6 to the (unbiased) variance.
  """
  patches = patches.astype(f32)
  return (patches - patches.mean(-1, keepdims=True)) * jax.lax.rsqrt(patches.var(-1, keepdims=True, ddof=1) + 1e-6)


def standardize_cubes(cubes):
  """Each channel of a cube minus its mean over its unbiased standard deviation + 1e-6: [b, n, p, c] -> f32[b, n, p, c].

  arXiv:2203.12602v3, section 3.2; form and number of the authors' code, engine_for_pretraining.py.
  """
  cubes = cubes.astype(f32)
  return (cubes - cubes.mean(-2, keepdims=True)) / (cubes.std(-2, keepdims=True, ddof=1) + 1e-6)


def masked_mse(predicted, target, mask):
  """Mean squared error of the hidden patches only.

  arXiv:2111.06377v3, section 3. Mean over the pixels of a patch, then over all hidden patches of the batch.

  Args:
    predicted, target: [b, n, p].
    mask: bool[b, n], True where hidden; at least one is.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('masked_mse', predicted=predicted.shape, target=target.shape)
  same_shape('masked_mse', patches=predicted.shape[:2], mask=mask.shape)
  error = jnp.mean(jnp.square(predicted.astype(f32) - target.astype(f32)), -1)  # [b, n]
  return jnp.sum(error * mask) / jnp.sum(mask)


def masked_l1(predicted, target, mask):
  """Mean absolute error of the hidden patches only, over the pixels of a patch and all hidden patches of the batch.

  arXiv:2111.09886v2, section 3.4. The authors' code adds 1e-5 to the number of hidden pixels.

  Args:
    predicted, target: [b, n, p].
    mask: bool[b, n], True where hidden; at least one is.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('masked_l1', predicted=predicted.shape, target=target.shape)
  same_shape('masked_l1', patches=predicted.shape[:2], mask=mask.shape)
  error = jnp.mean(jnp.abs(predicted.astype(f32) - target.astype(f32)), -1)  # [b, n]
  return jnp.sum(error * mask) / jnp.sum(mask)


def masked_words(logits, words, hidden):
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
  same_shape('masked_words', words=words.shape, hidden=hidden.shape)
  count = jnp.maximum(jnp.sum(hidden), 1)
  right = jnp.argmax(logits, -1) == words
  return jnp.sum(cross_entropy(logits, words) * hidden) / count, jnp.sum(right & hidden) / count
