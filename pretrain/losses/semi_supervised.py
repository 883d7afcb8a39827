"""Pseudo-labels and consistency: few labeled examples, many unlabeled ones.

Everywhere: labeled [b, k] logits with label int[b]; weak, strong [u, k] logits of two views of the unlabeled examples,
of which the weak one makes targets and gets no gradient. A total is the labeled cross-entropy plus `unlabeled_weight`
times the consistency, a mean over all u examples, used or not. It comes with its terms as metrics.
"""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import cross_entropy, f32, same_shape, soft_cross_entropy


def probabilities_of(logits):
  """softmax, float32, that no gradient flows back from."""
  return jax.nn.softmax(jax.lax.stop_gradient(logits).astype(f32))


def confident(weak, threshold):
  """Hard pseudo-labels of a weakly augmented view.

  arXiv:2001.07685v2, section 2.2.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold: in [0, 1]; a number, or f32[u].
  Returns:
    pseudo int[u], use bool[u]: True where the highest probability reaches the threshold.
  Raises:
    ValueError: neither one threshold nor one for each example.
  """
  if jnp.ndim(threshold):
    same_shape('confident', threshold=jnp.shape(threshold), examples=weak.shape[:1])
  probabilities = probabilities_of(weak)
  return probabilities.argmax(-1), probabilities.max(-1) >= threshold


def total(labeled, label, *, consistency, unlabeled_weight, **metrics):
  """The labeled cross-entropy plus the weighted consistency f32[], and both with the other metrics."""
  return combined(jnp.mean(cross_entropy(labeled, label)), consistency, unlabeled_weight=unlabeled_weight, **metrics)


def combined(supervised, consistency, *, unlabeled_weight, **metrics):
  """`total` of the labeled loss f32[] itself."""
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency} | metrics


def weighted(labeled, label, *, strong, pseudo, weight, unlabeled_weight):
  """`total` of the strong view's cross-entropies with pseudo int[u], each times its weight (bool or float [u])."""
  weight = weight.astype(f32)
  consistency = jnp.mean(cross_entropy(strong, pseudo) * weight)
  return total(labeled, label, consistency=consistency, unlabeled_weight=unlabeled_weight, use_ratio=jnp.mean(weight))


def softly_weighted(labeled, label, *, strong, target, weight, unlabeled_weight, **metrics):
  """`weighted` with probabilities [u, k] as targets, which no gradient flows back from."""
  weight = weight.astype(f32)
  consistency = jnp.mean(soft_cross_entropy(jax.lax.stop_gradient(target), strong) * weight)
  return total(labeled, label, consistency=consistency, unlabeled_weight=unlabeled_weight, use_ratio=jnp.mean(weight),
               **metrics)


def divergence(target, logits):
  """KL(softmax(target) || softmax(logits)) f32[u] of logits [u, k]; no gradient to the target."""
  same_shape('divergence', target=target.shape, logits=logits.shape)
  target = jax.lax.stop_gradient(target).astype(f32)
  p = jax.nn.softmax(target)
  return soft_cross_entropy(p, logits) - soft_cross_entropy(p, target)


def fixmatch(labeled, label, *, weak, strong, threshold, unlabeled_weight):
  """Supervised cross-entropy plus consistency of the strong view with the confident pseudo-labels of the weak view.

  arXiv:2001.07685v2, eq. 3 and 4; the consistency is averaged over all u examples, used or not.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: in [0, 1]; a number, or f32[u].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('fixmatch', weak=weak.shape, strong=strong.shape)
  pseudo, use = confident(weak, threshold)
  return weighted(labeled, label, strong=strong, pseudo=pseudo, weight=use, unlabeled_weight=unlabeled_weight)


def uda(labeled, label, *, weak, strong, threshold, temperature, unlabeled_weight):
  """Supervised cross-entropy plus the divergence of the strong view from the sharpened, confident weak one.

  arXiv:1904.12848v6, eq. 1 and section 2.4 (confidence mask, sharpening). KL, as in the authors' code,
  has the gradient of the paper's cross-entropy. Deviation: >= the threshold, where theirs is >.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: beta in [0, 1], for the highest probability before sharpening.
    temperature: tau > 0; below 1 it sharpens.
    unlabeled_weight: lambda >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('uda', weak=weak.shape, strong=strong.shape)
  _, use = confident(weak, threshold)
  each = divergence(weak.astype(f32) / temperature, strong)
  return total(labeled, label, consistency=jnp.mean(each * use), unlabeled_weight=unlabeled_weight,
               use_ratio=jnp.mean(use.astype(f32)))


def align(probabilities, target, *, average):
  """Distribution alignment: probabilities f32[u, k] times target / average f32[k], each row again with sum 1.

  arXiv:2106.04732v2, section 3; SoftMatch's uniform alignment (arXiv:2301.10921v2, section 3) has 1 / k as the target.
  1e-6 is added to both, as in both authors' code.
  """
  aligned = probabilities * (target + 1e-6) / (average + 1e-6)
  return aligned / jnp.sum(aligned, -1, keepdims=True)


def sharpen(probabilities, temperature):
  """p^(1 / temperature), each row again with sum 1 (arXiv:1905.02249v2, eq. 7): f32[..., k]."""
  return jax.nn.softmax(jnp.log(probabilities) / temperature)


def mixup(x, order, *, share):
  """share x + (1 - share) x[order], row by row (arXiv:1905.02249v2, eq. 8 to 11): x [n, ...], int[n], f32[n]."""
  share = share.reshape(-1, *[1] * (x.ndim - 1))
  return share * x + (1 - share) * x[order]
