"""SupCon as a whole against its twin: arXiv:2004.11362v5, section 3.2.2, eq. 2; the mean over views of losses.py."""
import numpy as np

from pretrain.objectives.sup_con import sup_con
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, mlp, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE = 6, 0.3


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 1, 2, 2])}


def project(p, statistics, images, train=False, noise=None):
  return mlp(p['projector'], {}, Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['projector']) == [(6, 8, 'bias'), (8, 5, 'bias')]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  label = [batch['label'][i] for i in range(B) for _ in (0, 1)]
  (_, noise), = draws
  z = unit(project(params, statistics, both, True, noise))
  loss = 0.
  for i in range(2 * B):
    others = [a for a in range(2 * B) if a != i]
    total = sum(np.exp(z[i] @ z[a] / TEMPERATURE) for a in others)
    positives = [p for p in others if label[p] == label[i]]
    assert 0 < len(positives) < len(others)
    for p in positives:
      loss -= np.log(np.exp(z[i] @ z[p] / TEMPERATURE) / total) / len(positives) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    sup_con(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: project(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}, 'label': {'loss'}})


def test_its_twin():
  check(TWIN)
