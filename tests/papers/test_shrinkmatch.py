"""ShrinkMatch as a whole against its twin: arXiv:2308.06777v1, section 3, eq. 1 to 8; CIFAR/shrinkmatch.py."""
import numpy as np

from pretrain.objectives.shrinkmatch import shrinkmatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, linear, log_softmax, mlp, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, WINDOW, THRESHOLD, SHARE, WEIGHT, MOMENTUM = 4, 8, 4, 2, 0.72, 0.7, 0.6, 0.8


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 3]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strong': rng.uniform(size=(U, 4, 4, 1))}


def memory(rng, memory):
  """What step 0 writes first, the first row of the window and the share, is not empty."""
  return memory | {'certain': 0.4, 'window': np.stack([rng.dirichlet(np.full(CLASSES, 5.)), np.zeros(CLASSES)])}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  images = np.concatenate([batch['image'], batch['weak'], batch['strong']])
  statistics = copied(memory['statistics'])
  h = Tiny(params['backbone'], statistics['backbone'])(images, True, noise)
  logits = linear(params['head']['linear'], h)
  labeled, strong = logits[:B], logits[B + U:]
  auxiliary = mlp(params['auxiliary'], statistics['auxiliary'], h[B + U:], True, leaky)
  weak = softmax(classifier(stopped, copied(memory['statistics']), images, True, noise)[B:B + U])
  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])

  window = np.array(memory['window'])
  window[step % WINDOW] = weak.mean(0)
  p = weak / (window[:step + 1].mean(0) + 1e-6)  # as `losses.align` says
  p /= p.sum(1, keepdims=True)

  consistency, shrunk, certain, reached = 0., 0., 0, 0
  for i in range(U):
    order = np.argsort(-p[i])
    first = order[0]
    if p[i, first] >= THRESHOLD:
      consistency -= p[i] @ log_softmax(strong[i]) / U
      certain += 1
      continue
    for removed in range(1, CLASSES - 1):  # at least one class goes, one other stays
      kept = [first, *order[1 + removed:]]
      if p[i, first] / p[i, kept].sum() >= THRESHOLD:
        shrunk -= p[i, first] * log_softmax(auxiliary[i, kept])[0] / U
        reached += 1
        break
  assert certain and reached and (step != 2 or reached < U - certain)
  share = certain / U if step == 0 else SHARE * memory['certain'] + (1 - SHARE) * certain / U
  shrunk *= share

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'window': window,
                    'certain': share}

  return supervised + WEIGHT * (consistency + shrunk), {
      'supervised': supervised, 'consistency': consistency, 'shrunk': shrunk, 'use_ratio': certain / U,
      'shrunk_ratio': reached / U, 'certain': share}, after


def leaky(x):
  return np.where(x < 0, 0.1 * x, x)


ALL = {'loss', 'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio', 'certain'}  # one pass
CASE = cases.Case(dict(classes=cases.CLASSES, hidden=(64,), threshold=0.26, momentum=0.9, window=2, unlabeled_weight=1.,
                       ema_momentum=0.9), cases.either(fixmatch_views(operations=0)), cases.streams)
TWIN = Twin(
    shrinkmatch(tiny(), classes=CLASSES, hidden=(8,), threshold=THRESHOLD, momentum=SHARE, window=WINDOW,
                unlabeled_weight=WEIGHT, ema_momentum=MOMENTUM), batch, twin, memory=memory, steps=(0, 1, 2, 3),
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': ALL, 'weak': ALL,
           'strong': ALL - {'use_ratio', 'shrunk_ratio', 'certain'}})


def test_its_twin():
  check(TWIN)
