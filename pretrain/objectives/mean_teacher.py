"""Mean teachers are better role models: consistency with a moving average of the weights (pseudo-label)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative
from pretrain.losses.semi_supervised import probabilities_of, total
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import sigmoid_ramp
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Mean teachers are better role models: Weight-averaged consistency targets improve '
                   'semi-supervised deep learning results',
             arxiv='1703.01780v6', family='consistency', modality='image')


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
  weight = sigmoid_ramp(unlabeled_weight, ramp_steps)
  alpha = lambda step: jnp.where(step < ramp_steps, momentum_start, momentum)

  def loss(student, teacher, batch, key, step):
    labeled, strong = classify(student, [batch['image'], batch['strong']], key)
    _, weak = classify(teacher, [batch['image'], batch['weak']])
    value, metrics = mean_teacher_loss(labeled, batch['label'], student=strong, teacher=weak,
                                       unlabeled_weight=weight(step))
    return value, metrics | {'unlabeled_weight': weight(step)}

  return method(BATCH, classifier(backbone, classes), loss, teacher=Average(alpha, 'own'), encode='teacher',
                predict=probabilities)


def mean_teacher_loss(labeled, label, *, student, teacher, unlabeled_weight):
  """Supervised cross-entropy plus the squared difference of the student's and the teacher's probabilities.

  arXiv:1703.01780v6, section 2, the consistency cost J; divided by the number of classes, as in the authors' code.

  Args:
    labeled, label: [b, k] logits of the student, int[b].
    student, teacher: [u, k] logits of two views of the unlabeled examples; no gradient to the teacher's.
    unlabeled_weight: of this step, >= 0.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  losses.same_shape('mean_teacher', student=student.shape, teacher=teacher.shape)
  difference = jax.nn.softmax(student.astype(jnp.float32)) - probabilities_of(teacher)
  return total(labeled, label, consistency=jnp.mean(jnp.square(difference)), unlabeled_weight=unlabeled_weight)
