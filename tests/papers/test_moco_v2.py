"""MoCo v2 as a whole against its twin: arXiv:1911.05722v3, eq. 1 and 2, algorithm 1; arXiv:2003.04297v1, section 3."""
import numpy as np

from pretrain.objectives.moco_v2 import moco_v2
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, averaged, layout, mlp, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, TEMPERATURE, MOMENTUM = 4, 8, 0.3, 0.7  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def filled(rng, memory):
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5)))}


def project(p, statistics, images, train=False, noise=None):
  return mlp(p['projector'], {}, Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the keys are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  assert layout(params['projector']) == [(6, 8, 'bias'), (8, 5, 'bias')]
  assert statistics.keys() == {'backbone'}
  (_, noise), = draws
  q = unit(project(params, statistics, batch['views'][:, 0], True, noise))
  k = unit(project(memory['teacher'], teacher_statistics, batch['views'][:, 1], True))
  loss = 0.
  for i in range(B):
    positive = np.exp(q[i] @ k[i] / TEMPERATURE)
    negatives = sum(np.exp(q[i] @ old / TEMPERATURE) for old in memory['queue'])
    loss -= np.log(positive / (positive + negatives)) / B

  def after(params):
    queue = np.array(memory['queue'])
    for i in range(B):  # the keys of the oldest batch are replaced
      queue[(step * B + i) % QUEUE] = k[i]
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'queue': queue,
                    'teacher': averaged(memory['teacher'], params, MOMENTUM)}

  return loss, {}, after


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2, momentum=0.9, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    moco_v2(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: project(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)
