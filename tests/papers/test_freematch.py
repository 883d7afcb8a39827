"""FreeMatch as a whole against its twin: arXiv:2205.07246v3, eq. 4 to 12; microsoft/Semi-supervised-learning,
semilearn/algorithms/freematch.
"""
import numpy as np

from pretrain.objectives.freematch import freematch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
MOMENTUM, WEIGHT, FAIRNESS, EMA = 0.8, 0.7, 0.3, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = softmax(one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U])
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  confidence, mean, counts = 0., np.zeros(K), np.zeros(K)
  for q in weak:
    confidence += q.max() / U
    mean += q / U
    counts[q.argmax()] += 1 / U
  threshold = MOMENTUM * memory['threshold'] + (1 - MOMENTUM) * confidence
  probability = MOMENTUM * memory['probability'] + (1 - MOMENTUM) * mean
  histogram = MOMENTUM * memory['histogram'] + (1 - MOMENTUM) * counts
  used, mean, counts = [], np.zeros(K), np.zeros(K)
  for i in range(U):
    c = weak[i].argmax()
    used.append(weak[i].max() >= probability[c] / probability.max() * threshold)
    if used[-1]:
      strong = made[B + U + i]
      consistency -= log_softmax(strong)[c] / U
      mean = mean + softmax(strong) / U
      counts[strong.argmax()] += 1
  assert 0 < sum(used) < U, used
  wanted = probability / histogram
  had = np.array([mean[c] / counts[c] if counts[c] else 0. * mean[c] for c in range(K)])
  fairness = 0.
  for c in range(K):
    fairness += wanted[c] / wanted.sum() * np.log(had[c] / had.sum() + 1e-12)

  def after(params):
    return params, {'statistics': statistics, 'threshold': threshold, 'probability': probability,
                    'histogram': histogram, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency + FAIRNESS * fairness, {
      'supervised': supervised, 'consistency': consistency, 'fairness': fairness, 'threshold': threshold,
      'use_ratio': sum(used) / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, momentum=0.9, unlabeled_weight=1., fairness_weight=0.5, ema_momentum=0.9),
                  cases.either(fixmatch_views()), cases.streams)
TWIN = Twin(
    freematch(tiny(width=5, hidden=9), classes=K, momentum=MOMENTUM, unlabeled_weight=WEIGHT,
              fairness_weight=FAIRNESS, ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    memory=lambda rng, memory: memory | {'threshold': 0.85, 'probability': rng.dirichlet(np.full(K, 5.)),
                                         'histogram': rng.dirichlet(np.full(K, 5.))},
    moves={'label': {'loss', 'supervised'},
           'weak': {'loss', 'supervised', 'consistency', 'fairness', 'threshold', 'use_ratio'}} | {
               key: {'loss', 'supervised', 'consistency', 'fairness', 'threshold'} for key in ('image', 'strong')})


def test_its_twin():
  check(TWIN)
