"""CoMatch as a whole against its twin: arXiv:2011.11183v2, section 3.2, eq. 3 to 8, algorithm 1; Train_CoMatch.py.

Its loss and its smoothed pseudo-labels against their twins, by hand, and as limits; its memory from step to step.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pretrain import losses
from pretrain.objectives.comatch import comatch, comatch_loss, smoothed
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, normal
from tests.reference import supervised as slow
from tests.reference import vectors
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


# --- The loss ------------------------------------------------------------------------------------------------------

def smoothed_twin(probabilities, z, memory_z, memory_probabilities, temperature, share):
  """alpha p + (1 - alpha) sum_k a_k p_k, a the softmax of the similarities over t, arXiv:2011.11183v2 eq. 5 and 6."""
  result = []
  z, memory_z = vectors.unit(z), vectors.unit(memory_z)
  for p, row in zip(probabilities, z, strict=True):
    near = np.exp(slow.log_softmax([row @ other / temperature for other in memory_z]))
    mean = sum(a * np.asarray(q, np.float64) for a, q in zip(near, memory_probabilities, strict=True))
    result.append(share * np.asarray(p, np.float64) + (1 - share) * mean)
  return np.array(result)


def loss_twin(labeled, label, probabilities, strong, first, second, threshold, temperature, edge_threshold,
              unlabeled_weight, contrast_weight):
  """L_x + lambda_cls L_cls + lambda_ctr L_ctr, arXiv:2011.11183v2 section 3.2.

  The graph of pseudo-labels has 1 on its diagonal and q_i q_j elsewhere if that reaches T; rows are divided by their
  sums. L_ctr is the cross-entropy of the softmax of the similarities of row i with all rows of the second view.

  Args:
    labeled, label: [b, k] logits, int [b].
    probabilities, strong: [u, k], probabilities (constants) and logits.
    first, second: [u, d].
    threshold, temperature, edge_threshold, unlabeled_weight, contrast_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'contrast', 'use_ratio'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  u, consistency, used, contrast = len(strong), 0.0, 0, 0.0
  for p, row in zip(probabilities, strong, strict=True):
    if max(p) >= threshold:
      used += 1
      consistency -= sum(float(q) * log for q, log in zip(p, slow.log_softmax(row), strict=True)) / u
  first, second = vectors.unit(first), vectors.unit(second)
  for i in range(u):
    edges = []
    for j in range(u):
      weight = 1.0 if i == j else sum(float(a) * float(b) for a, b in zip(probabilities[i], probabilities[j],
                                                                          strict=True))
      edges.append(weight if weight >= edge_threshold else 0.0)
    logs = slow.log_softmax([first[i] @ second[j] / temperature for j in range(u)])
    contrast -= math.fsum(w * log for w, log in zip(edges, logs, strict=True)) / sum(edges) / u
  terms = {'supervised': supervised, 'consistency': consistency, 'contrast': contrast, 'use_ratio': used / u}
  return supervised + unlabeled_weight * consistency + contrast_weight * contrast, terms


EXTREME = dict(threshold=0.9, temperature=0.2, edge_threshold=0.8, unlabeled_weight=1.0, contrast_weight=1.0)
jit_loss = jax.jit(comatch_loss)
LOSS = Loss(
    jit_loss, loss_twin, [
        (*few.soft(5, 2, 5, 3), normal(8, 5, 6), normal(9, 5, 6), 0.7, 0.3, 0.4, 2.0, 3.0),
        (*few.soft(6, 3, 9, 4), normal(10, 9, 6, scale=3), normal(11, 9, 6), 0.6, 0.2, 0.5, 0.5, 0.7)],
    moving=(0, 3, 4, 5), halves=(0, 3, 4, 5), refused=[
        ((few.LABELED, few.CLASSES, few.ONE, few.WEAK, few.WEAK, few.WEAK, *EXTREME.values()), ['(4, 3)', '(1, 3)']),
        ((few.LABELED, few.CLASSES, few.WEAK, few.WEAK, few.ONE, few.WEAK, *EXTREME.values()), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  few.check_finite(lambda x, w, s: jit_loss(*x, probabilities=jax.nn.softmax(w), strong=s, first=w, second=s,
                                            **EXTREME))


def test_smoothed_equals_twin_and_by_hand():
  p, z, memory_z, memory_p = few.probabilities(0, 4, 3), normal(1, 4, 5), normal(2, 7, 5), few.probabilities(3, 7, 3)
  of = partial(smoothed, memory_z=memory_z, memory_probabilities=memory_p)
  assert_close(of(p, z, temperature=0.3, share=0.9), smoothed_twin(p, z, memory_z, memory_p, 0.3, 0.9))
  assert_close(of(p, z, temperature=0.3, share=1.0), p)
  assert_close(of(p, z, temperature=1e9, share=0.0), np.tile(memory_p.mean(0), (4, 1)))
  near = of(p[:1], 5 * memory_z[3:4], temperature=1e-3, share=0.0)
  assert_close(near, memory_p[3:4], rtol=1e-4)


def test_comatch_by_hand_and_its_limits():
  p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
  strong, z = few.odds([1, 1], [1, 3], [1, 1]), np.eye(3, dtype=np.float32)
  loss, terms = jit_loss(np.zeros((1, 2), np.float32), np.array([1]), probabilities=p, strong=strong, first=z,
                         second=z[[1, 0, 2]], threshold=0.85, temperature=1 / math.log(2), edge_threshold=0.5,
                         unlabeled_weight=2.0, contrast_weight=3.0)
  consistency = 2 * math.log(2) / 3  # the second is not confident
  # edges: 1 and 0.74 / 1 and 0.74 / 1 alone; similarities 2 : 1 : 1 of sum 4, highest of the swapped pair
  contrast = (2 * (1 * math.log(4) + 0.74 * math.log(2)) / 1.74 + math.log(2)) / 3
  assert_close(terms['consistency'], consistency)
  assert_close(terms['contrast'], contrast)
  assert_close(loss, math.log(2) + 2 * consistency + 3 * contrast)
  # no edges but the loops: InfoNCE; sure pseudo-labels: FixMatch
  labeled, label, weak, strong = few.step(33, 3, 9, 4)
  first, second = normal(34, 9, 6), normal(35, 9, 6)
  of = partial(jit_loss, labeled, label, strong=strong, first=first, second=second, threshold=0.9, temperature=0.2,
               unlabeled_weight=2.0)
  terms = of(probabilities=jax.nn.softmax(weak), edge_threshold=1.0, contrast_weight=0.5)[1]
  assert_close(terms['contrast'], losses.info_nce(first, second, positive=jnp.arange(9), temperature=0.2))
  value = of(probabilities=jax.nn.softmax(1e3 * weak), edge_threshold=0.8, contrast_weight=0.0)[0]
  assert_close(value, losses.fixmatch(labeled, label, weak=1e3 * weak, strong=strong, threshold=0.9,
                                      unlabeled_weight=2.0)[0])


# --- The objective -------------------------------------------------------------------------------------------------

def test_comatch_smooths_from_when_its_memory_is_full_and_keeps_the_last_batches():
  n = few.B + few.U
  made = comatch(few.BACKBONE, classes=few.K, hidden=(8,), dim=4, threshold=0.4, edge_threshold=0.3, temperature=0.2,
                 smoothing=0.1, queue=2 * n, window=0, unlabeled_weight=1., contrast_weight=1., ema_momentum=0.9)
  params, memory = made.init(few.KEY)
  seen = []
  for at in range(3):
    other = memory | {'p': memory['p'][::-1]}
    values = [float(made.loss(params, m, few.images(at), few.KEY, at)[0]) for m in (memory, other)]
    assert (values[0] == values[1]) == (at < 2), 'the memory is used before it is full, or not then'
    _, (carry, _) = made.loss(params, memory, few.images(at), few.KEY, at)
    seen.append(carry['new'])
    _, memory = made.update(params, memory, carry, at)
    assert set(memory) == {'statistics', 'ema', 'window', 'z', 'p'}
  for name in ('z', 'p'):
    np.testing.assert_array_equal(memory[name], np.concatenate([seen[2][name], seen[1][name]]))
  assert_close(memory['p'][few.U:n], np.eye(few.K)[few.images(2)['label']])
  assert_close(np.linalg.norm(memory['z'], axis=1), np.ones(2 * n))
  values = [float(made.loss(params, memory, few.images(2), few.KEY, jnp.int32(at))[0]) for at in (2, 2 ** 31 // n + 1)]
  assert values[0] == values[1], 'images are more than an i32 counts'


def test_its_threshold_and_its_average():
  few.check_threshold(comatch, hidden=(8,), dim=4, edge_threshold=0.8, temperature=0.2, smoothing=0.9, queue=24,
                      window=2, contrast_weight=1.)
  few.check_average('comatch', CASE, 'shared', queue=24)
