"""Dash as a whole against its twin: arXiv:2109.00650v1, eq. 9 to 11, algorithm 1; selection and targets as in dash.py.

Steps 0 to 2 are the warm-up, of which the last two are averaged; targets are soft until the threshold has fallen.
"""
import numpy as np

from pretrain.objectives.dash import dash
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, MOMENTUM, WEIGHT, TEMPERATURE = 4, 6, 3, 0.8, 0.7, 0.6
CONSTANT, BASE, LOWEST, EVERY, WARMUP, ESTIMATE = 1.1, 2.1, 0.4, 2, 3, 2


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strong': rng.uniform(size=(U, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  images = np.concatenate([batch['image'], batch['weak'], batch['strong']])
  statistics = copied(memory['statistics'])
  logits = classifier(params, statistics, images, True, noise)
  weak = classifier(stopped, copied(memory['statistics']), images, True, noise)[B:B + U]
  labeled, strong = logits[:B], logits[B + U:]
  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])
  falls = max(step - WARMUP, 0) // EVERY
  threshold = CONSTANT * BASE ** -falls * memory['start']
  hard, threshold = threshold <= LOWEST, max(threshold, LOWEST)
  used, consistency = 0, 0.
  for i in range(U):
    guess = np.argmax(weak[i])
    if -log_softmax(weak[i])[guess] <= threshold:
      target = np.eye(CLASSES)[guess] if hard else softmax(weak[i] / TEMPERATURE)
      consistency -= target @ log_softmax(strong[i]) / U
      used += 1
  assert step < 5 or 0 < used < U
  assert hard == (step in (0, 1, 8))

  def after(params):
    start = memory['start'] + (supervised / ESTIMATE if WARMUP - ESTIMATE <= step < WARMUP else 0.)
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'start': start}

  return supervised + (0. if step < WARMUP else WEIGHT) * consistency, {
      'supervised': supervised, 'consistency': consistency, 'threshold': threshold, 'use_ratio': used / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, constant=1.0001, base=1.27, lowest=0.05, every_steps=1, warmup_steps=1,
                       estimate_steps=1, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9),
                  fixmatch_views(operations=0), cases.streams)
TWIN = Twin(
    dash(tiny(), classes=CLASSES, constant=CONSTANT, base=BASE, lowest=LOWEST, every_steps=EVERY, warmup_steps=WARMUP,
         estimate_steps=ESTIMATE, temperature=TEMPERATURE, unlabeled_weight=WEIGHT, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.}, steps=(0, 1, 2, 3, 4, 5, 8),
    moves={'label': {'loss', 'supervised'}, 'strong': {'loss', 'supervised', 'consistency', 'use_ratio'}})


def test_its_twin():
  check(TWIN)
