"""Mean teachers are better role models: consistency with a moving average of the weights (pseudo-label)."""
from collections.abc import Callable

import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify, sigmoid_ramp


def mean_teacher(backbone: Callable, *, classes: Count, unlabeled_weight: NonNegative, ramp_steps: Natural,
                 momentum_start: Decay, momentum: Decay) -> Objective:
  """The student predicts for one view of an unlabeled image what its moving average predicts for another.

  arXiv:1703.01780v6, section 2. The paper's views are two of the same kind: `views` of FixMatch with operations=0 and
  cutout_share=0. The teacher, which encode and predict use, has the batch statistics of its own passes, as in the
  authors' code (CuriousAI/mean-teacher, pytorch/main.py: `update_ema_variables` moves the parameters alone), which hold
  the labeled images too.
  Deviations: consistency on the unlabeled images only (the authors' code: on all), no noise, dropout or second output.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    unlabeled_weight: of the consistency, after the ramp; the mean over classes of squares is small: 100 times the
      share of labeled examples in the authors' code.
    ramp_steps: over which the weight grows as exp(-5 (1 - step / ramp_steps)^2); 40,000 in the authors' code.
    momentum_start, momentum: alpha during and after the ramp; 0.99 and 0.999 in the paper.
  """
  net = classifier(backbone, classes)
  ramp = sigmoid_ramp(unlabeled_weight, ramp_steps)

  def loss(params, memory, batch, key, step):
    (labeled, student), statistics = classify(net, params, memory['statistics'], [batch['image'], batch['strong']], key)
    (_, teacher), own = classify(net, memory['ema'], memory['ema_statistics'], [batch['image'], batch['weak']])
    weight = ramp(step)
    value, metrics = losses.mean_teacher(labeled, batch['label'], student, teacher, weight)
    return value, ({'statistics': statistics, 'ema_statistics': own}, metrics | {'unlabeled_weight': weight})

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **averaged(net, lambda step: jnp.where(step < ramp_steps, momentum_start, momentum), 'own'))
