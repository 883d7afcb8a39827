"""FlexMatch as a whole against its twin: arXiv:2110.08263v3, algorithm 1, eq. 5 to 9;
microsoft/Semi-supervised-learning, semilearn/algorithms/flexmatch/utils.py. Rows 1
and 2 of each batch are the same example, and so are rows 4 and 5: the last that is sure stays.
"""
import numpy as np

from pretrain.objectives.flexmatch import flexmatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
EXAMPLES, THRESHOLD, WEIGHT, EMA = 10, 0.7, 0.7, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B), 'index': rng.permutation(EXAMPLES)[[0, 1, 1, 2, 3, 3]]}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  counts, unused = [0] * K, 0
  for status in memory['selected']:
    if status == -1:
      unused += 1
    else:
      counts[status] += 1
  assert (unused > max(counts)) == (step == 0), 'both cases of eq. 9 come'
  thresholds = []
  for c in range(K):
    beta = counts[c] / max(*counts, unused)
    thresholds.append(beta / (2 - beta) * THRESHOLD)
  used, sure, selected = [], [], memory['selected'].copy()
  for i in range(U):
    q = softmax(weak[i])
    used.append(q.max() >= thresholds[q.argmax()])
    if used[-1]:
      consistency -= log_softmax(made[B + U + i])[q.argmax()] / U
    sure.append(q.max() >= THRESHOLD)
    if sure[-1]:
      selected[batch['index'][i]] = q.argmax()
  assert step == 0 or sum(used) < U, used
  assert (sure[1], sure[2]) == ((False, True), (True, False), (True, True))[step], 'who is sure of the same example'

  def after(params):
    return params, {'statistics': statistics, 'selected': selected, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency, {
      'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(used) / U,
      'mean_threshold': sum(thresholds) / K}, after


CASE = cases.Case(dict(classes=cases.CLASSES, threshold=0.3, unlabeled_weight=1., ema_momentum=0.9),
                  cases.either(fixmatch_views()), cases.streams)
TWIN = Twin(
    flexmatch(tiny(width=5, hidden=9), classes=K, threshold=THRESHOLD, unlabeled_weight=WEIGHT,
              ema_momentum=EMA, examples=EXAMPLES), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    memory=lambda _, memory: memory | {'selected': np.array([-1, 1, -1, 0, 1, 2, -1, 1, -1, -1])},
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'}, 'index': set(),
           'strong': {'loss', 'supervised', 'consistency'}, 'weak': {'loss', 'supervised', 'consistency'}})


def test_its_twin():
  check(TWIN)
