"""MixMatch as a whole against its twin: arXiv:1905.02249v2, section 3, eq. 3 to 13, algorithm 1; mixmatch.py."""
import numpy as np

from pretrain.objectives.mixmatch import mixmatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
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
