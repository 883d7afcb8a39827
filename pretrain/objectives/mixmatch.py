"""MixMatch: A Holistic Approach to Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive
from pretrain.losses.semi_supervised import combined
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import linear
from pretrain.method.semi_supervised import classifier, classify, mix, probabilities, split_like

PAPER = dict(title='MixMatch: A Holistic Approach to Semi-Supervised Learning',
             arxiv='1905.02249v2', family='consistency', modality='image')


def mixmatch(backbone: Callable, *, classes: Count, temperature: Positive, alpha: Positive,
             unlabeled_weight: NonNegative, ramp_steps: Natural, ema_momentum: Decay) -> Objective:
  """Labels guessed from several views, sharpened; then labeled and guessed examples are mixed with each other.

  arXiv:1905.02249v2, section 3, algorithm 1. The paper's K views are weak ones: `views` of FixMatch with strongs=2,
  operations=0 and cutout_share=0. Evaluation is with the batch statistics of training, as in the authors' code
  (google-research/mixmatch: `model_vars` in libml/utils.py). Deviations: one pass for all mixtures, which so share
  batch statistics, and these are kept (the authors' code keeps those of the first batch it makes of them).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    temperature: T of the sharpening; 0.5 in the paper.
    alpha: of MixUp's Beta distribution; 0.75 in the paper.
    unlabeled_weight: lambda_U after the ramp; 75 for CIFAR-10.
    ramp_steps: over which it grows linearly from 0; 16,000 in the paper.
    ema_momentum: of the average that encode and predict use; 0.999 in the paper.
  """
  weight = linear(0., unlabeled_weight, ramp_steps)

  def loss(student, batch, key, step):
    guess_key, mix_key, key = jax.random.split(key, 3)
    views = batch['strongs']
    images = [batch['image'], flat(views)]
    z, = classify(student.at(jax.lax.stop_gradient(student.params)), images[1:], guess_key)
    p = jnp.mean(jax.nn.softmax(z).reshape(*views.shape[:2], classes), 1)
    guess = jnp.repeat(losses.sharpen(p, temperature), views.shape[1], 0)  # [u * v, k]
    targets = jnp.concatenate([jax.nn.one_hot(batch['label'], classes), guess])
    mixed, targets = mix(mix_key, jnp.concatenate(images), targets, alpha)
    labeled, unlabeled = classify(student, split_like(mixed, images), key)
    target, guess = split_like(targets, images)
    value, metrics = mixmatch_loss(labeled, target, unlabeled=unlabeled, guess=guess, unlabeled_weight=weight(step))
    return value, metrics | {'unlabeled_weight': weight(step)}

  return method({'image': 'b h w c', 'label': 'b', 'strongs': 'u v h w c'}, classifier(backbone, classes), loss,
                ema=Average(ema_momentum), encode='ema', predict=probabilities, couples_batch=True)


def mixmatch_loss(labeled, target, *, unlabeled, guess, unlabeled_weight):
  """Cross-entropy of labeled mixtures plus the squared error of the probabilities of unlabeled ones.

  arXiv:1905.02249v2, eq. 3 to 5.

  Args:
    labeled, unlabeled: [b, k], [n, k] logits of mixed images.
    target, guess: f32[b, k], f32[n, k], their mixed labels; no gradient to them.
    unlabeled_weight: lambda_U >= 0, of this step.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  losses.same_shape('mixmatch', unlabeled=unlabeled.shape, guess=guess.shape)
  target, guess = jax.lax.stop_gradient((target, guess))
  difference = jax.nn.softmax(unlabeled.astype(jnp.float32)) - guess
  return combined(jnp.mean(losses.soft_cross_entropy(target, labeled)), jnp.mean(jnp.square(difference)),
                  unlabeled_weight=unlabeled_weight)
