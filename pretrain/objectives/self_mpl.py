"""Self Meta Pseudo Labels: Meta Pseudo Labels Without The Teacher (pseudo-label, two updates a step)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Natural, NonNegative, Share
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import linear
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Self Meta Pseudo Labels: Meta Pseudo Labels Without The Teacher',
             arxiv='2212.13420v1', family='pseudo-labels', modality='image')


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
  weight = linear(0., unlabeled_weight, ramp_steps)

  def loss(student, batch, key, step):
    keys = jax.random.split(key, 3)
    before, weak = classify(student.at(student.params), [batch['image'], batch['weak']], keys[0])
    soft = jax.nn.softmax(weak)
    hard = jax.nn.one_hot(weak.argmax(-1), classes)

    def first(params):
      strong, = classify(student.at(params), [batch['strong']], keys[1])
      return jnp.mean(losses.soft_cross_entropy(soft if second_order else hard, strong))

    change = jax.tree.map(lambda g: -rate * g, jax.grad(first)(student.params))
    if not second_order:
      change = jax.lax.stop_gradient(change)
    stepped = student.at(jax.tree.map(jnp.add, student.params, change))
    labeled, weak, strong = classify(stepped, [batch['image'], batch['weak'], batch['strong']], keys[2])
    value, metrics = losses.uda(labeled, batch['label'], weak=weak, strong=strong, threshold=threshold, temperature=1.,
                                unlabeled_weight=weight(step))
    fell = jnp.mean(losses.cross_entropy(before, batch['label'])) - metrics['supervised']
    if not second_order:
      value += jax.lax.stop_gradient(fell) * jnp.mean(losses.soft_cross_entropy(hard, weak))
    return value, metrics | {'fell': fell}, {'statistics': stepped.moved, 'change': change}

  return method(BATCH, classifier(backbone, classes), loss, predict=probabilities, couples_batch=True,
                after=lambda params, kept, _: jax.tree.map(jnp.add, params, kept['change']))
