"""UDA as a whole against its twin: arXiv:1904.12848v6, eq. 1 and section 2.4; google-research/uda, image/main.py.

As there, one pass holds labeled, original and augmented images: they share batch statistics.
"""
import numpy as np

from pretrain.objectives.uda import uda
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
THRESHOLD, TEMPERATURE, WEIGHT, EMA = 0.75, 0.5, 0.7, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  used = []
  for i in range(U):
    used.append(softmax(weak[i]).max() > THRESHOLD)
    if used[-1]:
      target, got = log_softmax(weak[i] / TEMPERATURE), log_softmax(made[B + U + i])
      consistency += np.exp(target) @ (target - got) / U
  assert 0 < sum(used) < U, used

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA),
                    'ema_statistics': averaged(memory['ema_statistics'], statistics, EMA)}

  return supervised + WEIGHT * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'use_ratio': sum(used) / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, threshold=0.26, temperature=0.4, unlabeled_weight=1., ema_momentum=0.9),
                  fixmatch_views(), cases.streams)
TWIN = Twin(
    uda(tiny(width=5, hidden=9), classes=K, threshold=THRESHOLD, temperature=TEMPERATURE,
        unlabeled_weight=WEIGHT, ema_momentum=EMA), batch, twin,
    **of_average('ema_statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'strong': {'loss', 'supervised', 'consistency', 'use_ratio'},
           'weak': {'loss', 'supervised', 'consistency', 'use_ratio'}})


def test_its_twin():
  check(TWIN)


def test_its_threshold_and_its_average():
  few.check_threshold(uda, temperature=0.4)
  few.check_average('uda', CASE, 'averaged')
