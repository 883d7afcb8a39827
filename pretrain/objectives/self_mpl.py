"""Self Meta Pseudo Labels: Meta Pseudo Labels Without The Teacher (pseudo-label, two updates a step)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Natural, NonNegative, Share
from pretrain.method.objective import Objective, keep, plain
from pretrain.method.semi_supervised import classifier, classify
from pretrain.method.teacher import linear


def self_mpl(backbone: Callable, *, classes: Count, rate: NonNegative, second_order: bool, threshold: Share,
             unlabeled_weight: NonNegative, ramp_steps: Natural) -> Objective:
  """One network labels images, takes a step on these labels, and then learns from how it does on the labeled ones.

  arXiv:2212.13420v1, algorithm 1: theta' = theta - rate * gradient of L_1, then the optimizer's step from theta' along
  the gradient of L_2. L_1 is the cross-entropy of the strong views with the pseudo-labels; L_2 the labeled loss at
  theta', UDA's consistency there, and the feedback.

  - second_order=False: the published approximation, hard pseudo-labels, whose cross-entropy at theta' in the weak
    views, where they are from, is weighted with how much the labeled loss fell (arXiv:2003.10580v4, section 3, where
    the first-order Taylor expansion of the gradient's dot product gives this; the authors' code of that paper has the
    other sign).
  - second_order=True: exact. Pseudo-labels are soft, and the losses at theta', labeled and UDA's, are differentiated
    through the step, in the labels and in where it starts.

  Deviations: the first step is plain gradient descent; no label smoothing and no fine-tuning. With rate=0 the labeled
  loss and UDA's are left. One set of parameters is kept, without a moving average.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    rate: eta_1, learning rate of the first step.
    second_order: see above.
    threshold: in [0, 1], of UDA's consistency.
    unlabeled_weight: of UDA's consistency after the ramp.
    ramp_steps: over which it grows linearly from 0.
  """
  net = classifier(backbone, classes)
  weight = linear(0., unlabeled_weight, ramp_steps)

  def loss(params, memory, batch, key, step):
    old = memory['statistics']
    keys = jax.random.split(key, 3)
    (before, weak), _ = classify(net, params, old, [batch['image'], batch['weak']], keys[0])
    soft = jax.nn.softmax(weak)
    hard = jax.nn.one_hot(weak.argmax(-1), classes)

    def first(params):
      (strong,), _ = classify(net, params, old, [batch['strong']], keys[1])
      return jnp.mean(losses.soft_cross_entropy(soft if second_order else hard, strong))

    change = jax.tree.map(lambda g: -rate * g, jax.grad(first)(params))
    if not second_order:
      change = jax.lax.stop_gradient(change)
    stepped = jax.tree.map(jnp.add, params, change)
    (labeled, weak, strong), statistics = classify(net, stepped, old, [batch['image'], batch['weak'], batch['strong']],
                                                   keys[2])
    value, metrics = losses.uda(labeled, batch['label'], weak, strong, threshold, 1., weight(step))
    fell = jnp.mean(losses.cross_entropy(before, batch['label'])) - metrics['supervised']
    if not second_order:
      value += jax.lax.stop_gradient(fell) * jnp.mean(losses.soft_cross_entropy(hard, weak))
    return value, ({'statistics': statistics, 'change': change}, metrics | {'fell': fell})

  def update(params, memory, carry, step):
    return keep(jax.tree.map(jnp.add, params, carry['change']), memory, {'statistics': carry['statistics']}, step)

  def predict(params, memory, images):
    return jax.nn.softmax(net.apply(params, memory['statistics'], lambda m: m.head(m.backbone(images)))[0])

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   predict=predict, **plain(net, couples_batch=True) | {'update': update})
