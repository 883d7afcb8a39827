"""Distillation as a whole against its twin: arXiv:2006.10029v2, eq. 2 with alpha = 1; 'js' of arXiv:2103.05959.

Both losses against their twins and by hand; weights, and certain teachers, which are labels.
"""
import functools
import math

import jax
import numpy as np
import pytest

from pretrain.models.vit import vit
from pretrain.objectives.distill import distill, distill_loss, jensen_shannon
from pretrain.objectives.supervised import supervised
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, K, TEMPERATURE = 8, 3, 0.6


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'probabilities': rng.dirichlet(np.ones(K), B),
          'weight': rng.uniform(0.2, 3., B)}


def twin(params, stopped, memory, batch, draws, step, divergence):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = classifier(params, statistics, batch['image'], True, noise)
  loss, agreed = 0., 0
  for i, probabilities in enumerate(batch['probabilities']):
    target = probabilities ** (1 / TEMPERATURE)
    target /= target.sum()
    logs = log_softmax(made[i] / TEMPERATURE)
    if divergence == 'js':
      middle = (target + np.exp(logs)) / 2
      each = target @ np.log(target / middle) / 2 + np.exp(logs) @ (logs - np.log(middle)) / 2
    else:
      each = -target @ logs
    loss += batch['weight'][i] * each / B
    agreed += made[i].argmax() == target.argmax()
  assert 0 < agreed < B
  return loss, {'agreement': agreed / B}, lambda params: (params, {'statistics': statistics})


def case(divergence):
  return Twin(
      distill(tiny(width=5, hidden=9), classes=K, temperature=TEMPERATURE, weighted=True, divergence=divergence), batch,
      functools.partial(twin, divergence=divergence),
      encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
      predict=lambda params, memory, x: softmax(classifier(params, memory['statistics'], x)),
      images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
      moves={'image': {'loss', 'agreement'}, 'probabilities': {'loss', 'agreement'}, 'weight': {'loss'}})


CASE = cases.Case(dict(classes=cases.CLASSES, temperature=0.5),
                  supervised_views(size=cases.SIZE, scale=(0.5, 1.), flip=0.5), cases.with_probabilities)
TWIN = case('cross_entropy')


def test_its_twin():
  check(TWIN)


def test_its_twin_of_js():
  check(case('js'))


# --- The loss ------------------------------------------------------------------------------------------------------

def at(logits, temperature):
  """P(y|x; tau) = exp(f[y] / tau) / sum over y' of exp(f[y'] / tau), of one example."""
  exponentials = [math.exp(float(f) / temperature) for f in logits]
  return [e / sum(exponentials) for e in exponentials]


def loss_twin(teacher_logits, student_logits, temperature):
  """- sum over y of P_teacher(y|x) log P_student(y|x), the mean over examples: [b, k], [b, k] -> float."""
  total = 0.0
  for teacher, student in zip(teacher_logits, student_logits, strict=True):
    for p, q in zip(at(teacher, temperature), at(student, temperature), strict=True):
      total -= p * math.log(q)
  return total / len(student_logits)


def probabilities_of(logits):
  """softmax of one row: [k] -> list of k floats."""
  return [math.exp(value) for value in slow.log_softmax(logits)]


def kullback_leibler(p, q):
  """sum over k of p_k log(p_k / q_k), in nats, 0 where p_k is 0: [k], [k] -> float."""
  return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def jensen_shannon_twin(student_logits, teacher_logits):
  """Mean over examples of KL(p, m) / 2 + KL(q, m) / 2, m = (p + q) / 2, in nats: [b, k], [b, k] -> float.

  arXiv:2103.05959 names the Jensen-Shannon divergence of the two softmaxes (no temperature, no labels); the definition
  is the usual one and from memory. Symmetric, at most log 2, zero only where both are equal. The authors' code computes
  another symmetric divergence under this name, (KL(p, q) + KL(q, p)) / 2.
  """
  total = 0.0
  for student, teacher in zip(student_logits, teacher_logits, strict=True):
    p, q = probabilities_of(student), probabilities_of(teacher)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    total += (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2
  return total / len(student_logits)


def test_distillation_is_its_twin():
  value = jax.jit(lambda p, z, tau: distill_loss(p, z, temperature=tau).mean())
  for seed, tau in [(0, 1.0), (1, 0.5), (2, 3.0)]:
    teacher, logits = normal(seed, 5, 4, scale=2), normal(seed + 9, 5, 4, scale=2)
    p = softmax(teacher.astype(np.float64)).astype(np.float32)
    assert_close(value(p, logits, tau), loss_twin(teacher, logits, tau))
    assert_gradient(lambda z, p=p, tau=tau: value(p, z, tau),
                    lambda z, teacher=teacher, tau=tau: loss_twin(teacher, z, tau), logits)
    assert np.all(np.asarray(jax.grad(value)(p, logits, tau)) == 0)
  # two classes, even student: log 2 whatever the teacher; a certain teacher: cross-entropy of its class
  assert_close(value(np.float32([[0.3, 0.7]]), np.zeros((1, 2), np.float32), 0.5), math.log(2))
  assert_close(value(np.float32([[0., 1.]]), np.float32([[0., math.log(3)]]), 1.), math.log(4 / 3))
  assert np.isfinite(value(np.float32([[0., 1.]]), np.float32([[1e4, -1e4]]), 0.1))
  with pytest.raises(ValueError, match='equal shapes'):
    distill_loss(np.zeros((2, 3)), np.zeros((2, 4)), temperature=1.)


def test_jensen_shannon_is_its_twin():
  value = jax.jit(lambda p, z: jensen_shannon(p, z, temperature=1.).mean())
  for seed in range(3):
    teacher, logits = normal(seed, 5, 4, scale=2), normal(seed + 9, 5, 4, scale=2)
    p, q = softmax(teacher), softmax(logits)
    assert_close(value(p, logits), jensen_shannon_twin(logits, teacher))
    assert_gradient(lambda z, p=p: value(p, z), lambda z, teacher=teacher: jensen_shannon_twin(z, teacher), logits)
    assert np.all(np.asarray(jax.grad(value)(p, logits)) == 0)
    assert_close(value(p, logits), value(q, teacher))  # symmetric
    assert_close(value(p, teacher), 0)
    assert value(p, logits) > 1e-3
  # certain of different classes: log 2, which is the most; certain against even, with m = (1/4, 3/4)
  far = np.float32([[50., 0.]]), np.float32([[0., 1.]])
  assert_close(value(far[1], far[0]), math.log(2))
  assert_close(value(np.float32([[0., 1.]]), np.zeros((1, 2), np.float32)),
               (math.log(4 / 3) + math.log(2) / 2 + math.log(2 / 3) / 2) / 2)
  assert_finite(lambda z: value(np.float32([[0., 1.]]), z), (np.float32([[1e4, -1e4]]),), (np.ones((1, 2), 'f'),))
  assert_close(jensen_shannon(softmax(teacher), 0.5 * logits, temperature=0.5).mean(),
               jensen_shannon_twin(logits, 2 * teacher))
  with pytest.raises(ValueError, match='equal shapes'):
    jensen_shannon(np.zeros((2, 3)), np.zeros((2, 4)), temperature=1.)


# --- The objective -------------------------------------------------------------------------------------------------

def test_weights_and_limits_of_the_objectives():
  backbone = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  label, key = np.arange(6) % 3, jax.random.key(0)
  batch = {'image': normal(0, 6, 8, 8, 1), 'label': label, 'probabilities': np.eye(3, dtype=np.float32)[label],
           'weight': np.float32([1, 0, 0.5, 1, 0, 2])}
  hard, soft = supervised(backbone, classes=3), distill(backbone, classes=3, temperature=1.)
  params, memory = hard.init(key)
  value = lambda objective, batch: float(objective.loss(params, memory, batch, key, 0)[0])
  assert_close(value(soft, batch), value(hard, batch))  # certain teachers
  each = [value(hard, {name: x[i:i + 1] for name, x in batch.items()}) for i in range(6)]
  wanted = np.mean(batch['weight'] * each)
  assert_close(value(supervised(backbone, classes=3, weighted=True), batch), wanted)
  assert_close(value(distill(backbone, classes=3, temperature=1., weighted=True), batch), wanted)
  assert value(supervised(backbone, classes=3, weighted=True), batch | {'weight': np.ones(6, np.float32)}) == \
      value(hard, batch)
