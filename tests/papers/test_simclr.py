"""SimCLR as a whole against its twin: arXiv:2002.05709v3, section 2.1, eq. 1 and algorithm 1."""
from functools import partial

import numpy as np

from pretrain.objectives.simclr import simclr
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE = 5, 0.3


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])  # x_2k-1, x_2k
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise))

  def pair(i, j):
    others = sum(np.exp(z[i] @ z[k] / TEMPERATURE) for k in range(2 * B) if k != i)
    return -np.log(np.exp(z[i] @ z[j] / TEMPERATURE) / others)

  loss = sum(pair(2 * k, 2 * k + 1) + pair(2 * k + 1, 2 * k) for k in range(B)) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(simclr, tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=5)))
