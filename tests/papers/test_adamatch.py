"""AdaMatch as a whole against its twin: arXiv:2106.04732v2, section 3; google-research/adamatch,
semi_supervised/adamatch.py.
"""
import numpy as np

from pretrain.objectives.adamatch import adamatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
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
