"""ShrinkMatch: Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning (pseudo-label)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Share
from pretrain.losses.semi_supervised import softly_weighted
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, aligned, probabilities, split_like
from pretrain.models.heads import MLP, Classifier

PAPER = dict(title='Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning',
             arxiv='2308.06777v1', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  window: Any  # f32[window, k], mean predictions of the last batches
  certain: Any  # f32[], running share of certain examples


def shrinkmatch(backbone: Callable, *, classes: Count, hidden: tuple[Count, ...], threshold: Share, momentum: Decay,
                window: Natural, unlabeled_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """FixMatch; an uncertain example learns its first class against those that are left when its rivals are removed.

  arXiv:2308.06777v1, section 3; the auxiliary head, its batch normalisation and the alignment as in the authors' code,
  from which the shrunk loss goes on into the backbone. Evaluation is with the batch statistics of training, which that
  code copies to the average (LiheYoung/ShrinkMatch, CIFAR/network/shrinkmatch.py).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k; nothing can be removed of less than three.
    hidden: widths of the auxiliary head; twice a quarter of the features in the authors' code.
    threshold: tau in [0, 1]; 0.95 in the paper.
    momentum: of the running share of certain examples; 0.999 in the authors' code.
    window: over how many batches predictions are averaged to align them, 0 is without; 32 for CIFAR in the authors'
      code.
    unlabeled_weight: of both losses; 1 in the authors' code.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    auxiliary=MLP(f.width, tuple(hidden), classes, batch_norm=True, dtype=f.dtype, rngs=rngs,
                                  activation=lambda x: jax.nn.leaky_relu(x, 0.1)))

  def loss(student, memory, batch, key, step):
    images = [batch['image'], batch['weak'], batch['strong']]
    h = student.backbone(jnp.concatenate(images), train=True, key=key)
    labeled, weak, strong = split_like(student.head(h), images)
    auxiliary = student.auxiliary(split_like(h, images)[2], train=True)
    p, means = aligned(jax.lax.stop_gradient(jax.nn.softmax(weak)), memory.window, step)
    now = jnp.mean((p.max(-1) >= threshold).astype(jnp.float32))
    certain = jnp.where(step == 0, now, momentum * memory.certain + (1 - momentum) * now)
    value, metrics = shrinkmatch_loss(labeled, batch['label'], probabilities=p, strong=strong, auxiliary=auxiliary,
                                      threshold=threshold, certain=certain, unlabeled_weight=unlabeled_weight)
    return value, metrics | {'certain': certain}, {'window': means, 'certain': certain}

  return method(BATCH, modules, loss, ema=Average(ema_momentum), encode='ema', predict=probabilities,
                memory=lambda _: Memory(jnp.zeros((window, classes)), jnp.float32(0)), couples_batch=True)


def shrinkmatch_loss(labeled, label, *, probabilities, strong, auxiliary, threshold, certain, unlabeled_weight):
  """FixMatch, and for uncertain examples the first class against those that stay in a shrunk space of classes.

  arXiv:2308.06777v1, section 3: eq. 1 to 7. Targets of certain examples are soft, as in the authors' code.

  Args:
    labeled, label: [b, k] logits, int[b].
    probabilities: f32[u, k] of the weak view, aligned or not; no gradient flows back.
    strong, auxiliary: [u, k] logits of the strong view by the two heads.
    threshold: tau in [0, 1].
    certain: f32[], the running share of certain examples, a weight of the shrunk loss.
    unlabeled_weight: of both, >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio'}.
  """
  losses.same_shape('shrinkmatch', probabilities=probabilities.shape, strong=strong.shape, auxiliary=auxiliary.shape)
  p = jax.lax.stop_gradient(probabilities)
  use = p.max(-1) >= threshold
  kept, reached = shrunk_space(p, threshold)
  reached &= ~use
  each = losses.cross_entropy(jnp.where(kept, auxiliary.astype(jnp.float32), -jnp.inf), p.argmax(-1))
  shrunk = certain * jnp.mean(jnp.where(reached, p.max(-1) * each, 0.))
  value, metrics = softly_weighted(labeled, label, strong=strong, target=p, weight=use,
                                   unlabeled_weight=unlabeled_weight)
  terms = {'shrunk': shrunk, 'shrunk_ratio': jnp.mean(reached.astype(jnp.float32))}
  return value + unlabeled_weight * shrunk, metrics | terms


def shrunk_space(probabilities, threshold):
  """The classes that stay when the most probable ones after the first go, as few as make the first one confident.

  arXiv:2308.06777v1, section 3.2; at least one class goes and one other stays, as in the authors' code.

  Args:
    probabilities: f32[u, k].
    threshold: tau in [0, 1], for p_first / (p_first + those that stay).
  Returns:
    kept bool[u, k], and reached bool[u]: whether that makes it confident.
  """
  order = jnp.argsort(-probabilities, axis=-1)
  ranked = jnp.take_along_axis(probabilities, order, -1)
  stay = jnp.cumsum(ranked[:, ::-1], -1)[:, ::-1]  # [u, k]: the sum from a rank on
  enough = (ranked[:, :1] / (ranked[:, :1] + stay) >= threshold).at[:, :2].set(False)
  rank = jnp.argsort(order, axis=-1)
  return (rank == 0) | (rank >= jnp.argmax(enough, -1)[:, None]), jnp.any(enough, -1)
