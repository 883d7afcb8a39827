"""ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring (consistency)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive
from pretrain.method.objective import Objective, flat
from pretrain.method.queue import enqueue
from pretrain.method.semi_supervised import averaged, divided, mix, rotations
from pretrain.method.teacher import linear
from pretrain.models.functional import functional
from pretrain.models.heads import Classifier


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    rotation=Classifier(f.width, 4, zero=False, rngs=rngs))

  net = functional(parts)
  ramp = linear(0., 1., ramp_steps)

  def own():
    uniform = jnp.full((window, classes), 1 / classes, jnp.float32)
    return {'labels': uniform, 'guesses': uniform}

  def loss(params, memory, batch, key, step):
    guess_key, turn_key, mix_key, key = jax.random.split(key, 4)
    weak, strongs = batch['weak'], batch['strongs']  # [u, h, w, c], [u, v, h, w, c]
    p, _ = net.apply(jax.lax.stop_gradient(params), memory['statistics'],
                     lambda m: jax.nn.softmax(m.head(m.backbone(weak, train=True, key=guess_key))))
    label = jax.nn.one_hot(batch['label'], classes)
    means = {name: enqueue(memory[name], jnp.mean(x, 0, keepdims=True), step)
             for name, x in (('labels', label), ('guesses', p))}
    guess = losses.sharpen(losses.align(p, *(jnp.mean(means[name], 0) for name in ('labels', 'guesses'))), temperature)

    images = [batch['image_strong'], weak, flat(strongs)]
    mixed, targets = mix(mix_key, jnp.concatenate(images),
                         jnp.concatenate([label, guess, jnp.repeat(guess, strongs.shape[1], 0)]), alpha)
    turns = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(turn_key, i), (), 0, 4))(batch['index'])
    turned = jnp.take_along_axis(rotations(strongs[:, 0]), turns[:, None, None, None, None], 1)[:, 0]
    together = [mixed[:len(label)], mixed[len(label):], strongs[:, 0], turned]

    def forward(m):
      h = divided(m.backbone(jnp.concatenate(together), train=True, key=key), together)
      return [m.head(x) for x in h[:3]], m.rotation(h[3])

    ((labeled, unlabeled, anchored), rotation), statistics = net.apply(params, memory['statistics'], forward)
    value, metrics = losses.remixmatch(
      labeled, targets[:len(label)], unlabeled, targets[len(label):], anchored, guess, rotation, turns,
      ramp(step) * unlabeled_weight, ramp(step) * anchor_weight, rotation_weight)
    return value, (means | {'statistics': statistics}, metrics)

  return Objective({'image_strong': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strongs': 'u v h w c', 'index': 'u'},
                   loss=loss, **averaged(net, lambda _: ema_momentum, 'shared', own=own, couples_batch=True))
