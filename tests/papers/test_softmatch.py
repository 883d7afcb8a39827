"""SoftMatch as a whole against its twin: arXiv:2301.10921v2, eq. 4 to 9; microsoft/Semi-supervised-learning,
semilearn/algorithms/softmatch and hooks/dist_align.py.
"""
import jax
import numpy as np

from pretrain.objectives.softmatch import softmatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Run, Twin, check, close, copied, numpy_tree, same, tiny

B, U, K = 4, 6, 3
MOMENTUM, SIGMAS, WEIGHT, EMA = 0.8, 1.5, 0.7, 0.6


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
  probability, first = sum(weak) / U, not memory['probability'].any()
  if not first:
    probability = MOMENTUM * memory['probability'] + (1 - MOMENTUM) * probability
  confidences = []
  for q in weak:
    aligned = q * (1 / K + 1e-6) / (probability + 1e-6)
    confidences.append((aligned / aligned.sum()).max())
  center = sum(confidences) / U
  spread = sum((x - center) ** 2 for x in confidences) / (U - 1)
  mean = MOMENTUM * memory['mean'] + (1 - MOMENTUM) * center
  variance = MOMENTUM * memory['variance'] + (1 - MOMENTUM) * spread
  weights = []
  for i in range(U):
    weights.append(np.exp(-(min(confidences[i] - mean, 0.) ** 2) / (2 * variance / SIGMAS ** 2)))
    consistency -= weights[i] * log_softmax(made[B + U + i])[weak[i].argmax()] / U
  assert first or 0 < sum(w == 1 for w in weights) < U, weights

  def after(params):
    return params, {'statistics': statistics, 'mean': mean, 'variance': variance, 'probability': probability,
                    'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency, {
      'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(weights) / U, 'confidence_mean': mean,
      'confidence_variance': variance}, after


CASE = cases.Case(dict(classes=cases.CLASSES, momentum=0.01, sigmas=30., unlabeled_weight=1., ema_momentum=0.9),
                  cases.either(fixmatch_views()), cases.streams)
TWIN = Twin(
    softmatch(tiny(width=5, hidden=9), classes=K, momentum=MOMENTUM, sigmas=SIGMAS,
              unlabeled_weight=WEIGHT, ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    memory=lambda rng, memory: memory | {'mean': 0.7, 'variance': 0.1, 'probability': rng.dirichlet(np.ones(K))},
    moves={'label': {'loss', 'supervised'}} | {key: {
        'loss', 'supervised', 'consistency', 'use_ratio', 'confidence_mean', 'confidence_variance'}
        for key in ('image', 'weak', 'strong')})


def test_its_twin():
  check(TWIN)


def test_first_batch():
  run = Run(TWIN._replace(memory=None))  # the mean prediction is that of this batch
  batch = run.batch()
  (loss, (carry, _)), _ = run.gradient(run.params, run.memory, batch, jax.random.key(0), 0)
  params, memory = map(numpy_tree, (run.params, run.memory))
  wanted, _, after = twin(params, params, memory, numpy_tree(batch), run.draws.taken(), 0)
  close(loss, wanted, 'loss')
  params, memory = map(numpy_tree, run.update(run.params, run.memory, carry, 0))
  same(memory, after(params)[1], 'memory')
