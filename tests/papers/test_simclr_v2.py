"""SimCLRv2 as a whole against its twin: arXiv:2006.10029v2, section 2 and appendix D (the memory), of MoCo's kind."""
import numpy as np

from pretrain.objectives.simclr_v2 import simclr_v2
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, averaged, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, TEMPERATURE, MOMENTUM = 4, 16, 0.3, 0.7  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def filled(rng, memory):
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5)))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # what enters the memory is the moving average's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 9, full), (9, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise))
  keys = unit(projected(memory['teacher'], teacher_statistics, both, True))
  loss = 0.
  for i in range(2 * B):
    other_view = i + 1 if i % 2 == 0 else i - 1
    total = sum(np.exp(z[i] @ z[k] / TEMPERATURE) for k in range(2 * B) if k != i)
    total += sum(np.exp(z[i] @ old / TEMPERATURE) for old in memory['queue'])
    loss -= np.log(np.exp(z[i] @ z[other_view] / TEMPERATURE) / total) / (2 * B)

  def after(params):
    queue = np.array(memory['queue'])
    for i in range(B):  # the oldest batch's are replaced; here by those of all first views, then of all second ones
      for v in (0, 1):
        queue[(step * 2 * B + v * B + i) % QUEUE] = keys[2 * i + v]
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'queue': queue,
                    'teacher': averaged(memory['teacher'], params, MOMENTUM)}

  return loss, {}, after


CASE = cases.Case(dict(hidden=(64, 64), dim=16, temperature=0.2, momentum=0.9, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    simclr_v2(tiny(), hidden=(8, 9), dim=5, temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)
