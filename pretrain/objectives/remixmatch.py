"""ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring (consistency)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive
from pretrain.losses.semi_supervised import combined
from pretrain.method.memory import Average, enqueue
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import linear
from pretrain.method.semi_supervised import classify, mix, probabilities, rotations, split_like
from pretrain.models.heads import Classifier

PAPER = dict(title='ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring',
             arxiv='1911.09785v2', family='consistency', modality='image')


class Memory(NamedTuple):
  labels: Any  # f32[window, k], mean labels of the last batches
  guesses: Any  # f32[window, k], and mean predictions


def remixmatch(backbone: Callable, *, classes: Count, temperature: Positive, alpha: Positive, window: Count,
               unlabeled_weight: NonNegative, anchor_weight: NonNegative, rotation_weight: NonNegative,
               ramp_steps: Natural, ema_momentum: Decay) -> Objective:
  """MixMatch whose guesses are aligned with the labels, come from a weak view and are kept for several strong ones.

  arXiv:1911.09785v2, section 3, algorithm 1. `views` of FixMatch with labeled_strong=True and strongs=K. Evaluation is
  with the batch statistics of training, as in the authors' code (google-research/remixmatch: `model_vars` in
  libml/utils.py). Deviations: RandAugment in place of CTAugment (the authors' code has variants without it); both
  distributions of the alignment are means over the same window, of labels and of guesses, with those of this batch (the
  authors' code: of the batches before it); one pass for all mixtures, as in `mixmatch`.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    temperature: T of the sharpening; 0.5 in the paper.
    alpha: of MixUp's Beta distribution; 0.75 in the paper.
    window: over how many batches labels and guesses are averaged; 128 in the paper.
    unlabeled_weight, anchor_weight: lambda_U, lambda_U1 after the ramp; 1.5 and 0.5 in the paper.
    rotation_weight: lambda_r; 0.5 in the paper.
    ramp_steps: over which the first two grow linearly from 0; 16,384 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the paper.
  """
  ramp = linear(0., 1., ramp_steps)

  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    rotation=Classifier(f.width, 4, zero=False, rngs=rngs))

  def start(_):
    uniform = jnp.full((window, classes), 1 / classes, jnp.float32)
    return Memory(labels=uniform, guesses=uniform)

  def loss(student, memory, batch, key, step):
    guess_key, turn_key, mix_key, key = jax.random.split(key, 4)
    weak, strongs = batch['weak'], batch['strongs']  # [u, h, w, c], [u, v, h, w, c]
    z, = classify(student.at(jax.lax.stop_gradient(student.params)), [weak], guess_key)
    p, label = jax.nn.softmax(z), jax.nn.one_hot(batch['label'], classes)
    means = Memory(labels=enqueue(memory.labels, jnp.mean(label, 0, keepdims=True), step),
                   guesses=enqueue(memory.guesses, jnp.mean(p, 0, keepdims=True), step))
    guess = losses.sharpen(losses.align(p, jnp.mean(means.labels, 0), average=jnp.mean(means.guesses, 0)), temperature)

    images = [batch['image_strong'], weak, flat(strongs)]
    mixed, targets = mix(mix_key, jnp.concatenate(images),
                         jnp.concatenate([label, guess, jnp.repeat(guess, strongs.shape[1], 0)]), alpha)
    turns = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(turn_key, i), (), 0, 4))(batch['index'])
    turned = jnp.take_along_axis(rotations(strongs[:, 0]), turns[:, None, None, None, None], 1)[:, 0]
    together = [mixed[:len(label)], mixed[len(label):], strongs[:, 0], turned]
    *h, h_turned = split_like(student.backbone(jnp.concatenate(together), train=True, key=key), together)
    labeled, unlabeled, anchored = (student.head(x) for x in h)
    value, metrics = remixmatch_loss(
      labeled, targets[:len(label)], unlabeled=unlabeled, mixed_guess=targets[len(label):], anchored=anchored,
      guess=guess, turned=student.rotation(h_turned), turns=turns, unlabeled_weight=ramp(step) * unlabeled_weight,
      anchor_weight=ramp(step) * anchor_weight, rotation_weight=rotation_weight)
    return value, metrics, means._asdict()

  return method({'image_strong': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strongs': 'u v h w c', 'index': 'u'},
                modules, loss, ema=Average(ema_momentum), encode='ema', predict=probabilities, memory=start,
                couples_batch=True)


def remixmatch_loss(labeled, target, *, unlabeled, mixed_guess, anchored, guess, turned, turns, unlabeled_weight,
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
  supervised, consistency, anchor = (jnp.mean(losses.soft_cross_entropy(p, x)) for p, x in (
    (target, labeled), (mixed_guess, unlabeled), (guess, anchored)))
  rotation = jnp.mean(losses.cross_entropy(turned, turns))
  value, metrics = combined(supervised, consistency, unlabeled_weight=unlabeled_weight, anchored=anchor,
                            rotation=rotation)
  return value + anchor_weight * anchor + rotation_weight * rotation, metrics
