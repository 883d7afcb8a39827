"""SoftMatch as a whole against its twin: arXiv:2301.10921v2, eq. 4 to 9; microsoft/Semi-supervised-learning,
semilearn/algorithms/softmatch and hooks/dist_align.py.

Its loss, its weights and its running means against their twins, by hand, and as limits.
"""
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.pseudo_label import pseudo_label_loss
from pretrain.objectives.softmatch import softmatch, softmatch_loss, softmatch_statistics, truncated_gaussian
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, assert_finite, check_loss, in_order, normal
from tests.reference import supervised as slow
from tests.reference.align import align
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


# --- The loss ------------------------------------------------------------------------------------------------------

def gaussian_twin(confidence, mean, variance, sigmas):
  """exp(-(confidence - mean)^2 / (2 variance / sigmas^2)) below the mean, 1 from it on.

  arXiv:2301.10921v2 section 3 with lambda_max = 1; sigmas is 1 in the paper and 2 in the authors' code.

  Args:
    confidence: [u].
    mean, variance, sigmas: floats; an infinite variance gives 1.

  Returns:
    float64 [u].
  """
  result = []
  for value in confidence:
    below = float(value) - float(mean)
    result.append(1.0 if below >= 0 else math.exp(-(below * sigmas) ** 2 / (2 * float(variance))))
  return np.array(result)


def uniform_confidence(weak, probability):
  """Largest of the probabilities aligned to the uniform distribution, arXiv:2301.10921v2 section 3 ('UA')."""
  k = len(probability)
  aligned = align([np.exp(slow.log_softmax(row)) for row in weak], [1 / k] * k, probability)
  return [max(row) for row in aligned]


def statistics_twin(weak, mean, variance, probability, momentum):
  """Running mean probabilities, and mean and unbiased variance of the aligned confidence, arXiv:2301.10921v2 section 3.

  Each is momentum old + (1 - momentum) of the batch, but the first probabilities are the batch's; the alignment takes
  the new probabilities, as the authors' code.

  Args:
    weak: [u, k] logits, u at least 2.
    mean, variance: floats.
    probability: [k], or k zeros before the first batch.
    momentum: float.

  Returns:
    {'mean': float, 'variance': float, 'probability': float64 [k]}.
  """
  u, k = weak.shape
  batch = [0.0] * k
  for row in weak:
    for c, log in enumerate(slow.log_softmax(row)):
      batch[c] += math.exp(log) / u
  if any(probability):
    batch = [momentum * float(probability[c]) + (1 - momentum) * batch[c] for c in range(k)]
  probability = np.array(batch)
  confidence = uniform_confidence(weak, probability)
  center = sum(confidence) / u
  spread = sum((value - center) ** 2 for value in confidence) / (u - 1)
  return {
    'mean': momentum * float(mean) + (1 - momentum) * center,
    'variance': momentum * float(variance) + (1 - momentum) * spread,
    'probability': probability,
  }


def loss_twin(labeled, label, weak, strong, mean, variance, probability, sigmas, unlabeled_weight):
  """L_s + unlabeled_weight L_u, arXiv:2301.10921v2 section 3: every pseudo-label counts by its weight.

  The weight is of the aligned probabilities, the pseudo-label of those before alignment.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    mean, variance: floats, of this batch already.
    probability: [k], of this batch already.
    sigmas: float.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio'}), floats; use_ratio is the mean weight.
  """
  supervised = slow.supervised_mean(labeled, label)
  weights = gaussian_twin(uniform_confidence(weak, probability), mean, variance, sigmas)
  consistency = 0.0
  for weight, weak_row, strong_row in zip(weights, weak, strong, strict=True):
    consistency += weight * -slow.log_softmax(strong_row)[slow.largest(weak_row)] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': sum(weights) / len(weights)}
  return supervised + unlabeled_weight * consistency, terms


jit_loss, weights_of, statistics_of = map(jax.jit, (softmatch_loss, truncated_gaussian, softmatch_statistics))
LOSS = Loss(jit_loss, loss_twin, [(*few.step(12, 2, 5, 3), 0.9, 0.05, few.distribution(12, 3), 2.0, 2.0),
                                  (*few.step(13, 3, 9, 4), 0.9, 0.03, few.distribution(13, 4), 1.0, 0.5)],
            moving=(0, 3), halves=(0, 2, 3), refused=[
                ((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.9, 0.1, few.THREE, 2.0, 1.0), ['(4, 3)', '(1, 3)']),
                ((few.LABELED, few.CLASSES, few.ONE, few.WEAK, 0.9, 0.1, few.THREE, 2.0, 1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(*x, weak=w, strong=s, mean=0.9, variance=0.1, probability=few.uniform(w), sigmas=2.0,
                                unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)
  large = (*few.large(), 0.9, 0.1, few.distribution(41, 3), 2.0, 1.0)
  assert_close(in_order(jit_loss)(*large)[0], loss_twin(*large)[0])


def test_truncated_gaussian_by_hand():
  confidence = np.array([0.2, 0.5, 0.6, 0.61, 0.9], np.float32)
  one, two = (weights_of(confidence, 0.6, variance=0.08, sigmas=sigmas) for sigmas in (1.0, 2.0))
  assert_close(one, [math.exp(-1), math.exp(-1 / 16), 1, 1, 1])
  assert_close(two, [math.exp(-4), math.exp(-1 / 4), 1, 1, 1])
  assert_close(weights_of(confidence, 0.6, variance=math.inf, sigmas=2.0), np.ones(5), rtol=0, atol=0)
  for variance in (1e-12, 0.0):  # a threshold; 0: of a batch with equal confidences
    assert_close(weights_of(confidence, 0.6, variance=variance, sigmas=1.0), [0, 0, 1, 1, 1], atol=0)
  wanted = gaussian_twin(confidence, 0.55, 0.01, 1.5)
  assert_close(weights_of(confidence, 0.55, variance=0.01, sigmas=1.5), wanted)


@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize(('u', 'k', 'momentum'), [(2, 3, 0.9), (6, 4, 0.999), (9, 2, 0.0)])
def test_softmatch_statistics_equal_twin(u, k, momentum, first):
  old = 0.4, 0.3, np.zeros(k, np.float32) if first else few.distribution(u, k)
  weak = normal(u, u, k, scale=2)
  of = in_order(statistics_of)
  result = of(weak, *old, momentum)
  wanted = statistics_twin(weak, *old, momentum)
  assert result.keys() == wanted.keys()
  for name in wanted:
    assert result[name].dtype == jnp.float32 and result[name].shape == np.shape(wanted[name])
    assert_close(result[name], wanted[name])
  gradient = jax.grad(lambda x: sum(jnp.sum(v) for v in of(x, *old, momentum).values()))(weak)
  assert np.all(np.asarray(gradient) == 0)


def test_softmatch_statistics_by_hand():
  weak = few.odds([3, 1], [1, 1])
  old = np.array([0.6, 0.4], np.float32)
  result = statistics_of(weak, 0.5, variance=1.0, probability=old, momentum=0.0)
  assert_close(result['probability'], [5 / 8, 3 / 8])
  # aligned by the new mean: 6/5 : 2/3 and 4/5 : 4/3
  assert_close(result['mean'], (9 / 14 + 5 / 8) / 2)
  assert_close(result['variance'], (9 / 14 - 5 / 8) ** 2 / 2, rtol=1e-3, atol=0)  # over u - 1 = 1
  slow = statistics_of(weak, 0.5, variance=1.0, probability=old, momentum=1.0)
  assert_close(slow['mean'], 0.5)
  assert_close(slow['variance'], 1)
  assert_close(slow['probability'], old)


def test_softmatch_by_hand():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = few.odds([6, 4], [9, 1], [1, 1]), few.odds([1, 3], [1, 4], [3, 2])
  probability = np.array([0.75, 0.25], np.float32)  # aligned 1/3 : 2/3, 3/4 : 1/4, 1/4 : 3/4
  loss, terms = jit_loss(labeled, label, weak=weak, strong=strong, mean=0.75, variance=1 / 288,
                         probability=probability, sigmas=2.0, unlabeled_weight=3.0)
  weight = math.exp(-4)  # (1/12)^2 4 / (2 / 288)
  assert_close(terms['use_ratio'], (weight + 2) / 3)
  consistency = (weight * math.log(4) + math.log(5) + math.log(5 / 3)) / 3  # class 0 for all: not aligned
  assert_close(terms['consistency'], consistency, rtol=1e-4)
  assert_close(loss, math.log(2) + 3 * consistency, rtol=1e-4)


def test_softmatch_limits():
  labeled, label, weak, strong = few.step(25, 3, 9, 4)
  labels, views = few.named(labeled, label, weak, strong)
  of = partial(jit_loss, *labels, **views, probability=np.full(4, 0.25, np.float32), unlabeled_weight=2.0)
  hard = lambda threshold: losses.fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)[0]
  assert_close(of(mean=0.7, variance=math.inf, sigmas=2.0)[0], hard(0.0))  # all count
  assert_close(of(mean=0.7, variance=1e-12, sigmas=2.0)[0], hard(0.7))  # a threshold
  assert_close(of(mean=0.0, variance=1e-12, sigmas=2.0)[1]['use_ratio'], 1, atol=0)
  nobody, empty = of(mean=1.1, variance=1e-12, sigmas=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  assert_close(nobody, pseudo_label_loss(labeled, label, unlabeled=weak, unlabeled_weight=0.0)[0])
  narrow, wide = (of(mean=0.7, variance=0.1, sigmas=sigmas)[1]['use_ratio'] for sigmas in (2.0, 1.0))
  assert narrow < wide - 1e-2


def test_statistics_of_the_extremes_are_finite():
  weak, even = np.tile(np.array([[1e4, 0, -1e4]], np.float32), (4, 1)), np.full(3, 1 / 3, np.float32)
  for logits in (weak, 0 * weak):
    new = statistics_of(logits, 1 / 3, variance=1.0, probability=even, momentum=0.0)
    chex.assert_tree_all_finite(new)
  # all sure of the same class: the variance is 0; the loss stays finite
  new = statistics_of(weak, 1 / 3, variance=1.0, probability=even, momentum=0.0)
  assert new['variance'] == 0
  assert_finite(lambda s: jit_loss(weak, label=np.zeros(4, int), weak=weak, strong=s, **new, sigmas=2.0,
                                   unlabeled_weight=1.0)[0], (weak,), (-weak,))


# --- The objective -------------------------------------------------------------------------------------------------

def test_softmatch_with_infinite_variance_uses_every_example_fully():
  labels, views = few.named(*few.step(3, scale=3))
  of = partial(softmatch_loss, *labels, **views, mean=0.9, probability=jnp.array([0.5, 0.3, 0.2]), sigmas=2.0,
               unlabeled_weight=1.5)
  got, metrics = of(variance=jnp.inf)
  assert float(metrics['use_ratio']) == 1
  chex.assert_trees_all_equal(got, losses.fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=1.5)[0])
  assert float(of(variance=0.01)[1]['use_ratio']) < 1
  made = softmatch(few.BACKBONE, classes=few.K, momentum=0.9, sigmas=2., unlabeled_weight=1., ema_momentum=0.9)
  other = fixmatch(few.BACKBONE, classes=few.K, threshold=0., unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  infinite = memory | {'variance': jnp.float32(jnp.inf)}
  assert float(few.value(made, params, infinite)) == float(few.value(other, params, memory))


def test_its_running_means_follow_the_predictions():
  made = softmatch(few.BACKBONE, classes=few.K, momentum=0.75, sigmas=2., unlabeled_weight=1., ema_momentum=0.9)
  p, memory = few.first_batch(made)
  assert_close(memory['probability'], p.mean(0))  # of the first batch alone
  confidence = losses.align(p, np.full(few.K, 1 / few.K), average=memory['probability']).max(-1)
  assert_close(memory['mean'], 0.75 / few.K + 0.25 * confidence.mean())
  assert_close(memory['variance'], 0.75 + 0.25 * np.var(confidence, ddof=1))
  of = lambda memory: made.loss(made.init(few.KEY)[0], memory, few.images(0), few.KEY, 1)[1][0]['probability']
  assert_close(of(memory), p.mean(0))
  assert_close(of(memory | {'probability': jnp.full(few.K, 1 / few.K)}), 0.75 / few.K + 0.25 * p.mean(0))


def test_its_average():
  few.check_average('softmatch', CASE, 'shared')
