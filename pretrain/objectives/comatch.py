"""CoMatch: Semi-supervised Learning with Contrastive Graph Regularization (pseudo-label, contrastive)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive, Share
from pretrain.losses.semi_supervised import softly_weighted
from pretrain.method.memory import Average, enqueue
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import aligned, probabilities, split_like
from pretrain.models.heads import MLP, Classifier

PAPER = dict(title='CoMatch: Semi-supervised Learning with Contrastive Graph Regularization',
             arxiv='2011.11183v2', family='pseudo-labels', modality='image')


class Memory(NamedTuple):
  window: Any  # f32[window, k], mean predictions of the last batches
  z: Any  # f32[queue, dim], embeddings
  p: Any  # f32[queue, k], their probabilities


def comatch(backbone: Callable, *, classes: Count, hidden: tuple[Count, ...], dim: Count, threshold: Share,
            edge_threshold: Share, temperature: Positive, smoothing: Share, queue: Count, window: Natural,
            unlabeled_weight: NonNegative, contrast_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """Pseudo-labels smoothed by their neighbours in a memory of embeddings; embeddings that follow their graph.

  arXiv:2011.11183v2, section 3.2, algorithm 1. `views` of FixMatch with strongs=2. The memory takes the embeddings and
  the probabilities (labels, for the labeled) of each batch and smooths from when it is full. Evaluation is with the
  batch statistics of training, which the authors' code copies to the average (salesforce/CoMatch, Train_CoMatch.py).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    hidden, dim: widths of the projector; (128,), 64 for WRN-28-2 in the authors' code.
    threshold: tau in [0, 1] of the pseudo-labels; 0.95 in the paper.
    edge_threshold: T in [0, 1] of the graph; 0.8 in the paper.
    temperature: t; 0.2 in the paper.
    smoothing: alpha in [0, 1], what the smoothed pseudo-labels keep of the prediction; 0.9 in the paper.
    queue: length of the memory, a multiple of the labeled and unlabeled batch together: 5 times it in the authors'
      code.
    window: over how many batches predictions are averaged to align them, 0 is without; 32 in the authors' code.
    unlabeled_weight, contrast_weight: lambda_cls, lambda_ctr; 1 and 1 for CIFAR-10.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  Raises:
    ValueError: when traced, a length of the queue that the batch does not divide.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs,
                                  activation=lambda x: jax.nn.leaky_relu(x, 0.1)))

  def loss(student, memory, batch, key, step):
    images = [batch['image'], batch['weak'], *jnp.unstack(batch['strongs'], axis=1)]
    h = student.backbone(jnp.concatenate(images), train=True, key=key)
    labeled, weak, strong, _ = split_like(student.head(h), images)
    z_labeled, z, first, second = split_like(student.projector(h, train=True), images)
    aligned_p, means = aligned(jax.lax.stop_gradient(jax.nn.softmax(weak)), memory.window, step)
    new = jax.lax.stop_gradient({'z': losses.normalize(jnp.concatenate([z, z_labeled])),
                                 'p': jnp.concatenate([aligned_p, jax.nn.one_hot(batch['label'], classes)])})
    p = smoothed(aligned_p, jax.lax.stop_gradient(z), memory_z=memory.z, memory_probabilities=memory.p,
                 temperature=temperature, share=smoothing)
    p = jnp.where(step >= queue // len(new['z']), p, aligned_p)
    value, metrics = comatch_loss(labeled, batch['label'], probabilities=p, strong=strong, first=first, second=second,
                                  threshold=threshold, temperature=temperature, edge_threshold=edge_threshold,
                                  unlabeled_weight=unlabeled_weight, contrast_weight=contrast_weight)
    return value, metrics, {'window': means, 'new': new}

  def remember(memory, kept, step):
    new = kept['new']
    return Memory(kept['window'], enqueue(memory.z, new['z'], step), enqueue(memory.p, new['p'], step))

  return method({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strongs': 'u 2 h w c'}, modules, loss,
                ema=Average(ema_momentum), encode='ema', predict=probabilities,
                memory=lambda _: Memory(*map(jnp.zeros, ((window, classes), (queue, dim), (queue, classes)))),
                remember=remember, couples_batch=True, compares=True)


def comatch_loss(labeled, label, *, probabilities, strong, first, second, threshold, temperature, edge_threshold,
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
  losses.same_shape('comatch', probabilities=probabilities.shape, strong=strong.shape)
  losses.same_shape('comatch', first=first.shape, second=second.shape)
  p = jax.lax.stop_gradient(probabilities)
  edges = jnp.where(jnp.eye(len(p), dtype=bool), 1., p @ p.T)  # [u, u]
  edges = jnp.where(edges >= edge_threshold, edges, 0.)
  similarities = losses.normalize(first) @ losses.normalize(second).T / temperature
  contrast = jnp.mean(losses.soft_cross_entropy(edges / jnp.sum(edges, -1, keepdims=True), similarities))
  value, metrics = softly_weighted(labeled, label, strong=strong, target=p, weight=p.max(-1) >= threshold,
                                   unlabeled_weight=unlabeled_weight, contrast=contrast)
  return value + contrast_weight * contrast, metrics


def smoothed(probabilities, z, *, memory_z, memory_probabilities, temperature, share):
  """Pseudo-labels pulled to those of neighbours in a memory: arXiv:2011.11183v2, section 3.2, eq. 5 and 6.

  Args:
    probabilities, z: f32[u, k], [u, d] of any scale.
    memory_z, memory_probabilities: f32[q, d], f32[q, k].
    temperature: of the similarities.
    share: alpha in [0, 1], what stays of the prediction.
  Returns:
    f32[u, k].
  """
  near = jax.nn.softmax(losses.normalize(z) @ losses.normalize(memory_z).T / temperature)  # [u, q]
  return share * probabilities + (1 - share) * near @ memory_probabilities
