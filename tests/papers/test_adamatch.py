"""AdaMatch as a whole against its twin: arXiv:2106.04732v2, section 3; google-research/adamatch,
semi_supervised/adamatch.py.

Its loss against the twin, by hand, and as limits; its running means and its interpolated logits.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pretrain import losses
from pretrain.models.resnet import resnet
from pretrain.objectives.adamatch import adamatch, adamatch_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, in_order, normal
from tests.reference import supervised as slow
from tests.reference.align import align
from tests.reference.networks import averaged, classifier, log_softmax, of_average, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
THRESHOLD, WEIGHT, LABELED, WINDOW, EMA, STEPS = 0.9, 0.7, 0.8, 3, 0.6, 8


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (
      ('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def together(params, memory, batch, draws):
  """Logits of weak and strong labeled images, interpolated; those of the unlabeled; statistics of the second pass."""
  (_, noise), (_, noise_of_all), (_, between) = draws
  labeled = np.concatenate([batch['image'], batch['image_strong']])
  alone = classifier(params, copied(memory['statistics']), labeled, True, noise)
  statistics = copied(memory['statistics'])
  images = np.concatenate([labeled, batch['weak'], batch['strong']])
  made = classifier(params, statistics, images, True, noise_of_all)
  pairs = []
  for v in range(2):
    here = slice(v * B, (v + 1) * B)
    pairs.append(made[here] + (alone[here] - made[here]) * between[v])
  return pairs, (made[2 * B:2 * B + U], made[2 * B + U:]), statistics


def twin(params, stopped, memory, batch, draws, step):
  pairs, (_, strong), statistics = together(params, memory, batch, draws)
  (frozen, _), (weak, _), _ = together(stopped, memory, batch, draws)
  supervised = consistency = 0.
  for made in pairs:
    for i in range(B):
      supervised -= log_softmax(made[i])[batch['label'][i]] / B / 2
  confidence, labeled = 0., np.zeros(K)
  for i in range(B):
    q = softmax(frozen[i])
    confidence += q.max() / B
    labeled += q / B
  labeled = LABELED * memory['labeled'] + (1 - LABELED) * labeled
  recent = memory['unlabeled'].copy()
  recent[step % WINDOW] = softmax(weak).mean(0)
  threshold, used, turned = THRESHOLD * confidence, [], 0
  for i in range(U):
    q = softmax(weak[i]) * (1e-6 + labeled) / (1e-6 + recent.mean(0))
    q /= q.sum()
    used.append(q.max() >= threshold)
    turned += used[-1] and q.argmax() != weak[i].argmax()
    if used[-1]:
      consistency -= log_softmax(strong[i])[q.argmax()] / U
  assert 0 < sum(used) < U and turned, 'some are used, some of these with another class than before alignment'
  weight = WEIGHT * (1 - np.cos(min(np.pi, 2 * np.pi * step / STEPS))) / 2

  def after(params):
    return params, {'statistics': statistics, 'labeled': labeled, 'unlabeled': recent,
                    'ema': averaged(memory['ema'], params, EMA),
                    'ema_statistics': averaged(memory['ema_statistics'], statistics, EMA)}

  return supervised + weight * consistency, {
      'supervised': supervised, 'consistency': consistency, 'unlabeled_weight': weight,
      'relative_threshold': threshold, 'use_ratio': sum(used) / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, threshold=1., unlabeled_weight=1., labeled_momentum=0.9, window=2,
                       ema_momentum=0.9), cases.either(fixmatch_views(labeled_strong=True)), cases.streams)
TWIN = Twin(
    adamatch(tiny(width=5, hidden=9), classes=K, threshold=THRESHOLD, unlabeled_weight=WEIGHT,
             labeled_momentum=LABELED, window=WINDOW, ema_momentum=EMA, steps=STEPS), batch, twin,
    **of_average('ema_statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    steps=(1, 2, 5), memory=lambda _, memory: memory | {
        'labeled': np.array([0.9, 0.07, 0.03]),
        'unlabeled': np.array([[0.02, 0.28, 0.7], [0.1, 0.2, 0.7], [0.05, 0.25, 0.7]])},
    moves={'label': {'loss', 'supervised'}} | {
        key: {'loss', 'supervised', 'consistency', 'relative_threshold'} | some for key, some in (
            ('image', set()), ('image_strong', {'use_ratio'}), ('weak', {'use_ratio'}), ('strong', set()))})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, labeled_strong, label, weak, strong, threshold, labeled_average, unlabeled_average,
              unlabeled_weight):
  """L_source + unlabeled_weight L_target, arXiv:2106.04732v2 section 3.

  The pseudo-labels are of the aligned probabilities, and count where the largest reaches the relative threshold:
  `threshold` times the mean confidence of the labeled weak views. L_source is the mean of both views' cross-entropies,
  as in the authors' code.

  Args:
    labeled, labeled_strong: [b, k] logits, already interpolated.
    label: int [b].
    weak, strong: [u, k] logits; the weak ones are constants.
    threshold: float, the paper's tau.
    labeled_average, unlabeled_average: [k], mean probabilities of weak views.
    unlabeled_weight: float, the paper's mu.

  Returns:
    (loss, {'supervised', 'consistency', 'use_ratio', 'relative_threshold'}), floats.
  """
  supervised = (slow.supervised_mean(labeled, label) + slow.supervised_mean(labeled_strong, label)) / 2
  confidence = 0.0
  for row in labeled:
    confidence += math.exp(max(slow.log_softmax(row))) / len(labeled)
  aligned = align([np.exp(slow.log_softmax(row)) for row in weak], labeled_average, unlabeled_average)
  consistency, used = 0.0, 0
  for q, row in zip(aligned, strong, strict=True):
    if max(q) >= threshold * confidence:
      used += 1
      consistency += -slow.log_softmax(row)[slow.largest(q)] / len(weak)
  terms = {'supervised': supervised, 'consistency': consistency, 'use_ratio': used / len(weak),
           'relative_threshold': threshold * confidence}
  return supervised + unlabeled_weight * consistency, terms


def point(seed, b, u, k):
  labeled, label, weak, strong = few.step(seed, b, u, k)
  return labeled, normal(seed + 3, b, k), label, weak, strong


jit_loss = jax.jit(adamatch_loss)
LOSS = Loss(jit_loss, loss_twin, [
    (*point(14, 2, 5, 3), 0.95, few.distribution(14, 3), few.distribution(15, 3), 2.0),
    (*point(16, 3, 9, 4), 1.1, few.distribution(16, 4), few.distribution(17, 4), 0.5)],
            moving=(0, 1, 4), halves=(0, 1, 3, 4), refused=[
                ((few.LABELED, few.LABELED, few.CLASSES, few.WEAK, few.ONE, 0.9, few.THREE, few.THREE, 1.0),
                 ['(4, 3)', '(1, 3)']),
                ((few.LABELED, few.LABELED[:1], few.CLASSES, few.WEAK, few.WEAK, 0.9, few.THREE, few.THREE, 1.0),
                 ['(2, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_invariances(in_order(jit_loss), *LOSS.points[1])
  of = lambda x, w, s: jit_loss(x[0], x[0], label=x[1], weak=w, strong=s, threshold=0.9,
                                labeled_average=few.uniform(w), unlabeled_average=few.uniform(w), unlabeled_weight=1.0)
  few.check_one_class(of)
  few.check_finite(of)


def test_adamatch_by_hand():
  labeled, labeled_strong, label = few.odds([8, 2], [4, 6]), few.odds([1, 1], [3, 1]), np.array([0, 1])
  weak, strong = few.odds([6, 4], [9, 1], [55, 45]), few.odds([1, 3], [1, 4], [3, 2])
  target, average = np.array([0.5, 0.5], np.float32), np.array([0.75, 0.25], np.float32)
  of = partial(jit_loss, label=label, strong=strong, labeled_average=target, unlabeled_weight=3.0)
  loss, terms = of(labeled, labeled_strong, weak=weak, threshold=0.98, unlabeled_average=average)
  supervised = (-(math.log(0.8) + math.log(0.6)) / 2 + (math.log(2) + math.log(4)) / 2) / 2
  assert_close(terms['supervised'], supervised)
  assert_close(terms['relative_threshold'], 0.98 * 0.7)  # of the weak labeled views
  # aligned 1/3 : 2/3 < 0.686, 3/4 : 1/4 of class 0, 11/15 : 27/15 of class 1
  consistency = (math.log(5) + math.log(5 / 2)) / 3
  assert_close(terms['use_ratio'], 2 / 3)
  assert_close(terms['consistency'], consistency)
  assert_close(loss, supervised + 3 * consistency)
  # a confidence of exactly the threshold counts
  _, sure = of(100 * labeled, labeled_strong, weak=100 * weak, threshold=1.0, unlabeled_average=target)
  assert_close(sure['relative_threshold'], 1, atol=0)
  assert_close(sure['use_ratio'], 1, atol=0)


def test_adamatch_limits():
  labeled, labeled_strong, label, weak, strong = point(26, 3, 9, 4)
  even, averages = np.full(4, 0.25, np.float32), ('labeled_average', 'unlabeled_average')
  of = partial(jit_loss, label=label, weak=weak, strong=strong, **dict.fromkeys(averages, even))
  nobody, empty = of(labeled, labeled_strong, threshold=9.0, unlabeled_weight=2.0)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  swapped = of(labeled_strong, labeled, threshold=0.0, unlabeled_weight=0.0)
  assert_close(swapped[0], nobody)
  assert of(labeled, labeled_strong, threshold=0.0, unlabeled_weight=2.0)[1]['use_ratio'] == 1
  # averages that are equal align nothing
  equal = dict.fromkeys(averages, few.distribution(26, 4))
  _, terms = of(labeled, labeled, threshold=0.9, unlabeled_weight=2.0, **equal)
  _, wanted = losses.fixmatch(labeled, label, weak=weak, strong=strong, threshold=terms['relative_threshold'],
                              unlabeled_weight=2.0)
  for name in wanted:
    assert_close(terms[name], wanted[name])
  assert 0 < wanted['use_ratio'] < 1


# --- The objective -------------------------------------------------------------------------------------------------

def test_adamatch_with_equal_averages_and_certain_labels_is_fixmatch():
  labeled, label, weak, strong = few.step(9, scale=3)
  certain = 100 * jax.nn.one_hot(label, few.K)
  average = jnp.array([0.5, 0.3, 0.2])
  got, metrics = adamatch_loss(certain, certain, label=label, weak=weak, strong=strong, threshold=0.8,
                               labeled_average=average, unlabeled_average=average, unlabeled_weight=1.5)
  wanted, terms = losses.fixmatch(certain, label, weak=weak, strong=strong, threshold=0.8, unlabeled_weight=1.5)
  assert_close(got, wanted)
  assert_close(metrics['relative_threshold'], 0.8)
  assert metrics['use_ratio'] == terms['use_ratio'] < 1


def test_adamatch_interpolates_between_the_batch_statistics():
  """With batch statistics the labeled logits depend on the key; without, there is nothing between the two passes."""
  settings = dict(classes=few.K, threshold=0.9, unlabeled_weight=1., labeled_momentum=0.9, window=2, ema_momentum=0.9,
                  steps=10)
  normalised = resnet(depth=18, blocks=(1,), width=8, stem='cifar', channels=1)
  for backbone, differ in ((normalised, True), (few.BACKBONE, False)):
    made = adamatch(backbone, **settings)
    params, memory = made.init(few.KEY)
    first, second = (made.loss(params, memory, few.images(0), jax.random.key(i), 0)[1][1]['supervised'] for i in (0, 1))
    assert (abs(first - second) > 1e-5) == differ


def test_its_weight_ramps_as_published():
  made = adamatch(few.BACKBONE, classes=few.K, threshold=0.9, unlabeled_weight=2., labeled_momentum=0.9, window=2,
                  ema_momentum=0.9, steps=100)
  params, memory = made.init(few.KEY)
  weight = lambda at: float(made.loss(params, memory, few.images(0), few.KEY, at)[1][1]['unlabeled_weight'])
  assert_close([weight(at) for at in (0, 25, 50, 99)], [0, 1, 2, 2], atol=1e-5)


def test_its_running_means_follow_the_predictions():
  p, memory = few.first_batch(adamatch(few.BACKBONE, classes=few.K, threshold=0.9, unlabeled_weight=1.,
                                       labeled_momentum=0.75, window=2, ema_momentum=0.9, steps=10))
  assert_close(memory['unlabeled'], [p.mean(0), [1 / few.K] * few.K])
  assert_close(memory['labeled'].sum(), 1)


def test_its_threshold_and_its_average():
  few.check_threshold(adamatch, labeled_momentum=0.9, window=2, steps=9)
  few.check_average('adamatch', CASE, 'averaged')
