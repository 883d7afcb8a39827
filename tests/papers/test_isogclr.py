"""iSogCLR as a whole against its twin: arXiv:2305.11965v1, section 4, algorithm 1; unimodal_exps/losses.py."""
import numpy as np

from pretrain.objectives.isogclr import isogclr
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, EXAMPLES, LOWEST, HIGHEST, RATE, GRADIENT_RATE, RHO, AVERAGE_RATE = 5, 8, 0.3, 0.9, 0.11, 0.6, 0.4, 0.8


def batch(rng):
  index = rng.permutation(EXAMPLES)[:B]
  index[3] = index[0]  # one is there twice
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1)), 'index': index}


def started(rng, memory):
  average = rng.uniform(0.5, 2, size=EXAMPLES)
  average[::2], average[1] = 0., 400.
  temperature = np.array([0.31, 0.33, 0.87, 0.5, 0.7, 0.85, 0.35, 0.89])  # some near either end, and going there
  return memory | {'average': average, 'temperature': temperature,
                   'velocity': np.array([3, 2, -3, 1, 0.5, -1, 1.5, -2])}


def twin(params, stopped, memory, batch, draws, step):
  statistics = copied(memory['statistics'])
  assert layout(params['projector'], statistics['projector']) == [(6, 8, 'norm gain offset'), (8, 5, '')]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise)).reshape(B, 2, 5)
  fixed = unit(projected(stopped, copied(memory['statistics']), both, True, noise)).reshape(B, 2, 5)
  index, new = batch['index'], {key: np.array(memory[key]) for key in ('average', 'temperature', 'velocity')}
  tau = memory['temperature'][index]
  loss, clipped, ends, fresh = 0., 0, set(), 0
  for i in range(B):
    old = memory['average'][index[i]]
    fresh += old == 0
    averages, slopes = [], []
    for view in (0, 1):

      def over_negatives(z, i=i, view=view):
        return [z[i, view] @ z[j, other] - z[i, view] @ z[i, 1 - view] for j in range(B) if j != i for other in (0, 1)]

      h = over_negatives(fixed)
      g = np.mean([np.exp(x / tau[i]) for x in h])
      s = (1 - AVERAGE_RATE) * old + AVERAGE_RATE * g if old else g
      # the value is tau (log s + rho), its gradient the estimate tau / s grad g
      moved = np.mean([np.exp(x / tau[i]) for x in over_negatives(z)])
      loss += (tau[i] * (np.log(s) + RHO) + tau[i] / s * (moved - g)) / (2 * B)
      averages.append(s)
      slopes.append(np.log(s) + RHO - np.mean([np.exp(x / tau[i]) * x / tau[i] for x in h]) / s)
    gradient = np.mean(slopes)
    clipped += abs(gradient) > 3
    velocity = (1 - GRADIENT_RATE) * memory['velocity'][index[i]] + GRADIENT_RATE * np.clip(gradient, -3, 3)
    there = tau[i] - RATE * velocity
    ends.add('low' if there < LOWEST else 'high' if there > HIGHEST else 'between')
    new['average'][index[i]], new['velocity'][index[i]] = np.mean(averages), velocity
    new['temperature'][index[i]] = np.clip(there, LOWEST, HIGHEST)
  if step == 0:
    assert 0 < clipped < B and len(ends) == 3 and 0 < fresh < B, (clipped, ends, fresh)
  return loss, {'temperature': np.mean(tau)}, lambda params: (params, {'statistics': statistics, **new})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.1, temperature_range=(0.05, 1.), temperature_rate=0.03,
                       gradient_rate=0.5, rho=0.4, average_rate=0.8),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    isogclr(tiny(), hidden=(8,), dim=5, temperature=0.5, temperature_range=(LOWEST, HIGHEST), temperature_rate=RATE,
            gradient_rate=GRADIENT_RATE, rho=RHO, average_rate=AVERAGE_RATE, examples=EXAMPLES), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=started,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}, 'index': {'loss', 'temperature'}})


def test_its_twin():
  check(TWIN)
