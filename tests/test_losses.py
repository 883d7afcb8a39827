"""Every loss against its twin in float64 (value and gradient), hand-computed points, limits and invariances.

Tolerances: a float32 loss is a sum of a few dozen terms of relative error 6e-8, so values agree to 1e-5; a gradient is
a difference of such terms, so it agrees to 1e-4 of its largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.method import memory
from pretrain.method.schedules import cosine
from pretrain.objectives.videomae import standardize_cubes
from tests.checks import assert_close, assert_finite, assert_gradient, normal, rotation
from tests.reference import dino as dino_twin
from tests.reference import fixmatch as fixmatch_twin
from tests.reference import mae as mae_twin
from tests.reference import masking
from tests.reference import simclr as simclr_twin
from tests.reference import supervised as supervised_twin
from tests.reference import teacher as teacher_twin
from tests.reference import videomae as videomae_twin

# Compiled, as in a training step; temperatures, thresholds and weights are traced, since they may follow a schedule.
nt_xent, dino = jax.jit(losses.nt_xent), jax.jit(losses.dino)
confident, fixmatch = jax.jit(losses.confident), jax.jit(losses.fixmatch)
masked_mse, standardize_patches = jax.jit(losses.masked_mse), jax.jit(losses.standardize_patches)
cross_entropy, soft_cross_entropy = jax.jit(losses.cross_entropy), jax.jit(losses.soft_cross_entropy)
ema = jax.jit(memory.ema)


def at(student: float, teacher: float) -> dict:
  """The temperatures of a loss towards a teacher."""
  return dict(student_temperature=student, teacher_temperature=teacher)


# --- SimCLR --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('b', 'd', 'temperature'), [(2, 3, 1.0), (3, 8, 0.5), (8, 4, 0.1), (5, 16, 0.07)])
def test_nt_xent_equals_twin(b, d, temperature):
  z1, z2 = normal(b, b, d, scale=3), normal(b + 100, b, d)
  loss = nt_xent(z1, z2, temperature=temperature)
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, simclr_twin.nt_xent(z1, z2, temperature))
  close = z1 + 0.1 * z2  # near positives: the loss is small
  assert_close(nt_xent(z1, close, temperature=temperature), simclr_twin.nt_xent(z1, close, temperature))


def test_nt_xent_gradient():
  for temperature in (1.0, 0.1):
    assert_gradient(
      partial(nt_xent, temperature=temperature), partial(simclr_twin.nt_xent, temperature=temperature),
      normal(0, 3, 4), normal(1, 3, 4),
    )


def test_nt_xent_by_hand():
  for b in (2, 5):  # all similarities are 1: one of 2b - 1 equal terms; the anchor itself is not among them
    same = np.tile(normal(0, 1, 6), (b, 1))
    assert_close(nt_xent(same, same, temperature=0.2), math.log(2 * b - 1))
  basis = np.eye(2, dtype=np.float32)  # similarity 1 with the positive, 0 with the two negatives
  assert_close(nt_xent(basis, basis, temperature=1.0), math.log(1 + 2 / math.e))
  assert_close(nt_xent(basis, basis, temperature=0.5), math.log(1 + 2 * math.exp(-2)))
  # similarity -1 with the positive, 0 with the negatives
  assert_close(nt_xent(basis, -basis, temperature=1.0), math.log(1 + 2 * math.e))
  # similarity 0 with the positive, 1 with one negative and 0 with the other
  assert_close(nt_xent(basis, basis[::-1], temperature=1.0), math.log(2 + math.e))


def test_nt_xent_limits():
  z1, z2 = normal(0, 4, 8), normal(1, 4, 8)
  assert_close(nt_xent(z1, z2, temperature=1e4), math.log(7), rtol=1e-3)  # every temperature is cold, but infinity
  basis = np.eye(4, dtype=np.float32)
  assert_close(nt_xent(basis, basis, temperature=0.01), 0.0)
  assert_close(nt_xent(basis, -basis, temperature=0.01), 100 + math.log(6))


def test_nt_xent_invariances():
  z1, z2 = normal(0, 6, 8), normal(1, 6, 8)
  loss = nt_xent(z1, z2, temperature=0.2)
  order = np.array([3, 0, 5, 1, 4, 2])
  scales = np.exp(normal(2, 6, 1))
  turn = rotation(3, 8)
  assert_close(nt_xent(z2, z1, temperature=0.2), loss)
  assert_close(nt_xent(z1[order], z2[order], temperature=0.2), loss)
  assert_close(nt_xent(scales * z1, z2 / scales, temperature=0.2), loss)
  assert_close(nt_xent(z1 @ turn, z2 @ turn, temperature=0.2), loss)
  # what is not invariant
  assert abs(nt_xent(z1, z2[order], temperature=0.2) - loss) > 1e-2
  assert abs(nt_xent(z1 @ turn, z2, temperature=0.2) - loss) > 1e-2
  assert abs(nt_xent(z1 + 1, z2 + 1, temperature=0.2) - loss) > 1e-2


def test_nt_xent_is_stable():
  z1, z2 = normal(0, 4, 8), normal(1, 4, 8)
  cold = partial(nt_xent, temperature=0.01)
  dead = z1 * (np.arange(4) > 0)[:, None].astype(np.float32)
  # the last: a dead projection has no direction, but must not poison the batch
  assert_finite(cold, (1e4 * z1, 1e4 * z2), (1e-4 * z1, 1e-4 * z2), (z1, -z1), (dead, z2))
  # similarities are off by 1e-7, divided by the temperature: 1e-5, absolute, on a loss of some dozens
  assert_close(cold(1e4 * z1, z2), simclr_twin.nt_xent(z1, z2, 0.01), atol=1e-4)


@pytest.mark.parametrize(('first', 'second', 'sizes'), [
  ((3, 4), (2, 4), '32'), ((3, 4), (3, 5), '45'), ((1, 4), (1, 4), '1'), ((3, 4, 2), (3, 4, 2), '2'),
])
def test_nt_xent_refuses(first, second, sizes):
  with pytest.raises(ValueError) as error:
    nt_xent(normal(0, *first), normal(1, *second), temperature=0.5)
  for size in sizes:  # what was got
    assert size in str(error.value)


# --- cross-entropy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('b', 'k', 'scale'), [(1, 2, 1.0), (5, 10, 5.0), (7, 3, 0.1)])
def test_cross_entropy_equals_twin(b, k, scale):
  logits = normal(b, b, k, scale=scale)
  label = np.random.default_rng(k).integers(0, k, b, np.int32)
  result = cross_entropy(logits, label)
  assert result.shape == (b,) and result.dtype == jnp.float32
  assert_close(result, supervised_twin.cross_entropy(logits, label))
  one_hot = np.eye(k, dtype=np.float32)[label]
  assert_close(soft_cross_entropy(one_hot, logits), supervised_twin.cross_entropy(logits, label))


@pytest.mark.parametrize('shape', [(4,), (2, 5), (2, 3, 4)])
def test_soft_cross_entropy_equals_twin(shape):
  probabilities = np.random.default_rng(0).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)
  logits = normal(1, *shape, scale=4)
  result = soft_cross_entropy(probabilities, logits)
  assert result.shape == shape[:-1]
  assert_close(result, supervised_twin.soft_cross_entropy(probabilities, logits))


def test_cross_entropy_gradient():
  weights, label = normal(0, 3), np.array([2, 0, 3])
  assert_gradient(
    lambda logits: weights @ cross_entropy(logits, label),
    lambda logits: weights @ supervised_twin.cross_entropy(logits, label),
    normal(1, 3, 4),
  )
  probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 3).astype(np.float32)
  assert_gradient(
    lambda logits: weights @ soft_cross_entropy(probabilities, logits),
    lambda logits: weights @ supervised_twin.soft_cross_entropy(probabilities, logits),
    normal(1, 3, 4),
  )


def test_cross_entropy_by_hand():
  uniform = np.full((2, 7), 3, np.float32)
  assert_close(cross_entropy(uniform, np.array([0, 6])), np.log([7, 7]))
  logits = np.log(np.array([[1, 2, 5]], np.float32))  # probabilities 1/8, 2/8, 5/8
  assert_close(cross_entropy(logits, np.array([1])), [math.log(4)])
  half = np.array([[0.5, 0.5, 0]], np.float32)
  assert_close(soft_cross_entropy(half, logits), [(math.log(8) + math.log(4)) / 2])
  # the least that the soft cross-entropy can be is the entropy of its target
  assert_close(soft_cross_entropy(half, np.array([[0, 0, -1e3]], np.float32)), [math.log(2)])
  # not normalised again: twice the target is twice the loss
  assert_close(soft_cross_entropy(2 * half, logits), [math.log(8) + math.log(4)])


def test_cross_entropy_invariances():
  logits, label, order = normal(0, 4, 5), np.array([0, 4, 2, 2]), np.array([4, 2, 0, 1, 3])
  loss = cross_entropy(logits, label)
  assert_close(cross_entropy(logits + normal(1, 4, 1), label), loss)
  assert_close(cross_entropy(logits[:, order], np.argsort(order)[label]), loss)
  assert_close(cross_entropy(logits[::-1], label[::-1]), loss[::-1])


def test_cross_entropy_is_stable():
  logits, label = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0]], np.float32), np.array([0, 1])
  assert_close(cross_entropy(logits, label), [0, 2e4])
  assert_close(soft_cross_entropy(np.eye(3, dtype=np.float32)[:2], logits), [0, 2e4])
  assert_finite(lambda x: cross_entropy(x, label).mean(), (logits,))
  assert_finite(lambda x: soft_cross_entropy(np.eye(3, dtype=np.float32)[:2], x).mean(), (logits,))


# --- MAE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('b', 'n', 'p'), [(1, 2, 1), (3, 9, 4), (4, 16, 12)])
def test_masked_mse_equals_twin(b, n, p):
  predicted, target = normal(b, b, n, p), normal(n, b, n, p, scale=2)
  mask = np.random.default_rng(p).random((b, n)) < 0.6  # uneven: rows hide different numbers of patches
  mask[0, 0] = True
  loss = masked_mse(predicted, target, mask=mask)
  assert loss.shape == () and loss.dtype == jnp.float32
  assert_close(loss, mae_twin.masked_mse(predicted, target, mask))


def test_masked_mse_gradient():
  mask = np.array([[True, False, True], [False, False, True]])
  assert_gradient(
    partial(masked_mse, mask=mask), partial(mae_twin.masked_mse, mask=mask), normal(0, 2, 3, 4),
    normal(1, 2, 3, 4),
  )
  gradient = jax.grad(masked_mse)(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=mask)
  assert np.all(np.asarray(gradient)[~mask] == 0) and np.all(np.asarray(gradient)[mask] != 0)


def test_masked_mse_by_hand():
  predicted = np.array([[[1, 3], [9, 9]], [[0, 0], [0, 2]]], np.float32)
  target = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]], np.float32)
  mask = np.array([[True, False], [True, True]])
  assert_close(masked_mse(predicted, target, mask=mask), (2 + 1 + 2) / 3)  # by patch, not by image: (2 + 1.5) / 2


def test_masked_mse_limits_and_invariances():
  predicted, target = normal(0, 3, 4, 5), normal(1, 3, 4, 5)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]], bool)
  loss = masked_mse(predicted, target, mask=mask)
  everything = masked_mse(predicted, target, mask=np.ones((3, 4), bool))
  assert_close(everything, np.mean((predicted - target) ** 2))
  assert_close(masked_mse(target, target, mask=mask), 0, atol=0)
  elsewhere = predicted + 100 * ~mask[..., None]  # what is visible does not matter
  assert_close(masked_mse(elsewhere.astype(np.float32), target, mask=mask), loss)
  order = np.array([2, 0, 3, 1])
  assert_close(masked_mse(predicted[:, order], target[:, order], mask=mask[:, order]), loss)
  assert_close(masked_mse(3 * predicted, 3 * target, mask=mask), 9 * loss)
  assert_close(masked_mse(predicted + 1, target + 1, mask=mask), loss, rtol=1e-4)
  assert_close(masked_mse(target, predicted, mask=mask), loss)
  assert_finite(partial(masked_mse, mask=mask), (1e4 * predicted, -1e4 * target))


@pytest.mark.parametrize(('b', 'n', 'p'), [(1, 1, 2), (2, 3, 12), (2, 4, 48)])
def test_standardize_patches_equals_twin(b, n, p):
  patches = np.random.default_rng(p).random((b, n, p)).astype(np.float32)
  result = standardize_patches(patches)
  assert result.shape == (b, n, p) and result.dtype == jnp.float32
  assert_close(result, mae_twin.standardize_patches(patches), atol=1e-5)


def test_standardize_patches_gradient():
  weights = normal(0, 1, 2, 3)
  assert_gradient(
    lambda x: (weights * standardize_patches(x)).sum(),
    lambda x: (weights * mae_twin.standardize_patches(x)).sum(),
    normal(1, 1, 2, 3),
  )


def test_standardize_patches_by_hand():
  patches = np.array([[[1, 3], [-2, 2], [5, 5]]], np.float32)  # unbiased variances 2, 8 and 0
  side = math.sqrt(1 / 2)  # the biased variance would give 1
  assert_close(standardize_patches(patches), [[[-side, side], [-side, side], [0, 0]]], rtol=1e-5)
  small = np.array([[[0, 1e-3]]], np.float32)  # variance 5e-7: the 1e-6 under the root counts
  assert_close(standardize_patches(small), [[[-5e-4 / math.sqrt(1.5e-6), 5e-4 / math.sqrt(1.5e-6)]]])


def test_standardize_patches_invariances():
  patches = normal(0, 2, 3, 8, scale=10)
  result = standardize_patches(patches)
  assert_close(result.mean(-1), np.zeros((2, 3)))
  assert_close(np.asarray(result).std(-1, ddof=1), np.ones((2, 3)))
  assert_close(standardize_patches(4 * patches + 7), result, atol=1e-5)
  assert_close(standardize_patches(patches + 1e4), result, atol=1e-2)  # float32 holds 1e4 to 1e-3
  flat = np.full((2, 3, 8), 0.5, np.float32)
  assert_finite(lambda x: standardize_patches(x)[..., 0].sum(), (flat,), (1e4 * patches,))


def test_standardize_cubes_equals_twin_and_by_hand():
  clip = np.random.default_rng(0).random((4, 6, 6, 3)).astype(np.float32)
  cubes = np.stack([cube.reshape(-1, 3) for cube in videomae_twin.cubes(clip, 3, 2)])[None].astype(np.float32)
  result = jax.jit(standardize_cubes)(cubes)
  assert result.shape == (1, 8, 18, 3) and result.dtype == jnp.float32
  assert_close(np.asarray(result).reshape(8, -1), videomae_twin.targets(clip, 3, 2), atol=1e-5)
  small = np.array([[[[0, 5]], [[1e-3, 5]]]], np.float32).reshape(1, 1, 2, 2)  # deviations sqrt(5e-7) and 0
  side = 5e-4 / (math.sqrt(5e-7) + 1e-6)  # 0.706; under the root 1e-6 would give 0.408
  assert_close(standardize_cubes(small), [[[[-side, 0], [side, 0]]]])


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
  lambda: cross_entropy(normal(0, 3, 4), np.zeros(2, int)),
  lambda: soft_cross_entropy(normal(0, 3, 4), normal(1, 3, 5)),
  lambda: masked_mse(normal(0, 2, 3, 4), normal(1, 2, 3, 5), mask=np.ones((2, 3), bool)),
  lambda: masked_mse(normal(0, 2, 3, 4), normal(1, 2, 3, 4), mask=np.ones((2, 5), bool)),
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 3, 4), center=normal(2, 4), **at(0.1, 0.1)),
  lambda: dino(normal(0, 3, 2, 4), normal(1, 2, 2, 4), center=normal(2, 5), **at(0.1, 0.1)),
  lambda: fixmatch(normal(0, 2, 3), np.zeros(2, int), weak=normal(1, 4, 3), strong=normal(2, 5, 3), threshold=0.9,
                   unlabeled_weight=1.0),
])
def test_sizes_that_do_not_fit_are_refused(call):
  with pytest.raises((ValueError, TypeError)):
    call()


# --- teacher -------------------------------------------------------------------------------------------------------


def test_ema_equals_twin():
  old = {'block': {'kernel': normal(0, 3, 4), 'bias': normal(1, 4)}, 'scale': normal(2)}
  new = {'block': {'kernel': normal(3, 3, 4), 'bias': normal(4, 4)}, 'scale': normal(5)}
  for momentum in (0.0, 0.5, 0.996, 1.0):
    result = ema(old, new, momentum)
    assert jax.tree.structure(result) == jax.tree.structure(old)
    jax.tree.map(assert_close, result, teacher_twin.ema(old, new, momentum))
  jax.tree.map(np.testing.assert_array_equal, ema(old, new, 1.0), old)  # a frozen teacher does not drift
  jax.tree.map(assert_close, ema(old, old, 0.9), old)


def test_ema_by_hand():
  assert_close(ema({'x': np.float32(8)}, {'x': np.float32(4)}, 0.75)['x'], 7)
  state = {'x': jnp.float32(1)}
  for _ in range(10):
    state = ema(state, {'x': jnp.float32(0)}, 0.9)
  assert_close(state['x'], 0.9 ** 10)
  with pytest.raises((ValueError, KeyError, TypeError)):
    ema({'x': jnp.ones(2)}, {'y': jnp.ones(2)}, 0.9)


@pytest.mark.parametrize(('start', 'end', 'steps'), [(0.996, 1.0, 7), (0.04, 0.4, 100), (1.0, 0.0, 2)])
def test_cosine_equals_twin(start, end, steps):
  schedule = cosine(start, end, steps)
  traced = jax.jit(schedule)
  for step in sorted({0, 1, steps // 3, steps // 2, steps - 1, steps}):
    wanted = teacher_twin.cosine(step, start, end, steps)
    assert_close(schedule(step), wanted)
    assert_close(traced(jnp.int32(step)), wanted)
  assert_close(schedule(0), start)
  assert_close(schedule(steps), end)
  assert_close(schedule(2 * steps), end)  # it does not swing back
  assert_close(schedule(steps / 2), (start + end) / 2)
  assert_close(schedule(steps / 4), start + (end - start) * (1 - math.sqrt(0.5)) / 2)


# --- the twins that other tests lean on ----------------------------------------------------------------------------


def test_masking_twin():
  noise = np.random.default_rng(0).random((64, 16))
  visible, restore, mask = masking.random_masking(noise, 0.75)
  masking.check_random_masking(mask, 0.75, visible, restore)
  by_hand = masking.random_masking([[0.3, 0.1, 0.9, 0.2]], 0.5)
  assert [x.tolist() for x in by_hand] == [[[1, 3]], [[2, 0, 3, 1]], [[True, False, True, False]]]
  assert [masking.visible_count(196, ratio) for ratio in (0.0, 0.5, 0.75, 0.9)] == [196, 98, 49, 19]
  one_more, stuck = mask.copy(), np.zeros_like(mask)
  one_more[3] = True
  stuck[:, 4:] = True
  for wrong in (~mask, one_more, stuck, mask.astype(int)):
    with pytest.raises(AssertionError):
      masking.check_random_masking(wrong, 0.75)
  for wrong_visible, wrong_restore in ((visible[::-1], None), (None, restore[::-1]), (visible[:, ::-1], restore)):
    with pytest.raises(AssertionError):
      masking.check_random_masking(mask, 0.75, wrong_visible, wrong_restore)


@pytest.mark.parametrize('call', [
    lambda: losses.masked_mse(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 1)), mask=jnp.ones((2, 3), bool)),
    lambda: losses.masked_mse(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)), mask=jnp.ones((1, 3), bool)),
    lambda: losses.dino(jnp.zeros((2, 3, 4)), jnp.zeros((2, 1, 4)), center=jnp.zeros(4), **at(0.1, 0.1)),
    lambda: losses.cross_entropy(jnp.zeros((3, 4)), jnp.zeros(1, int)),
    lambda: losses.soft_cross_entropy(jnp.ones((1, 4)) / 4, jnp.zeros((3, 4))),
    lambda: losses.fixmatch(jnp.zeros((3, 4)), jnp.zeros(3, int), weak=jnp.zeros((5, 4)), strong=jnp.zeros((1, 4)),
                            threshold=0.9, unlabeled_weight=1.)])
def test_a_shape_that_would_broadcast_is_an_error(call):
  with pytest.raises(ValueError, match='wants equal shapes'):
    call()
