"""MixMatch as a whole against its twin: arXiv:1905.02249v2, section 3, eq. 3 to 13, algorithm 1; mixmatch.py.

Its loss against the twin, by hand, and as a limit.
"""
import math

import jax
import numpy as np

from pretrain import losses
from pretrain.objectives.mean_teacher import mean_teacher_loss
from pretrain.objectives.mixmatch import mixmatch, mixmatch_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K, CLASSES, TEMPERATURE, WEIGHT, RAMP, MOMENTUM = 4, 5, 2, 3, 0.6, 3., 4, 0.7


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'strongs': rng.uniform(size=(U, K, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  (_, guess_noise), (_, order), (_, mix), (_, noise) = draws
  flat = batch['strongs'].reshape(-1, 4, 4, 1)  # the views of an example beside each other
  predicted = softmax(classifier(stopped, copied(memory['statistics']), flat, True, guess_noise))
  guesses = []
  for i in range(U):
    mean = sum(predicted[i * K + k] for k in range(K)) / K
    guesses.append(mean ** (1 / TEMPERATURE) / np.sum(mean ** (1 / TEMPERATURE)))
  images = [*batch['image'], *flat]
  targets = [np.eye(CLASSES)[label] for label in batch['label']] + [guesses[i] for i in range(U) for _ in range(K)]
  mixed, mixed_targets = [], []
  for i in range(B + U * K):
    share = max(mix[i], 1 - mix[i])
    mixed.append(share * images[i] + (1 - share) * images[order[i]])
    mixed_targets.append(share * targets[i] + (1 - share) * targets[order[i]])
  statistics = copied(memory['statistics'])
  logits = classifier(params, statistics, np.stack(mixed), True, noise)
  supervised = -np.mean([mixed_targets[i] @ log_softmax(logits[i]) for i in range(B)])
  consistency = np.mean([(mixed_targets[i] - softmax(logits[i])) ** 2 for i in range(B, B + U * K)])
  weight = WEIGHT * min(step / RAMP, 1)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM)}

  return supervised + weight * consistency, {
      'supervised': supervised, 'consistency': consistency, 'unlabeled_weight': weight}, after


BOTH = {'loss', 'supervised', 'consistency'}
CASE = cases.Case(dict(classes=cases.CLASSES, temperature=0.5, alpha=0.75, unlabeled_weight=10., ramp_steps=2,
                       ema_momentum=0.9), cases.either(fixmatch_views(operations=0, cutout_share=0., strongs=2)),
                       cases.streams, draws=True)
TWIN = Twin(
    mixmatch(tiny(), classes=CLASSES, temperature=TEMPERATURE, alpha=0.75, unlabeled_weight=WEIGHT, ramp_steps=RAMP,
             ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.}, steps=(0, 1, 5),
    moves={'image': BOTH, 'label': BOTH, 'strongs/0': BOTH, 'strongs/1': BOTH})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, target, unlabeled, guess, unlabeled_weight):
  """L_X + lambda_U L_U, arXiv:1905.02249v2 eq. 3 to 5.

  Args:
    labeled, target: [b, k] logits, probabilities.
    unlabeled, guess: [n, k] logits, probabilities.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = slow.soft_cross_entropy(target, labeled).mean()
  total = 0.0
  for row, q in zip(unlabeled, guess, strict=True):
    logs = slow.log_softmax(row)
    for c in range(len(logs)):
      total += (float(q[c]) - math.exp(logs[c])) ** 2
  consistency = total / (len(unlabeled) * len(unlabeled[0]))  # L |U'|
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}


jit_loss = jax.jit(mixmatch_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.mixed(3, 2, 5, 3), 7.0)], moving=(0, 2), halves=(0, 2),
            refused=[((few.LABELED, few.LABELED, few.WEAK, few.ONE, 1.0), ['(4, 3)', '(1, 3)']),
                     ((few.LABELED, few.ONE, few.WEAK, few.WEAK, 1.0), ['(2, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  guess = lambda w: losses.sharpen(jax.lax.stop_gradient(jax.nn.softmax(w)), 0.5)
  few.check_finite(lambda x, w, s: jit_loss(x[0], jax.nn.softmax(x[0]), unlabeled=s, guess=guess(w),
                                            unlabeled_weight=1.0))


def test_mixmatch_by_hand_and_its_limit():
  target, guess = np.array([[0.5, 0.5]], np.float32), np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
  loss, terms = jit_loss(few.odds([3, 1]), target, unlabeled=few.odds([1, 1], [1, 1]), guess=guess,
                         unlabeled_weight=10.0)
  supervised = -(math.log(3 / 4) + math.log(1 / 4)) / 2
  assert_close(terms['consistency'], 2 * 0.4**2 / 4)
  assert_close(loss, supervised + 10 * 0.08)
  labeled, label, weak, strong = few.step(32, 3, 9, 4)  # nothing is mixed, the guess is the teacher's
  one_hot = np.eye(4, dtype=np.float32)[label]
  assert_close(jit_loss(labeled, one_hot, unlabeled=strong, guess=jax.nn.softmax(weak), unlabeled_weight=2.0)[0],
               mean_teacher_loss(labeled, label, student=strong, teacher=weak, unlabeled_weight=2.0)[0])


# --- The objective -------------------------------------------------------------------------------------------------

def test_where_nothing_is_mixed_it_is_consistent():
  images = few.images(0)
  made = mixmatch(few.BACKBONE, classes=few.K, temperature=1., alpha=1e-4, unlabeled_weight=1., ramp_steps=1,
                  ema_momentum=0.)
  one = images | {'strongs': images['weak'][:, None]}
  terms = lambda batch: made.loss(*made.init(few.KEY), batch, few.KEY, 9)[1][1]
  assert float(terms(one)['consistency']) < 1e-7 < float(terms(images)['consistency'])
  labeled = few.logits_of(made.init(few.KEY)[0], images['image'])
  assert_close(terms(one)['supervised'], losses.cross_entropy(labeled, images['label']).mean())


def test_its_average():
  few.check_average('mixmatch', CASE, 'shared')
