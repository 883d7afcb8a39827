"""Consistency of predictions: of two passes, near an image, of mixtures, of neighbours, and of turned images.

As in `pretrain.losses.semi_supervised`: labeled [b, k] logits with label int[b]; a loss comes with its terms.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain.losses.basic import cross_entropy, f32, normalize, same_shape, soft_cross_entropy
from pretrain.losses.semi_supervised import combined, divergence, softly_weighted, total


def pi_model(labeled, label, first, second, unlabeled_weight):
  """Supervised cross-entropy plus the squared difference of the probabilities in two passes.

  arXiv:1610.02242v3, algorithm 1: divided by the number of classes, with a gradient to both.

  Args:
    labeled, label: [b, k] logits, int[b].
    first, second: [n, k] logits of two views of the same examples.
    unlabeled_weight: w(t) >= 0, of this step.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  same_shape('pi_model', first=first.shape, second=second.shape)
  difference = jax.nn.softmax(first.astype(f32)) - jax.nn.softmax(second.astype(f32))
  return total(labeled, label, jnp.mean(jnp.square(difference)), unlabeled_weight)


def virtual_adversarial(logits_of: Callable, images, direction, epsilon, iterations: int):
  """The direction in which the prediction for each image changes most, of length epsilon.

  arXiv:1704.03976v2, section 3.3, algorithm 1. The product with the Hessian of the divergence, J^T (diag p - p p^T) J,
  is exact: what the paper's finite difference goes to for xi -> 0 (in float32 and with the authors' xi, 1e-6, few
  digits of that are left).

  Args:
    logits_of: images -> [u, k].
    images: f32[u, ...].
    direction: f32[u, ...], random, where the power iteration starts.
    epsilon: length, in the units of the images.
    iterations: of the power method, >= 1.
  Returns:
    f32[u, ...], a constant.
  """
  def unit(d):
    return normalize(d.reshape(len(d), -1)).reshape(d.shape)

  logits, backward = jax.vjp(logits_of, images)
  _, forward = jax.vjp(backward, jnp.zeros_like(logits))
  p = jax.nn.softmax(logits.astype(f32))
  for _ in range(iterations):
    change, = forward((unit(direction),))  # J d
    direction, = backward((p * (change - jnp.sum(p * change, -1, keepdims=True))).astype(logits.dtype))
  return jax.lax.stop_gradient(epsilon * unit(direction))


def vat(labeled, label, clean, perturbed, unlabeled_weight, entropy_weight):
  """Supervised cross-entropy, divergence of the perturbed from the clean prediction, and the entropy of the clean one.

  arXiv:1704.03976v2, eq. 5 to 8, and eq. 24 for the entropy.

  Args:
    labeled, label: [b, k] logits, int[b].
    clean, perturbed: [u, k] logits of the unlabeled images, and of them plus `virtual_adversarial`; the divergence has
      no gradient to the clean ones.
    unlabeled_weight: alpha >= 0.
    entropy_weight: >= 0; 1 in the authors' VAT+EntMin, 0 in VAT.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'entropy'}.
  """
  value, metrics = total(labeled, label, jnp.mean(divergence(clean, perturbed)), unlabeled_weight)
  entropy = jnp.mean(soft_cross_entropy(jax.nn.softmax(clean.astype(f32)), clean))
  return value + entropy_weight * entropy, metrics | {'entropy': entropy}


def sharpen(probabilities, temperature):
  """p^(1 / temperature), each row again with sum 1 (arXiv:1905.02249v2, eq. 7): f32[..., k]."""
  return jax.nn.softmax(jnp.log(probabilities) / temperature)


def mixup(x, order, share):
  """share x + (1 - share) x[order], row by row (arXiv:1905.02249v2, eq. 8 to 11): x [n, ...], int[n], f32[n]."""
  share = share.reshape(-1, *[1] * (x.ndim - 1))
  return share * x + (1 - share) * x[order]


def mixmatch(labeled, target, unlabeled, guess, unlabeled_weight):
  """Cross-entropy of labeled mixtures plus the squared error of the probabilities of unlabeled ones.

  arXiv:1905.02249v2, eq. 3 to 5.

  Args:
    labeled, unlabeled: [b, k], [n, k] logits of mixed images.
    target, guess: f32[b, k], f32[n, k], their mixed labels; no gradient to them.
    unlabeled_weight: lambda_U >= 0, of this step.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  same_shape('mixmatch', unlabeled=unlabeled.shape, guess=guess.shape)
  target, guess = jax.lax.stop_gradient((target, guess))
  difference = jax.nn.softmax(unlabeled.astype(f32)) - guess
  return combined(jnp.mean(soft_cross_entropy(target, labeled)), jnp.mean(jnp.square(difference)), unlabeled_weight)


def remixmatch(labeled, target, unlabeled, mixed_guess, anchored, guess, turned, turns, unlabeled_weight,
               anchor_weight, rotation_weight):
  """Cross-entropies of labeled and of unlabeled mixtures, of one strong view that is not mixed, and of the rotation.

  arXiv:1911.09785v2, section 3, the four terms of the loss.

  Args:
    labeled, target: [b, k] logits of mixed images, f32[b, k] their mixed labels.
    unlabeled, mixed_guess: [n, k], f32[n, k]: the same of the unlabeled.
    anchored, guess: [u, k] logits of a strong view, f32[u, k]; no gradient to any label.
    turned, turns: [u, 4] logits, int[u] in [0, 4), quarter turns of the view.
    unlabeled_weight, anchor_weight, rotation_weight: lambda_U, lambda_U1, lambda_r >= 0, of this step.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'anchored', 'rotation'}.
  """
  target, mixed_guess, guess = jax.lax.stop_gradient((target, mixed_guess, guess))
  supervised, consistency, anchor = (jnp.mean(soft_cross_entropy(p, x)) for p, x in (
    (target, labeled), (mixed_guess, unlabeled), (guess, anchored)))
  rotation = jnp.mean(cross_entropy(turned, turns))
  value, metrics = combined(supervised, consistency, unlabeled_weight, anchored=anchor, rotation=rotation)
  return value + anchor_weight * anchor + rotation_weight * rotation, metrics


def smoothed(probabilities, z, memory_z, memory_probabilities, temperature, share):
  """Pseudo-labels pulled to those of neighbours in a memory: arXiv:2011.11183v2, section 3.2, eq. 5 and 6.

  Args:
    probabilities, z: f32[u, k], [u, d] of any scale.
    memory_z, memory_probabilities: f32[q, d], f32[q, k].
    temperature: of the similarities.
    share: alpha in [0, 1], what stays of the prediction.
  Returns:
    f32[u, k].
  """
  near = jax.nn.softmax(normalize(z) @ normalize(memory_z).T / temperature)  # [u, q]
  return share * probabilities + (1 - share) * near @ memory_probabilities


def comatch(labeled, label, probabilities, strong, first, second, threshold, temperature, edge_threshold,
            unlabeled_weight, contrast_weight):
  """FixMatch with soft targets, plus a graph of embeddings that is to equal the graph of pseudo-labels.

  arXiv:2011.11183v2, section 3.2, eq. 1 to 4 and 7 to 10. Deviation: a log-softmax, where the authors' code adds 1e-7
  to the similarities' softmax.

  Args:
    labeled, label: [b, k] logits, int[b].
    probabilities: f32[u, k], of the weak view, smoothed; no gradient flows back.
    strong: [u, k] logits of the first strong view.
    first, second: [u, d] embeddings, of any scale, of the two strong views.
    threshold: tau in [0, 1], of the classification.
    temperature: t > 0, of the similarities.
    edge_threshold: T in [0, 1]: pairs whose pseudo-labels agree less are not connected.
    unlabeled_weight, contrast_weight: lambda_cls, lambda_ctr >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'contrast', 'use_ratio'}.
  """
  same_shape('comatch', probabilities=probabilities.shape, strong=strong.shape)
  same_shape('comatch', first=first.shape, second=second.shape)
  p = jax.lax.stop_gradient(probabilities)
  edges = jnp.where(jnp.eye(len(p), dtype=bool), 1., p @ p.T)  # [u, u]
  edges = jnp.where(edges >= edge_threshold, edges, 0.)
  similarities = normalize(first) @ normalize(second).T / temperature
  contrast = jnp.mean(soft_cross_entropy(edges / jnp.sum(edges, -1, keepdims=True), similarities))
  value, metrics = softly_weighted(labeled, label, strong, p, p.max(-1) >= threshold, unlabeled_weight,
                                   contrast=contrast)
  return value + contrast_weight * contrast, metrics


def s4l(labeled, label, turned_labeled, turned_unlabeled, rotation_weight):
  """Cross-entropy of the classes of turned images plus that of their rotations, of labeled and unlabeled images.

  arXiv:1905.03670v2, eq. 1 and section 3.1; the two means of rotations are averaged, as in the authors' code.

  Args:
    labeled, label: [b, 4, k] logits of each image turned 0 to 3 quarters, int[b].
    turned_labeled, turned_unlabeled: [b, 4, 4], [u, 4, 4] logits of the rotation.
    rotation_weight: w >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency'}, the latter of the rotations.
  """
  def rotation(logits):
    return jnp.mean(cross_entropy(logits, jnp.broadcast_to(jnp.arange(4), logits.shape[:-1])))

  both = (rotation(turned_labeled) + rotation(turned_unlabeled)) / 2
  return total(labeled, jnp.broadcast_to(label[:, None], labeled.shape[:-1]), both, rotation_weight)
