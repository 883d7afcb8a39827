"""Distillation as a whole against its twin: arXiv:2006.10029v2, eq. 2 with alpha = 1; 'js' of arXiv:2103.05959."""
import functools

import numpy as np

from pretrain.objectives.distill import distill
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.reference.networks import Tiny, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, K, TEMPERATURE = 8, 3, 0.6


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'probabilities': rng.dirichlet(np.ones(K), B),
          'weight': rng.uniform(0.2, 3., B)}


def twin(params, stopped, memory, batch, draws, step, divergence):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = classifier(params, statistics, batch['image'], True, noise)
  loss, agreed = 0., 0
  for i, probabilities in enumerate(batch['probabilities']):
    target = probabilities ** (1 / TEMPERATURE)
    target /= target.sum()
    logs = log_softmax(made[i] / TEMPERATURE)
    if divergence == 'js':
      middle = (target + np.exp(logs)) / 2
      each = target @ np.log(target / middle) / 2 + np.exp(logs) @ (logs - np.log(middle)) / 2
    else:
      each = -target @ logs
    loss += batch['weight'][i] * each / B
    agreed += made[i].argmax() == target.argmax()
  assert 0 < agreed < B
  return loss, {'agreement': agreed / B}, lambda params: (params, {'statistics': statistics})


def case(divergence):
  return Twin(
      distill(tiny(width=5, hidden=9), classes=K, temperature=TEMPERATURE, weighted=True, divergence=divergence), batch,
      functools.partial(twin, divergence=divergence),
      encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
      predict=lambda params, memory, x: softmax(classifier(params, memory['statistics'], x)),
      images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
      moves={'image': {'loss', 'agreement'}, 'probabilities': {'loss', 'agreement'}, 'weight': {'loss'}})


CASE = cases.Case(dict(classes=cases.CLASSES, temperature=0.5),
                  supervised_views(size=cases.SIZE, scale=(0.5, 1.), flip=0.5), cases.with_probabilities)
TWIN = case('cross_entropy')


def test_its_twin():
  check(TWIN)


def test_its_twin_of_js():
  check(case('js'))
