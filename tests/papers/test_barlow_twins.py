"""Barlow Twins as a whole against its twin: arXiv:2103.03230v3, section 2.1, eq. 1 and 2; main.py of the authors."""
import numpy as np

from pretrain.objectives.barlow_twins import barlow_twins
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, projected
from tests.twin import Twin, check, copied, tiny

B, DIM, WEIGHT, SCALE = 5, 4, 0.3, 0.7


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['projector'], statistics['projector']) == [(6, 8, 'norm gain offset'), (8, DIM, '')]
  a, b = (projected(params, statistics, batch['views'][:, v], True, noise) for v, (_, noise) in enumerate(draws))
  loss = 0.
  for i in range(DIM):
    for j in range(DIM):
      x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
      # the authors' BatchNorm adds 1e-5 to each variance
      c = sum(x * y) / B / np.sqrt(sum(x ** 2) / B + 1e-5) / np.sqrt(sum(y ** 2) / B + 1e-5)
      loss += SCALE * ((1 - c) ** 2 if i == j else WEIGHT * c ** 2)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, weight=0.01),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    barlow_twins(tiny(), hidden=(8,), dim=DIM, weight=WEIGHT, scale=SCALE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)
