"""VAT: Virtual Adversarial Training, A Regularization Method for (...) Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Positive
from pretrain.losses.semi_supervised import divergence, total
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import classifier, classify, probabilities

PAPER = dict(title='Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised '
                   'Learning',
             arxiv='1704.03976v2', family='consistency', modality='image')


def vat(backbone: Callable, *, classes: Count, epsilon: Positive, iterations: Count, unlabeled_weight: NonNegative,
        entropy_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """An unlabeled image and the worst image nearby predict the same.

  arXiv:1704.03976v2, section 3, eq. 5 to 8, algorithm 1; see `virtual_adversarial`. As in the authors' code the
  consistency is of the unlabeled stream, which has the labeled images too. Deviations: the perturbed images have batch
  statistics of their own, which are not kept, and are searched with the dropout of the pass that they are for;
  evaluation by a moving average of the parameters (0 turns it off), with the batch statistics of training, as in
  google-research/mixmatch, vat.py.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    epsilon: length of the perturbation, of the whole image, whose pixels are in [0, 1]; the paper's (8 or 10 for
      CIFAR-10) are in other units: those of whitened images.
    iterations: of the power method, K; 1 in the paper.
    unlabeled_weight: alpha; 1 in the paper.
    entropy_weight: of the entropy of the predictions; 1 in the paper's VAT+EntMin, 0 in VAT.
    ema_momentum: of the average that encode and predict use.
  """
  def loss(student, batch, key):
    x = batch['weak']
    clean_key, direction_key, perturbed_key = jax.random.split(key, 3)
    labeled, clean = classify(student, [batch['image'], x], clean_key)
    direction = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(direction_key, i), x.shape[1:]))(batch['index'])
    logits = lambda params, x: classify(student.at(params), [x], perturbed_key)[0]
    constant = jax.lax.stop_gradient(student.params)
    worst = virtual_adversarial(lambda x: logits(constant, x), x, direction=direction, epsilon=epsilon,
                                iterations=iterations)
    perturbed = logits(student.params, x + worst)
    return vat_loss(labeled, batch['label'], clean=clean, perturbed=perturbed, unlabeled_weight=unlabeled_weight,
                    entropy_weight=entropy_weight)

  return method({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'index': 'u'}, classifier(backbone, classes),
                loss, ema=Average(ema_momentum), encode='ema', predict=probabilities)


def vat_loss(labeled, label, *, clean, perturbed, unlabeled_weight, entropy_weight):
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
  value, metrics = total(labeled, label, consistency=jnp.mean(divergence(clean, perturbed)),
                         unlabeled_weight=unlabeled_weight)
  entropy = jnp.mean(losses.soft_cross_entropy(jax.nn.softmax(clean.astype(jnp.float32)), clean))
  return value + entropy_weight * entropy, metrics | {'entropy': entropy}


def virtual_adversarial(logits_of: Callable, images, *, direction, epsilon, iterations: int):
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
    return losses.normalize(d.reshape(len(d), -1)).reshape(d.shape)

  logits, backward = jax.vjp(logits_of, images)
  _, forward = jax.vjp(backward, jnp.zeros_like(logits))
  p = jax.nn.softmax(logits.astype(jnp.float32))
  for _ in range(iterations):
    change, = forward((unit(direction),))  # J d
    direction, = backward((p * (change - jnp.sum(p * change, -1, keepdims=True))).astype(logits.dtype))
  return jax.lax.stop_gradient(epsilon * unit(direction))
