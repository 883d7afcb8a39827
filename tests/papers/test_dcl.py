"""DCL as a whole against its twin: arXiv:2110.06848v3, section 3, L_DC and L_DCW."""
import numpy as np
import pytest

from pretrain.objectives.dcl import dcl
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE, SIGMA = 5, 0.3, 0.7


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step, sigma=SIGMA):
  del stopped, step
  statistics = copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise)).reshape(B, 2, 5)
  agree = [z[i, 0] @ z[i, 1] for i in range(B)]
  loss = 0.
  for i in range(B):
    # the weight is differentiated, too, as in the public code
    weight = 2 - np.exp(agree[i] / sigma) / np.mean([np.exp(s / sigma) for s in agree]) if sigma else 1
    for view in (0, 1):
      negatives = sum(np.exp(z[i, view] @ z[j, other] / TEMPERATURE) for j in range(B) if j != i for other in (0, 1))
      loss += (-weight * agree[i] / TEMPERATURE + np.log(negatives)) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2, sigma=0.5),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    dcl(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, sigma=SIGMA), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})
PLAIN = TWIN._replace(objective=dcl(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE),
                      twin=lambda params, **given: twin(params, sigma=None, **given))


@pytest.mark.parametrize('case', [TWIN, PLAIN], ids=['dcw', 'dc'])
def test_its_twin(case):
  check(case)
