"""CoMatch: Semi-supervised Learning with Contrastive Graph Regularization (pseudo-label, contrastive)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive, Share
from pretrain.method.objective import Objective
from pretrain.method.queue import enqueue
from pretrain.method.semi_supervised import aligned, averaged, divided
from pretrain.models.functional import functional
from pretrain.models.heads import MLP, Classifier


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs),
                    projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs,
                                  activation=lambda x: jax.nn.leaky_relu(x, 0.1)))

  net = functional(parts)
  shared = averaged(net, lambda _: ema_momentum, 'shared', couples_batch=True, own=lambda: {
    'window': jnp.zeros((window, classes)), 'z': jnp.zeros((queue, dim)), 'p': jnp.zeros((queue, classes))})

  def loss(params, memory, batch, key, step):
    images = [batch['image'], batch['weak'], *jnp.unstack(batch['strongs'], axis=1)]

    def forward(m):
      h = m.backbone(jnp.concatenate(images), train=True, key=key)
      return m.head(h), m.projector(h, train=True)

    outputs, statistics = net.apply(params, memory['statistics'], forward)
    (labeled, weak, strong, _), (z_labeled, z, first, second) = (divided(x, images) for x in outputs)
    aligned_p, means = aligned(jax.lax.stop_gradient(jax.nn.softmax(weak)), memory['window'], step)
    new = jax.lax.stop_gradient({'z': losses.normalize(jnp.concatenate([z, z_labeled])), 'p': jnp.concatenate(
      [aligned_p, jax.nn.one_hot(batch['label'], classes)])})
    p = losses.smoothed(aligned_p, jax.lax.stop_gradient(z), memory['z'], memory['p'], temperature, smoothing)
    p = jnp.where(step * len(new['z']) >= queue, p, aligned_p)
    value, metrics = losses.comatch(labeled, batch['label'], p, strong, first, second, threshold, temperature,
                                    edge_threshold, unlabeled_weight, contrast_weight)
    return value, ({'statistics': statistics, 'window': means, 'new': new}, metrics)

  def update(params, memory, carry, step):
    queues = {name: enqueue(memory[name], rows, step) for name, rows in carry['new'].items()}
    kept = {name: carry[name] for name in ('statistics', 'window')}
    return shared['update'](params, memory, kept | queues, step)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strongs': 'u 2 h w c'}, loss=loss,
                   compares=True, **shared | {'update': update})
