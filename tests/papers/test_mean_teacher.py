"""Mean Teacher as a whole against its twin: arXiv:1703.01780v6, section 2; CuriousAI/mean-teacher, pytorch/main.py."""
import numpy as np

from pretrain.objectives.mean_teacher import mean_teacher
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, classifier, log_softmax, of_average, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, RAMP, MOMENTUM_START, MOMENTUM = 7., 2, 0.6, 0.7


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch['image'], batch['strong']])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  teacher_statistics = copied(memory['teacher_statistics'])
  images = np.concatenate([batch['image'], batch['weak']])
  targets = softmax(classifier(memory['teacher'], teacher_statistics, images, True))[B:]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(U):
    consistency += np.mean((softmax(made[B + i]) - targets[i]) ** 2) / U
  weight = WEIGHT * np.exp(-5 * (1 - min(step / RAMP, 1)) ** 2)

  def after(params):
    alpha = MOMENTUM_START if step < RAMP else MOMENTUM
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics,
                    'teacher': averaged(memory['teacher'], params, alpha)}

  return supervised + weight * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'unlabeled_weight': weight}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=10., ramp_steps=2, momentum_start=0.8, momentum=0.9),
                  fixmatch_views(operations=0, cutout_share=0.), cases.streams)
TWIN = Twin(
    mean_teacher(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_steps=RAMP,
                 momentum_start=MOMENTUM_START, momentum=MOMENTUM), batch, twin,
    **of_average('teacher_statistics', 'teacher'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(0, 1, 2, 3),
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'strong': {'loss', 'supervised', 'consistency'}, 'weak': {'loss', 'consistency'}})


def test_its_twin():
  check(TWIN)
