"""SimSiam as a whole against its twin: arXiv:2011.10566v1, section 3, eq. 1 to 4, algorithm 1; section 4.1."""
import math

from pretrain.objectives.simsiam import simsiam
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, mlp, projected, unit
from tests.twin import Twin, check, copied, tiny

B, DIM = 5, 5


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del step
  statistics, unused = copied(memory['statistics']), copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, 'norm')]
  assert layout(params['predictor'], statistics['predictor']) == [(5, 9, full), (9, 5, 'bias')]
  views = [(batch['views'][:, v], noise) for v, (_, noise) in enumerate(draws)]
  z = [projected(params, statistics, x, True, noise) for x, noise in views]
  p = [mlp(params['predictor'], statistics['predictor'], x, True) for x in z]
  targets = [projected(stopped, unused, x, True, noise) for x, noise in views]

  def distance(p, z):
    return -sum(unit(p[i]) @ unit(z[i]) for i in range(B)) / B

  loss = distance(p[0], targets[1]) / 2 + distance(p[1], targets[0]) / 2
  spread = math.sqrt(DIM) * unit(z[0]).std(0).mean()
  return loss, {'spread': spread}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=3, predictor_hidden=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    simsiam(tiny(), hidden=(8,), dim=DIM, predictor_hidden=9), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss', 'spread'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)
