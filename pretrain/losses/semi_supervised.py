"""Pseudo-labels and consistency: few labeled examples, many unlabeled ones."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import cross_entropy, f32, same_shape


def confident(weak, threshold):
  """Hard pseudo-labels of a weakly augmented view.

  arXiv:2001.07685v2, section 2.2.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold: in [0, 1].
  Returns:
    pseudo int[u], use bool[u]: True where the highest probability reaches the threshold.
  """
  probabilities = jax.nn.softmax(jax.lax.stop_gradient(weak).astype(f32))
  return probabilities.argmax(-1), probabilities.max(-1) >= threshold


def fixmatch(labeled, label, weak, strong, threshold, unlabeled_weight):
  """Supervised cross-entropy plus consistency of the strong view with the confident pseudo-labels of the weak view.

  arXiv:2001.07685v2, eq. 3 and 4; the consistency is averaged over all u examples, used or not.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: in [0, 1].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('fixmatch', weak=weak.shape, strong=strong.shape)
  pseudo, use = confident(weak, threshold)
  supervised = jnp.mean(cross_entropy(labeled, label))
  consistency = jnp.mean(cross_entropy(strong, pseudo) * use)
  metrics = {'supervised': supervised, 'consistency': consistency, 'use_ratio': jnp.mean(use.astype(f32))}
  return supervised + unlabeled_weight * consistency, metrics
