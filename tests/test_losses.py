"""The losses of DINO and FixMatch against their twins in float64: gradients, points by hand, limits, extremes."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import dino as dino_twin
from tests.reference import fixmatch as fixmatch_twin
from tests.reference import supervised as supervised_twin

# Compiled, as in a training step; temperatures, thresholds and weights are traced, since they may follow a schedule.
dino, confident, fixmatch = jax.jit(losses.dino), jax.jit(losses.confident), jax.jit(losses.fixmatch)


def at(student: float, teacher: float) -> dict:
  """The temperatures of a loss towards a teacher."""
  return dict(student_temperature=student, teacher_temperature=teacher)


# --- DINO ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('g', 'v', 'b', 'k', 'hot', 'cold'), [
  (2, 2, 3, 4, 0.1, 0.04), (2, 5, 2, 6, 0.1, 0.07), (1, 3, 4, 3, 1.0, 1.0), (3, 4, 1, 5, 0.5, 0.2),
])
def test_dino_equals_twin(g, v, b, k, hot, cold):
  student, teacher, center = normal(v, v, b, k, scale=0.3), normal(g, g, b, k, scale=0.3), normal(k, k, scale=0.2)
  loss = dino(student, teacher, center=center, **at(hot, cold))
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, dino_twin.dino(student, teacher, center, hot, cold))


def test_dino_gradient():
  student, teacher, center = normal(0, 3, 2, 4, scale=0.3), normal(1, 2, 2, 4, scale=0.3), normal(2, 4, scale=0.1)
  assert_gradient(
    lambda x: dino(x, teacher, center=center, **at(0.1, 0.05)), lambda x: dino_twin.dino(x, teacher, center, 0.1, 0.05),
    student,
  )
  to_teacher = jax.grad(dino, argnums=1)(student, teacher, center=center, **at(0.1, 0.05))
  assert np.all(np.asarray(to_teacher) == 0)


def test_dino_by_hand():
  k = 6
  flat = np.zeros((2, 3, k), np.float32)
  assert_close(dino(normal(0, 2, 1, 1, scale=5) + flat, flat, center=flat[0, 0], **at(0.1, 0.04)), math.log(k))
  # algorithm 1, two views: H(t1, s2) / 2 + H(t2, s1) / 2, and never H(t1, s1)
  student = np.log(np.array([[[1, 3]], [[1, 1]]], np.float32))  # probabilities 1/4, 3/4 and 1/2, 1/2
  teacher = np.log(np.array([[[9, 1]], [[1, 4]]], np.float32))  # 9/10, 1/10 and 1/5, 4/5
  second_first = -(0.2 * math.log(1 / 4) + 0.8 * math.log(3 / 4))
  zero = np.zeros(2, np.float32)
  assert_close(dino(student, teacher, center=zero, **at(1.0, 1.0)), (math.log(2) + second_first) / 2)
  # a center of log(9), 0 makes the first teacher view 1/2, 1/2 and the second 1/37, 36/37
  centered = -(math.log(1 / 4) + 36 * math.log(3 / 4)) / 37
  center = np.log(np.array([9, 1], np.float32))
  assert_close(dino(student, teacher, center=center, **at(1.0, 1.0)), (math.log(2) + centered) / 2)
  # temperatures: a half squares the probabilities before they are normalised
  hot = -(math.log(1 / 10) + 16 * math.log(9 / 10)) / 17
  assert_close(dino(student, teacher, center=zero, **at(0.5, 0.5)), (math.log(2) + hot) / 2)


def test_dino_limits():
  student, teacher, center = normal(0, 4, 3, 5), normal(1, 2, 3, 5), np.zeros(5, np.float32)
  # a cold teacher is one-hot: the cross-entropy of its largest class
  wanted = []
  for i in range(2):
    for j in range(4):
      if i != j:
        wanted.append(supervised_twin.cross_entropy(student[j] / 0.1, teacher[i].argmax(-1)).mean())
  assert_close(dino(student, teacher, center=center, **at(0.1, 1e-4)), np.mean(wanted))
  assert_close(dino(student, teacher, center=center, **at(1e4, 0.04)), math.log(5), rtol=1e-3)
  # one teacher view that agrees with the student's others: the entropy of the teacher
  views = np.tile(student[:1], (3, 1, 1))
  entropy = supervised_twin.soft_cross_entropy(np.exp(jax.nn.log_softmax(student[0])), student[0]).mean()
  assert_close(dino(views, views[:1], center=center, **at(1.0, 1.0)), entropy)


def test_dino_invariances():
  student, teacher, center = normal(0, 4, 3, 5), normal(1, 2, 3, 5), normal(2, 5)
  loss = dino(student, teacher, center=center, **at(0.5, 0.25))
  examples, classes = np.array([2, 0, 1]), np.array([4, 2, 0, 3, 1])
  assert_close(dino(student[[1, 0, 2, 3]], teacher[::-1], center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[[0, 1, 3, 2]], teacher, center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[:, examples], teacher[:, examples], center=center, **at(0.5, 0.25)), loss)
  assert_close(dino(student[..., classes], teacher[..., classes], center=center[classes], **at(0.5, 0.25)), loss)
  assert_close(dino(student + normal(3, 4, 3, 1), teacher + normal(4, 2, 3, 1), center=center, **at(0.5, 0.25)), loss)
  move = normal(5, 5)
  assert_close(dino(student, teacher + move, center=center + move, **at(0.5, 0.25)), loss)
  assert_close(dino(2 * student, 2 * teacher, center=2 * center, **at(1.0, 0.5)), loss)
  # what is not invariant
  assert abs(dino(student, teacher[::-1], center=center, **at(0.5, 0.25)) - loss) > 1e-2
  assert abs(dino(student[[2, 1, 0, 3]], teacher, center=center, **at(0.5, 0.25)) - loss) > 1e-2
  assert abs(dino(student + move, teacher, center=center, **at(0.5, 0.25)) - loss) > 1e-2


def test_dino_is_stable():
  student, teacher, center = normal(0, 3, 2, 4, scale=1e4), normal(1, 2, 2, 4, scale=1e4), normal(2, 4, scale=1e4)
  assert_finite(lambda x: dino(x, teacher, center=center, **at(0.01, 0.01)), (student,))
  loss = dino(student, teacher, center=center, **at(0.01, 0.01))  # about 1e6
  assert_close(loss, dino_twin.dino(student, teacher, center, 0.01, 0.01))


# --- FixMatch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('u', 'k', 'threshold'), [(1, 2, 0.5), (9, 4, 0.6), (20, 3, 0.95), (6, 10, 0.0)])
def test_confident_equals_twin(u, k, threshold):
  weak = normal(u, u, k, scale=3)
  pseudo, use = confident(weak, threshold)
  wanted_pseudo, wanted_use = fixmatch_twin.confident(weak, threshold)
  assert pseudo.shape == (u,) and jnp.issubdtype(pseudo.dtype, jnp.integer)
  assert use.shape == (u,) and use.dtype == bool
  np.testing.assert_array_equal(pseudo, wanted_pseudo)
  np.testing.assert_array_equal(use, wanted_use)


def test_confident_by_hand():
  logits = np.log(np.array([[6, 3, 1], [1, 1, 8], [1, 2, 1]], np.float32))  # 0.6, 0.8, 0.5 at most
  pseudo, use = confident(logits, 0.7)
  assert list(pseudo) == [0, 2, 1] and list(use) == [False, True, False]
  for k in (2, 4):  # exactly the threshold is confident; ties go to the lowest class
    pseudo, use = confident(np.zeros((2, k), np.float32), 1 / k)
    assert list(pseudo) == [0, 0] and list(use) == [True, True]
  assert np.all(confident(normal(0, 5, 3), 0.0)[1])
  assert not np.any(confident(normal(0, 5, 3), 1.1)[1])
  pseudo, use = confident(np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32), 0.95)
  assert list(pseudo) == [0, 1] and list(use) == [True, True]
  shifted = confident(logits + 100, 0.7)
  assert list(shifted[0]) == [0, 2, 1] and list(shifted[1]) == [False, True, False]


def batch(seed: int, b: int, u: int, k: int):
  """(labeled_logits, label, weak_logits, strong_logits) of a FixMatch step, some of the weak ones confident."""
  label = np.random.default_rng(seed).integers(0, k, b, np.int32)
  return normal(seed, b, k), label, normal(seed + 1, u, k, scale=3), normal(seed + 2, u, k)


@pytest.mark.parametrize(('b', 'u', 'k', 'threshold', 'weight'), [
  (1, 7, 3, 0.95, 1.0), (4, 12, 10, 0.6, 2.5), (8, 3, 2, 0.8, 0.1),
])
def test_fixmatch_equals_twin(b, u, k, threshold, weight):
  arrays = labeled, label, weak, strong = batch(u, b, u, k)
  loss, terms = fixmatch(labeled, label, weak=weak, strong=strong, threshold=threshold, unlabeled_weight=weight)
  wanted, wanted_terms = fixmatch_twin.fixmatch(*arrays, threshold, weight)
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, wanted)
  for name, value in wanted_terms.items():
    assert_close(terms[name], value)


def test_fixmatch_gradient():
  labeled, label, weak, strong = batch(1, 2, 6, 3)
  assert 0 < fixmatch_twin.fixmatch(labeled, label, weak, strong, 0.8, 2.0)[1]['use_ratio'] < 1
  assert_gradient(
    lambda x, y: fixmatch(x, label, weak=weak, strong=y, threshold=0.8, unlabeled_weight=2.0)[0],
    lambda x, y: fixmatch_twin.fixmatch(x, label, weak, y, 0.8, 2.0)[0],
    labeled, strong,
  )
  consistent = lambda w, s: fixmatch(labeled, label, weak=w, strong=s, threshold=0.8, unlabeled_weight=2.0)[0]
  to_weak, to_strong = jax.grad(consistent, (0, 1))(weak, strong)
  _, use = fixmatch_twin.confident(weak, 0.8)
  assert np.all(np.asarray(to_weak) == 0)
  assert np.all(np.asarray(to_strong)[~use] == 0) and np.all(np.asarray(to_strong)[use] != 0)
  # also through a network that makes both
  shared = jax.grad(lambda w: consistent(w * weak, strong))(1.0)
  assert shared == 0


def test_fixmatch_by_hand():
  labeled, label = np.zeros((2, 4), np.float32), np.array([0, 3])
  weak = np.zeros((5, 4), np.float32)
  weak[1, 2] = 50  # the only confident one of five
  strong = np.log(np.tile(np.array([1, 1, 2, 4], np.float32), (5, 1)))  # 1/4 for class 2
  loss, terms = fixmatch(labeled, label, weak=weak, strong=strong, threshold=0.95, unlabeled_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], math.log(4) / 5)  # over all five, not over the one
  assert_close(terms['use_ratio'], 1 / 5)
  assert_close(loss, math.log(4) * (1 + 3 / 5))


def test_fixmatch_limits_and_invariances():
  labeled, label, weak, strong = batch(3, 4, 8, 5)
  labels, views = (labeled, label), {'weak': weak, 'strong': strong}
  loss, terms = fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=1.5)
  assert 0 < terms['use_ratio'] < 1
  alone, _ = fixmatch(*labels, **views, threshold=0.7, unlabeled_weight=0.0)
  assert_close(alone, supervised_twin.cross_entropy(labeled, label).mean())
  nobody, empty = fixmatch(*labels, **views, threshold=1.1, unlabeled_weight=1.5)
  assert_close(nobody, alone)
  assert empty['consistency'] == 0 and empty['use_ratio'] == 0
  _, everybody = fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=1.5)
  assert_close(everybody['consistency'], supervised_twin.cross_entropy(strong, weak.argmax(-1)).mean())
  order, classes = np.random.default_rng(0).permutation(8), np.array([4, 2, 0, 1, 3])
  value = lambda x, y, w, s: fixmatch(x, y, weak=w, strong=s, threshold=0.7, unlabeled_weight=1.5)[0]
  assert_close(value(labeled[::-1], label[::-1], weak[order], strong[order]), loss)
  assert_close(value(labeled[:, classes], np.argsort(classes)[label], weak[:, classes], strong[:, classes]), loss)
  assert_close(value(labeled, label, weak + normal(9, 8, 1), strong - 3), loss)
  assert_close(value(labeled, label, np.concatenate([weak, weak]), np.concatenate([strong, strong])), loss)
  assert abs(value(labeled, label, weak[order], strong) - loss) > 1e-2


def test_fixmatch_is_stable():
  labeled, label, weak, strong = batch(0, 2, 6, 3)
  value = lambda x, y: fixmatch(x, label, weak=1e4 * weak, strong=y, threshold=0.95, unlabeled_weight=1.0)[0]
  assert_finite(value, (1e4 * labeled, -1e4 * strong))
  wanted, _ = fixmatch_twin.fixmatch(1e4 * labeled, label, 1e4 * weak, -1e4 * strong, 0.95, 1.0)
  assert_close(value(1e4 * labeled, -1e4 * strong), wanted)


@pytest.mark.parametrize('call', [
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 3, 4), center=normal(2, 4), **at(0.1, 0.1)),
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 2, 4), center=normal(2, 5), **at(0.1, 0.1)),
  lambda: fixmatch(normal(0, 2, 3), np.zeros(2, int), weak=normal(1, 4, 3), strong=normal(2, 5, 3), threshold=0.9,
                   unlabeled_weight=1.0),
])
def test_sizes_that_do_not_fit_are_refused(call):
  with pytest.raises((ValueError, TypeError)):
    call()


@pytest.mark.parametrize('call', [
    lambda: losses.dino(jnp.zeros((2, 3, 4)), jnp.zeros((2, 1, 4)), center=jnp.zeros(4), **at(0.1, 0.1)),
    lambda: losses.fixmatch(jnp.zeros((3, 4)), jnp.zeros(3, int), weak=jnp.zeros((5, 4)), strong=jnp.zeros((1, 4)),
                            threshold=0.9, unlabeled_weight=1.),
])
def test_a_shape_that_would_broadcast_is_an_error(call):
  with pytest.raises(ValueError, match='wants equal shapes'):
    call()
