"""CoMatch as a whole against its twin: arXiv:2011.11183v2, section 3.2, eq. 3 to 8, algorithm 1; Train_CoMatch.py."""
import numpy as np

from pretrain.objectives.comatch import comatch
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, linear, log_softmax, mlp, softmax, unit
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, QUEUE, WINDOW = 4, 5, 3, 18, 3
THRESHOLD, EDGE, TEMPERATURE, SMOOTHING, MOMENTUM = 0.49, 0.36, 0.5, 0.7, 0.8
UNLABELED, CONTRAST = 0.6, 1.7


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'strongs': rng.uniform(size=(U, 2, 4, 4, 1))}


def memory(rng, memory):
  """What step 0 writes first, half the queue and a row of the window, is not empty."""
  z, p, window = np.zeros((QUEUE, 5)), np.zeros((QUEUE, CLASSES)), np.zeros((WINDOW, CLASSES))
  z[:B + U], p[:B + U] = unit(rng.normal(size=(B + U, 5))), rng.dirichlet(np.ones(CLASSES), B + U)
  window[0] = rng.dirichlet(np.ones(CLASSES))
  return memory | {'z': z, 'p': p, 'window': window}


def twin(params, stopped, memory, batch, draws, step):
  (_, noise), = draws
  images = np.concatenate([batch['image'], batch['weak'], batch['strongs'][:, 0], batch['strongs'][:, 1]])

  def forward(p, statistics):
    h = Tiny(p['backbone'], statistics['backbone'])(images, True, noise)
    logits, z = linear(p['head']['linear'], h), unit(mlp(p['projector'], {}, h, activation=leaky))
    cuts = [B, B + U, B + 2 * U]
    return np.split(logits, cuts), np.split(z, cuts)

  statistics = copied(memory['statistics'])
  (labeled, _, strong, _), (_, _, first, second) = forward(params, statistics)
  (_, weak, _, _), (z_labeled, z_weak, _, _) = forward(stopped, copied(memory['statistics']))
  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])

  window = np.array(memory['window'])
  window[step % WINDOW] = softmax(weak).mean(0)
  aligned = softmax(weak) / (window[:step + 1].mean(0) + 1e-6)  # as `losses.align` says
  aligned /= aligned.sum(1, keepdims=True)
  targets = np.array(aligned)
  if step * (B + U) >= QUEUE:
    for i in range(U):
      near = softmax(memory['z'] @ z_weak[i] / TEMPERATURE)
      targets[i] = SMOOTHING * aligned[i] + (1 - SMOOTHING) * near @ memory['p']
  mask = targets.max(1) >= THRESHOLD
  assert 0 < mask.sum() < U
  consistency = -np.mean([mask[i] * targets[i] @ log_softmax(strong[i]) for i in range(U)])

  edges, contrast = 0, 0.
  for i in range(U):
    graph = np.array([1. if i == j else targets[i] @ targets[j] for j in range(U)])
    edges += np.sum(graph >= EDGE) - 1
    graph = np.where(graph >= EDGE, graph, 0)
    contrast -= graph / graph.sum() @ log_softmax(second @ first[i] / TEMPERATURE) / U
  assert 0 < edges < U * (U - 1)

  def after(params):
    z, p = np.array(memory['z']), np.array(memory['p'])
    start = step * (B + U) % QUEUE
    z[start:start + B + U] = np.concatenate([z_weak, z_labeled])
    p[start:start + B + U] = np.concatenate([aligned, np.eye(CLASSES)[batch['label']]])
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM), 'z': z, 'p': p,
                    'window': window}

  loss = supervised + UNLABELED * consistency + CONTRAST * contrast
  return loss, {'supervised': supervised, 'consistency': consistency, 'contrast': contrast,
                'use_ratio': mask.mean()}, after


def leaky(x):
  return np.where(x < 0, 0.1 * x, x)


def project(_, memory, images):
  h = Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(images)
  return mlp(memory['ema']['projector'], {}, h, activation=leaky)


SHARED = {'loss', 'supervised', 'consistency', 'contrast'}  # one pass, one set of batch statistics
CASE = cases.Case(dict(classes=cases.CLASSES, hidden=(64,), dim=16, threshold=0.26, edge_threshold=0.26,
                       temperature=0.2, smoothing=0.9, queue=64, window=2, unlabeled_weight=1.,
                       contrast_weight=1., ema_momentum=0.9),
                  cases.either(fixmatch_views(operations=0, strongs=2)), cases.streams)
TWIN = Twin(
    comatch(tiny(), classes=CLASSES, hidden=(8,), dim=5, threshold=THRESHOLD, edge_threshold=EDGE,
            temperature=TEMPERATURE, smoothing=SMOOTHING, queue=QUEUE, window=WINDOW, unlabeled_weight=UNLABELED,
            contrast_weight=CONTRAST, ema_momentum=MOMENTUM),
    batch, twin, memory=memory, steps=(0, 1, 2, 3),
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)), project=project,
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    grown={'head/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': SHARED, 'weak': SHARED | {'use_ratio'}, 'strongs/0': SHARED,
           'strongs/1': SHARED})


def test_its_twin():
  check(TWIN)
