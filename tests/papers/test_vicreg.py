"""VICReg as a whole against its twin: arXiv:2105.04906v3, section 4, eq. 1 to 6; the means of main_vicreg.py."""
import jax
import numpy as np

from pretrain.objectives.vicreg import vicreg
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, mlp
from tests.twin import Twin, check, copied, tiny

B, DIM, INVARIANCE, VARIANCE, COVARIANCE = 5, 4, 0.7, 0.5, 0.3


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['expander'], statistics['expander']) == [(6, 8, 'norm gain offset'), (8, DIM, '')]
  z = []
  for v, (_, noise) in enumerate(draws):
    h = Tiny(params['backbone'], statistics['backbone'])(batch['views'][:, v], True, noise)
    z.append(mlp(params['expander'], statistics['expander'], h, True))
  same = sum((z[0][i, j] - z[1][i, j]) ** 2 for i in range(B) for j in range(DIM)) / (B * DIM)
  hinges, decorrelated = [], 0.
  for x in z:
    for i in range(DIM):
      for j in range(DIM):
        c = sum((x[:, i] - x[:, i].mean()) * (x[:, j] - x[:, j].mean())) / (B - 1)
        if i == j:
          hinges.append(max(0., 1 - np.sqrt(c + 1e-4)))
        else:
          decorrelated += c ** 2 / DIM
  assert 0 < sum(hinge == 0 for hinge in hinges) < len(hinges)
  varied = sum(hinges) / (2 * DIM)
  return (INVARIANCE * same + VARIANCE * varied + COVARIANCE * decorrelated,
          {'invariance': same, 'variance': varied, 'covariance': decorrelated},
          lambda params: (params, {'statistics': statistics}))


MADE = vicreg(tiny(), hidden=(8,), dim=DIM, invariance=INVARIANCE, variance=VARIANCE, covariance=COVARIANCE)


def wide(key):
  """Parameters with which some features vary enough, others do not."""
  params, memory = MADE.init(key)
  expander = jax.tree.map(lambda x: x * 2 if x.shape == (8, DIM) else x, params['expander'])
  return params | {'expander': expander}, memory


EVERY = {'loss', 'invariance', 'variance', 'covariance'}
CASE = cases.Case(dict(hidden=(64,), dim=16, invariance=0.5, variance=0.5, covariance=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    MADE._replace(init=wide), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), moves={'views/0': EVERY, 'views/1': EVERY})


def test_its_twin():
  check(TWIN)
