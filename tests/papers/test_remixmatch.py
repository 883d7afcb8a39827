"""ReMixMatch as a whole against its twin: arXiv:1911.09785v2, section 3, algorithm 1; remixmatch_no_cta.py.

Its loss against the twin, and by hand.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.objectives.remixmatch import remixmatch, remixmatch_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, normal
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, linear, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K, CLASSES, WINDOW, TEMPERATURE, RAMP, MOMENTUM = 4, 5, 2, 3, 2, 0.6, 4, 0.7
UNLABELED, ANCHOR, ROTATION = 1.5, 0.6, 0.4


def batch(rng):
  return {'image_strong': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strongs': rng.uniform(size=(U, K, 4, 4, 1)),
          'index': rng.permutation(50)[:U]}


def memory(rng, memory):
  return memory | {name: rng.dirichlet(np.full(CLASSES, 4.), WINDOW) for name in ('labels', 'guesses')}


def twin(params, stopped, memory, batch, draws, step):
  (_, guess_noise), (_, order), (_, mix), (_, turns), (_, noise) = draws
  labels, guesses = np.array(memory['labels']), np.array(memory['guesses'])
  p = softmax(classifier(stopped, copied(memory['statistics']), batch['weak'], True, guess_noise))
  labels[step % WINDOW] = np.eye(CLASSES)[batch['label']].mean(0)
  guesses[step % WINDOW] = p.mean(0)
  q = p * (labels.mean(0) + 1e-6) / (guesses.mean(0) + 1e-6)  # as `losses.align` says
  q /= q.sum(1, keepdims=True)
  q = q ** (1 / TEMPERATURE)
  q /= q.sum(1, keepdims=True)

  images = [*batch['image_strong'], *batch['weak']]
  targets = [*np.eye(CLASSES)[batch['label']], *q]
  for i in range(U):
    for k in range(K):
      images.append(batch['strongs'][i, k])
      targets.append(q[i])
  n = B + U * (1 + K)
  mixed, mixed_targets = [], []
  for i in range(n):
    share = max(mix[i], 1 - mix[i])
    mixed.append(share * images[i] + (1 - share) * images[order[i]])
    mixed_targets.append(share * targets[i] + (1 - share) * targets[order[i]])
  anchors = [batch['strongs'][i, 0] for i in range(U)]
  turned = [np.rot90(image, turn) for image, turn in zip(anchors, turns, strict=True)]

  statistics = copied(memory['statistics'])
  h = Tiny(params['backbone'], statistics['backbone'])(np.stack(mixed + anchors + turned), True, noise)
  logits, rotated = linear(params['head']['linear'], h), linear(params['rotation']['linear'], h)
  supervised = -np.mean([mixed_targets[i] @ log_softmax(logits[i]) for i in range(B)])
  consistency = -np.mean([mixed_targets[i] @ log_softmax(logits[i]) for i in range(B, n)])
  anchored = -np.mean([q[i] @ log_softmax(logits[n + i]) for i in range(U)])
  rotation = -np.mean([log_softmax(rotated[n + U + i])[turns[i]] for i in range(U)])

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'labels': labels,
                    'guesses': guesses}

  ramp = min(step / RAMP, 1)
  loss = supervised + ramp * (UNLABELED * consistency + ANCHOR * anchored) + ROTATION * rotation
  return loss, {'supervised': supervised, 'consistency': consistency, 'anchored': anchored,
                'rotation': rotation}, after


ALL = {'loss', 'supervised', 'consistency', 'anchored', 'rotation'}  # one pass, one set of batch statistics
CASE = cases.Case(dict(classes=cases.CLASSES, temperature=0.5, alpha=0.75, window=2, unlabeled_weight=1.5,
                       anchor_weight=0.5, rotation_weight=0.5, ramp_steps=2, ema_momentum=0.9),
                  cases.either(fixmatch_views(operations=0, labeled_strong=True, strongs=1)), cases.streams, draws=True)
TWIN = Twin(
    remixmatch(tiny(), classes=CLASSES, temperature=TEMPERATURE, alpha=0.75, window=WINDOW, unlabeled_weight=UNLABELED,
               anchor_weight=ANCHOR, rotation_weight=ROTATION, ramp_steps=RAMP, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)), memory=memory,
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), steps=(0, 1, 5),
    grown={'head/linear/kernel': 60., 'rotation/linear/kernel': 60.},
    moves={'image_strong': ALL, 'label': {'loss', 'supervised', 'consistency'}, 'weak': ALL, 'strongs/0': ALL,
           'strongs/1': ALL, 'index': ALL})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, target, unlabeled, mixed_guess, anchored, guess, turned, turns, unlabeled_weight,
              anchor_weight, rotation_weight):
  """The sum of four means of cross-entropies, arXiv:1911.09785v2 section 3.3 (the end of algorithm 1).

  Args:
    labeled, target, unlabeled, mixed_guess, anchored, guess: logits and probabilities [*, k], in pairs.
    turned, turns: [u, 4] logits, int [u].
    unlabeled_weight, anchor_weight, rotation_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'anchored', 'rotation'}), floats.
  """
  terms = {'supervised': slow.soft_cross_entropy(target, labeled).mean(),
           'consistency': slow.soft_cross_entropy(mixed_guess, unlabeled).mean(),
           'anchored': slow.soft_cross_entropy(guess, anchored).mean(), 'rotation': slow.supervised_mean(turned, turns)}
  weights = {'supervised': 1.0, 'consistency': unlabeled_weight, 'anchored': anchor_weight,
             'rotation': rotation_weight}
  return sum(weights[name] * value for name, value in terms.items()), terms


def point(seed, b, n, u, k):
  return (*few.mixed(seed, b, n, k), normal(seed + 4, u, k), few.probabilities(seed + 5, u, k),
          normal(seed + 6, u, 4), few.labels(seed + 7, u, 4))


jit_loss = jax.jit(remixmatch_loss)
LOSS = Loss(jit_loss, loss_twin, [(*point(4, 2, 5, 3, 4), 1.5, 0.6, 0.4)], moving=(0, 2, 4, 6), halves=(0, 2, 4, 6),
            refused=[((few.LABELED, few.LABELED, few.WEAK, few.WEAK, few.WEAK, few.ONE, few.WEAK, few.CLASSES, 1.0, 1.0,
                       1.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)

  def extreme(x, w, s):
    p, turned = jax.nn.softmax(w), s[:, :1] * jnp.ones(4)
    return jit_loss(x[0], jax.nn.softmax(x[0]), unlabeled=s, mixed_guess=p, anchored=s, guess=p, turned=turned,
                    turns=jnp.arange(5) % 4, unlabeled_weight=1.0, anchor_weight=1.0, rotation_weight=1.0)

  few.check_finite(extreme)


def test_remixmatch_by_hand():
  half = np.array([[0.5, 0.5]], np.float32)
  loss, terms = jit_loss(few.odds([3, 1]), half, unlabeled=few.odds([1, 1]), mixed_guess=half,
                         anchored=few.odds([9, 1]), guess=np.array([[1, 0]], np.float32),
                         turned=few.odds([1, 1, 2, 4]), turns=np.array([3]), unlabeled_weight=2.0, anchor_weight=3.0,
                         rotation_weight=5.0)
  assert_close(terms['anchored'], -math.log(0.9))
  assert_close(terms['rotation'], math.log(2))
  assert_close(loss, -math.log(3 / 16) / 2 + 2 * math.log(2) - 3 * math.log(0.9) + 5 * math.log(2))


# --- The objective -------------------------------------------------------------------------------------------------

def test_its_average():
  few.check_average('remixmatch', CASE, 'shared')
