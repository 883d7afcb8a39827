"""VAT with entropy minimisation against its twin: arXiv:1704.03976v2, section 3, eq. 5 to 8, algorithm 1; vat.py.

Products with derivatives are complex steps: exact, as those of the objective.
"""
import numpy as np

from pretrain.objectives.vat import vat
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, EPSILON, ITERATIONS, UNLABELED, ENTROPY, MOMENTUM = 4, 5, 3, 0.8, 2, 0.7, 0.4, 0.6
H = 1e-30


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'index': rng.permutation(50)[:U]}


def lengths_one(d):
  return np.stack([x / np.sqrt(np.sum(x ** 2)) for x in d])


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), (_, direction), (_, search_noise), (_, noise_of_perturbed) = draws
  statistics, weak = copied(memory['statistics']), batch['weak']
  logits = classifier(params, statistics, np.concatenate([batch['image'], weak]), True, noise)
  labeled, unlabeled = logits[:B], logits[B:]
  target = classifier(stopped, copied(memory['statistics']), np.concatenate([batch['image'], weak]), True, noise)[B:]

  def search(images):
    return classifier(stopped, copied(memory['statistics']), images, True, search_noise)

  p, d = softmax(search(weak)), lengths_one(direction)
  for _ in range(ITERATIONS):
    moved = np.imag(search(weak + 1j * H * d)) / H
    pull = np.stack([p[i] * (moved[i] - p[i] @ moved[i]) for i in range(U)])
    gradient = np.zeros(weak.shape)
    for place in np.ndindex(weak.shape):
      pixel = np.zeros(weak.shape)
      pixel[place] = 1
      gradient[place] = np.sum(pull * np.imag(search(weak + 1j * H * pixel))) / H
    d = lengths_one(gradient)
  perturbed = classifier(params, copied(memory['statistics']), weak + EPSILON * d, True, noise_of_perturbed)

  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])
  consistency, entropy = 0., 0.
  for i in range(U):
    consistency += softmax(target[i]) @ (log_softmax(target[i]) - log_softmax(perturbed[i])) / U
    entropy -= softmax(unlabeled[i]) @ log_softmax(unlabeled[i]) / U

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM)}

  return supervised + UNLABELED * consistency + ENTROPY * entropy, {
      'supervised': supervised, 'consistency': consistency, 'entropy': entropy}, after


ALL = {'loss', 'supervised', 'consistency', 'entropy'}
CASE = cases.Case(dict(classes=cases.CLASSES, epsilon=2., iterations=1, unlabeled_weight=1., entropy_weight=0.5,
                       ema_momentum=0.9), fixmatch_views(operations=0, cutout_share=0.), cases.streams, draws=True)
TWIN = Twin(
    vat(tiny(), classes=CLASSES, epsilon=EPSILON, iterations=ITERATIONS, unlabeled_weight=UNLABELED,
        entropy_weight=ENTROPY, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.}, repeated=1,
    moves={'image': ALL, 'label': {'loss', 'supervised'}, 'weak': ALL, 'index': {'loss', 'consistency'}})


def test_its_twin():
  check(TWIN)
