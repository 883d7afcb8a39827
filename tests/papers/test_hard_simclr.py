"""The hard contrastive loss as a whole against its twin: arXiv:2012.09740v2, eq. 9, upon SimCLR's network."""
import math

import numpy as np

from pretrain.objectives.hard_simclr import hard_simclr
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE, SHARE = 6, 0.6, 0.25  # 3 of 10 negatives


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise))
  loss = 0.
  for i in range(2 * B):
    other_view = i + 1 if i % 2 == 0 else i - 1
    positive = np.exp(z[i] @ z[other_view] / TEMPERATURE)
    negatives = sorted((z[i] @ z[k] for k in range(2 * B) if k not in (i, other_view)), reverse=True)
    hardest = negatives[:math.ceil(SHARE * len(negatives))]
    loss -= np.log(positive / (positive + sum(np.exp(s / TEMPERATURE) for s in hardest))) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2, share=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    hard_simclr(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, share=SHARE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)
