"""The Pi-model as a whole against its twin: arXiv:1610.02242v3, algorithm 1: both passes are differentiated."""
import numpy as np

from pretrain.objectives.pi_model import pi_model
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, classifier, log_softmax, of_average, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
WEIGHT, RAMP, EMA = 7., 3, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (
      ('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def logits(params, memory, batch, noise):
  statistics = copied(memory['statistics'])
  images = np.concatenate([batch[key] for key in ('image', 'weak', 'image_strong', 'strong')])
  return classifier(params, statistics, images, True, noise), statistics


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  (_, noise), = draws
  made, statistics = logits(params, memory, batch, noise)
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  for i in range(B + U):
    consistency += np.mean((softmax(made[i]) - softmax(made[B + U + i])) ** 2) / (B + U)
  weight = WEIGHT * np.exp(-5 * (1 - min(step / RAMP, 1)) ** 2)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + weight * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'unlabeled_weight': weight}, after


CASE = cases.Case(dict(classes=cases.CLASSES, unlabeled_weight=10., ramp_steps=2, ema_momentum=0.9),
                  fixmatch_views(operations=0, cutout_share=0., labeled_strong=True), cases.streams)
TWIN = Twin(
    pi_model(tiny(width=5, hidden=9), classes=K, unlabeled_weight=WEIGHT, ramp_steps=RAMP,
             ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(1, 2, 4), moves={'label': {'loss', 'supervised'}} | {
        key: {'loss', 'supervised', 'consistency'} for key in ('image', 'image_strong', 'weak', 'strong')})


def test_its_twin():
  check(TWIN)
