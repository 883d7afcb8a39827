"""Cross-entropy as a whole against its twin: weighted, behind a projector, smoothed (arXiv:1512.00567v3, section 7)."""
from pretrain.objectives.supervised import supervised
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.reference.networks import Tiny, classifier, linear, log_softmax, projected, relu, softmax
from tests.twin import Twin, check, copied, tiny

B, K, SMOOTHING = 8, 3, 0.2


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.integers(0, K, B), 'weight': rng.uniform(0.2, 3., B)}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = linear(params['head']['linear'], relu(projected(params, statistics, batch['image'], True, noise)))
  loss, right = 0., 0
  for i, label in enumerate(batch['label']):
    for c in range(K):
      target = (1 - SMOOTHING) * (c == label) + SMOOTHING / K
      loss -= batch['weight'][i] * target * log_softmax(made[i])[c] / B
    right += made[i].argmax() == label
  assert 0 < right < B
  return loss, {'accuracy': right / B}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(classes=cases.CLASSES, label_smoothing=0.1),
                  supervised_views(size=cases.SIZE, scale=(0.5, 1.), flip=0.5))
TWIN = Twin(
    supervised(tiny(width=5, hidden=9), classes=K, label_smoothing=SMOOTHING, projector=(8, 9),
               weighted=True), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    predict=lambda params, memory, x: softmax(linear(params['head']['linear'],
                                                     relu(projected(params, memory['statistics'], x)))),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    moves={'image': {'loss', 'accuracy'}, 'label': {'loss', 'accuracy'}, 'weight': {'loss'}})


def plain_twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = classifier(params, statistics, batch['tokens'], True, noise)
  loss, right = 0., 0
  for i, label in enumerate(batch['label']):
    loss -= log_softmax(made[i])[label] / B
    right += made[i].argmax() == label
  return loss, {'accuracy': right / B}, lambda params: (params, {'statistics': statistics})


PLAIN = Twin(
    supervised(tiny(width=5, hidden=9), classes=K, tokens=True),
    lambda rng: {'tokens': rng.integers(0, 5, (B, 16)), 'label': rng.integers(0, K, B)}, plain_twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda params, memory, x: softmax(classifier(params, memory['statistics'], x)),
    images=lambda rng: rng.integers(0, 5, (3, 16)), grown={'head/linear/kernel': 60.},
    moves={'tokens': {'loss'}, 'label': {'loss', 'accuracy'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_without_options():
  check(PLAIN)
