"""Pseudo-Label as a whole against its twin: Lee 2013, the overall loss (eq. 15) and alpha(t) (eq. 16)."""
import numpy as np

from pretrain.objectives.pseudo_label import pseudo_label
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, classifier, log_softmax, of_average
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, START, END, EMA = 0.7, 1, 4, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch['image'], batch['weak']])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  guessed = logits(stopped, memory, batch, noise)[0]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(B, B + U):
    consistency -= log_softmax(made[i])[guessed[i].argmax()] / U
  alpha = 0. if step < START else WEIGHT if step >= END else WEIGHT * (step - START) / (END - START)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + alpha * consistency, {'supervised': supervised, 'consistency': consistency,
                                            'unlabeled_weight': alpha}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=3., ramp_start_step=0, ramp_end_step=2,
                       ema_momentum=0.9), fixmatch_views(), cases.streams)
TWIN = Twin(
    pseudo_label(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_start_step=START,
                 ramp_end_step=END, ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(0, 2, 3, 5),
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'weak': {'loss', 'supervised', 'consistency'}})


def test_its_twin():
  check(TWIN)
