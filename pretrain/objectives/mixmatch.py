"""MixMatch: A Holistic Approach to Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive
from pretrain.method.objective import Objective, flat
from pretrain.method.semi_supervised import averaged, classifier, classify, divided, mix
from pretrain.method.teacher import linear


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
  net = classifier(backbone, classes)
  weight = linear(0., unlabeled_weight, ramp_steps)

  def loss(params, memory, batch, key, step):
    guess_key, mix_key, key = jax.random.split(key, 3)
    labeled, views, old = batch['image'], batch['strongs'], memory['statistics']
    (z,), _ = classify(net, jax.lax.stop_gradient(params), old, [flat(views)], guess_key)
    p = jnp.mean(jax.nn.softmax(z).reshape(*views.shape[:2], classes), 1)
    guess = jnp.repeat(losses.sharpen(p, temperature), views.shape[1], 0)  # [u * v, k]
    images = [labeled, flat(views)]
    targets = jnp.concatenate([jax.nn.one_hot(batch['label'], classes), guess])
    mixed, targets = mix(mix_key, jnp.concatenate(images), targets, alpha)
    (labeled, unlabeled), statistics = classify(net, params, old, divided(mixed, images), key)
    target, guess = divided(targets, images)
    value, metrics = losses.mixmatch(labeled, target, unlabeled, guess, weight(step))
    return value, ({'statistics': statistics}, metrics | {'unlabeled_weight': weight(step)})

  return Objective({'image': 'b h w c', 'label': 'b', 'strongs': 'u v h w c'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared', couples_batch=True))
