"""What contrastive and clustering papers share, against twins in float64: points by hand, limits, extremes."""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import (
  PAIRS,
  Z1,
  Z2,
  Loss,
  assert_close,
  assert_finite,
  assert_gradient,
  basis,
  check_loss,
  normal,
  rotation,
)
from tests.reference import info_nce as info_nce_twin
from tests.reference import simclr as simclr_twin
from tests.reference import simclr_v2 as simclr_v2_twin
from tests.reference import swav as swav_twin

# Compiled, as in a training step; temperatures are traced, since they may follow a schedule.
nt_xent, info_nce, swav = jax.jit(losses.nt_xent), jax.jit(losses.info_nce), jax.jit(losses.swav)
sinkhorn = jax.jit(losses.sinkhorn, static_argnames='iterations')
remembering = lambda z1, z2, *, queue, temperature: nt_xent(z1, z2, temperature=temperature, queue=queue)


def codes_of(seed: int, *shape: int):
  """Rows that sum to 1."""
  return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)


INFO_NCE = Loss(
    info_nce, info_nce_twin.info_nce,
    points=[(normal(0, 2, 3), normal(1, 5, 3), np.array([4, 0]), 1.0),
            (normal(2, 3, 8, scale=3), normal(3, 3, 8), np.array([2, 2, 1]), 0.1),
            (normal(4, 1, 4), normal(5, 7, 4), np.array([3]), 0.2)],
    extremes=[(*pair, np.array([1, 0, 3, 3]), 0.01) for pair in PAIRS],
    refused=[((Z1, normal(0, 4, 7), np.zeros(4, int), 0.1), ['(8,)', '(7,)']),
             ((Z1, Z2, np.zeros(3, int), 0.1), ['4', '(3,)']),
             ((Z1, Z2, np.zeros(1, int), 0.1), ['4', '(1,)']),
             ((Z1[0], Z2, np.zeros(8, int), 0.1), ['(8,)'])])
REMEMBERING = Loss(
    remembering, simclr_v2_twin.nt_xent_with_memory,
    points=[(normal(0, 2, 3), normal(1, 2, 3), normal(2, 4, 3), 1.0),
            (normal(3, 4, 8, scale=3), normal(4, 4, 8), normal(5, 9, 8), 0.1)])
SWAV = Loss(
    swav, swav_twin.swav, moving=(0,),
    points=[(normal(0, 2, 3, 4), codes_of(1, 2, 3, 4), 1.0), (normal(2, 5, 2, 3, scale=0.3), codes_of(3, 2, 2, 3), 0.1),
            (normal(4, 3, 2, 5, scale=0.3), codes_of(5, 1, 2, 5), 0.2)],
    refused=[((normal(0, 3, 2, 4), codes_of(1, 2, 1, 4), 0.1), ['(2, 4)', '(1, 4)']),
             ((normal(0, 3, 2, 4), codes_of(1, 2, 2, 5), 0.1), ['(2, 4)', '(2, 5)']),
             ((normal(0, 2, 2, 4), codes_of(1, 3, 2, 4), 0.1), ['2', '3']),
             ((normal(0, 1, 2, 4), codes_of(1, 1, 2, 4), 0.1), ['1'])])


@pytest.mark.parametrize('loss', [INFO_NCE, REMEMBERING, SWAV], ids=['info_nce', 'remembering', 'swav'])
def test_losses(loss):
  check_loss(loss)


# --- NT-Xent -------------------------------------------------------------------------------------------------------


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


def test_nt_xent_is_finite():
  assert_finite(partial(nt_xent, temperature=0.01), *PAIRS)


def test_a_memory_without_negatives_is_none():
  z1, z2 = normal(0, 4, 6), normal(1, 4, 6)
  assert_close(remembering(z1, z2, queue=np.zeros((0, 6), np.float32), temperature=0.2),
               simclr_twin.nt_xent(z1, z2, 0.2))
  queue = normal(2, 8, 6)
  assert_close(losses.nt_xent(z1, z2, temperature=0.2, chunk=4, queue=queue),
               remembering(z1, z2, queue=queue, temperature=0.2))
  assert_close(remembering(z1, z2, queue=queue[::-1] * 3, temperature=0.2),
               remembering(z1, z2, queue=queue, temperature=0.2))
  same = np.tile(z1[:1], (4, 1))
  assert_close(remembering(same, same, queue=np.tile(z1[:1], (8, 1)), temperature=0.2), math.log(2 * 4 - 1 + 8))
  with pytest.raises(ValueError, match='queue'):
    losses.nt_xent(z1, z2, temperature=0.2, queue=queue[:, :3])


# --- InfoNCE -------------------------------------------------------------------------------------------------------


def test_info_nce_by_hand():
  query, keys = basis(2)[:1], np.stack([basis(2)[0], basis(2)[1], -basis(2)[0]])  # similarities 1, 0 and -1
  total = math.e + 1 + 1 / math.e
  for positive, similarity in enumerate((1, 0, -1)):
    assert_close(info_nce(query, keys, positive=np.array([positive]), temperature=1.0), math.log(total) - similarity)
  hot = math.log(1 + math.exp(-2) + math.exp(-4))  # half the temperature, twice the similarities
  assert_close(info_nce(query, keys, positive=np.array([0]), temperature=0.5), hot)
  same = np.tile(normal(0, 1, 6), (5, 1))
  assert_close(info_nce(same[:2], same, positive=np.array([3, 3]), temperature=0.2), math.log(5))


def test_info_nce_limits_and_invariances():
  query, keys, positive = normal(0, 3, 8), normal(1, 6, 8), np.array([5, 0, 2])
  loss = info_nce(query, keys, positive=positive, temperature=0.2)
  assert_close(info_nce(query, keys, positive=positive, temperature=1e4), math.log(6), rtol=1e-3)
  assert_close(info_nce(keys[positive], keys, positive=positive, temperature=0.01), 0)
  order, scales, turn = np.array([3, 0, 5, 1, 4, 2]), np.exp(normal(2, 6, 1)), rotation(3, 8)
  assert_close(info_nce(query, keys[order], positive=np.argsort(order)[positive], temperature=0.2), loss)
  assert_close(info_nce(query[::-1], keys, positive=positive[::-1], temperature=0.2), loss)
  assert_close(info_nce(query / scales[:3], scales * keys, positive=positive, temperature=0.2), loss)
  assert_close(info_nce(query @ turn, keys @ turn, positive=positive, temperature=0.2), loss)
  assert abs(info_nce(query, keys, positive=positive[::-1], temperature=0.2) - loss) > 1e-2
  # NT-Xent: all views but the anchor are keys, and the positive is the other view
  z = np.concatenate([query, normal(4, 3, 8)])
  anchors = []
  for i in range(6):
    positive = np.array([(i + 3) % 6 - ((i + 3) % 6 > i)])
    anchors.append(info_nce(z[i:i + 1], np.delete(z, i, 0), positive=positive, temperature=0.2))
  assert_close(np.mean(anchors), nt_xent(z[:3], z[3:], temperature=0.2))


# --- SwAV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('b', 'k', 'epsilon', 'iterations'), [(2, 3, 1.0, 1), (6, 4, 0.05, 3), (4, 8, 0.1, 10)])
def test_sinkhorn_equals_twin(b, k, epsilon, iterations):
  logits = np.clip(normal(b, b, k, scale=0.4), -1, 1)  # cosines
  codes = sinkhorn(logits, epsilon, iterations=iterations)
  assert codes.shape == (b, k) and codes.dtype == jnp.float32
  assert_close(codes, swav_twin.sinkhorn(logits, epsilon, iterations), rtol=1e-4)  # exponents to 20, each to 1e-6
  half = jnp.asarray(logits, jnp.bfloat16)
  wanted = swav_twin.sinkhorn(np.asarray(half, np.float64), epsilon, iterations)
  assert_close(sinkhorn(half, epsilon, iterations=iterations), wanted, rtol=1e-4)
  weights = normal(k, b, k)
  gradient = jax.grad(lambda x: (weights * sinkhorn(x, epsilon, iterations=iterations)).sum())(logits)
  assert np.all(np.asarray(gradient) == 0)


def test_sinkhorn_by_hand():
  scores = np.array([[1, 3], [1, 1]], np.float32)
  # columns first: 1/2, 1/2 and 3/4, 1/4; then rows
  for epsilon in (1.0, 0.05):
    assert_close(sinkhorn(epsilon * np.log(scores), epsilon, iterations=1), [[2 / 5, 3 / 5], [2 / 3, 1 / 3]], rtol=1e-4)
  # in the limit the matrix that is doubly stochastic and has the same odds ratio, 1/3
  odds = math.sqrt(1 / 3)
  wanted = np.array([[odds, 1], [1, odds]]) / (1 + odds)
  assert_close(sinkhorn(np.log(scores), 1.0, iterations=50), wanted)
  assert_close(sinkhorn(np.zeros((3, 4), np.float32), 0.05, iterations=3), np.full((3, 4), 1 / 4))
  own = sinkhorn(basis(4), 0.05, iterations=3)  # every example its own prototype
  assert_close(own, basis(4))


def test_sinkhorn_over_some_rows_is_that_of_those_rows_alone():
  logits, use = normal(0, 8, 4), np.array([1, 0, 1, 1, 0, 0, 1, 1], bool)
  codes = losses.sinkhorn(logits, 0.3, iterations=3, use=use)
  assert_close(codes[use], losses.sinkhorn(logits[use], 0.3, iterations=3))
  assert_close(codes.sum(1), np.ones(8))
  assert_close(losses.sinkhorn(logits, 0.3, iterations=3, use=np.ones(8, bool)),
               losses.sinkhorn(logits, 0.3, iterations=3))


def test_sinkhorn_limits_and_invariances():
  logits = np.clip(normal(0, 8, 4, scale=0.4), -1, 1)
  for iterations in (1, 3, 100):
    assert_close(sinkhorn(logits, 0.05, iterations=iterations).sum(1), np.ones(8))
  many = sinkhorn(logits, 0.05, iterations=100)
  assert_close(many.sum(0), np.full(4, 2), rtol=1e-3)
  spread = [np.abs(sinkhorn(logits, 0.05, iterations=n).sum(0) - 2).max() for n in (1, 3, 10)]
  assert spread[0] > spread[1] > spread[2]
  few = sinkhorn(logits, 0.05, iterations=3)
  to_rows, to_columns = normal(1, 8, 1), normal(2, 1, 4)
  assert_close(sinkhorn(logits + 7, 0.05, iterations=3), few, rtol=1e-3)
  assert_close(sinkhorn(logits + to_columns, 0.05, iterations=3), few, rtol=1e-3)  # the columns are made equal first
  assert np.abs(sinkhorn(logits + to_rows, 0.05, iterations=3) - few).max() > 1e-2
  assert_close(sinkhorn(logits + to_rows, 0.05, iterations=100), many, rtol=1e-2, atol=1e-3)
  examples, prototypes = np.random.default_rng(3).permutation(8), np.array([2, 0, 3, 1])
  assert_close(sinkhorn(logits[examples][:, prototypes], 0.05, iterations=3), few[examples][:, prototypes])
  assert_close(sinkhorn(2 * logits, 0.1, iterations=3), few)
  # a prototype that all prefer is shared out
  assert_close(sinkhorn(np.tile(basis(4)[:1], (8, 1)), 0.05, iterations=3), np.full((8, 4), 1 / 4))


def test_sinkhorn_is_stable():
  for logits in (normal(0, 6, 4, scale=1e4), np.zeros((6, 4), np.float32), np.full((6, 4), -1e4, np.float32)):
    codes = np.asarray(sinkhorn(logits, 0.05, iterations=3))
    assert np.all(np.isfinite(codes)) and np.all(codes >= 0)
    assert_close(codes.sum(1), np.ones(6))


def test_swav_by_hand():
  logits = np.log(np.array([[[1, 3]], [[1, 1]], [[1, 4]]], np.float32))  # 1/4, 3/4; 1/2, 1/2; 1/5, 4/5
  codes = np.array([[[1, 0]], [[0.5, 0.5]]], np.float32)
  first = -math.log(1 / 2), -math.log(1 / 5)  # the first view's code by the second and the third view
  second = -(math.log(1 / 4) + math.log(3 / 4)) / 2, -(math.log(1 / 5) + math.log(4 / 5)) / 2
  assert_close(swav(logits, codes, temperature=1.0), (sum(first) + sum(second)) / 4)
  hot = -math.log(1 / 17)  # half the temperature squares the odds
  assert_close(swav(logits[[0, 2]], codes[:1], temperature=0.5), hot)
  assert_close(swav(np.zeros((2, 3, 6), np.float32), codes_of(0, 2, 3, 6), temperature=0.1), math.log(6))


def test_swav_limits_and_invariances():
  logits, codes = normal(0, 4, 3, 5), codes_of(1, 2, 3, 5)
  loss = swav(logits, codes, temperature=0.5)
  # DINO's loss of a teacher whose probabilities are the codes
  assert_close(loss, jax.jit(losses.dino)(logits, np.log(codes), center=np.zeros(5, np.float32),
                                          student_temperature=0.5, teacher_temperature=1.0))
  assert_close(swav(logits[[1, 0, 3, 2]], codes[::-1], temperature=0.5), loss)
  assert_close(swav(logits[:, ::-1], codes[:, ::-1], temperature=0.5), loss)
  assert_close(swav(logits[..., ::-1], codes[..., ::-1], temperature=0.5), loss)
  assert_close(swav(logits + normal(2, 4, 3, 1), codes, temperature=0.5), loss)
  assert_close(swav(logits, codes, temperature=1e4), math.log(5), rtol=1e-3)
  moved = logits + 0
  moved[0] += normal(3, 3, 5)  # with one code, its own view is not asked
  assert_close(swav(moved, codes[:1], temperature=0.5), swav(logits, codes[:1], temperature=0.5))
  assert abs(swav(logits, codes[::-1], temperature=0.5) - loss) > 1e-2
  # codes of the same scores: what SwAV differentiates
  through = jax.grad(lambda x: swav(x, jnp.stack([sinkhorn(y, 0.5, iterations=3) for y in x[:2]]),
                                    temperature=0.5))(logits)
  constant = jax.grad(swav)(logits, jnp.stack([sinkhorn(y, 0.5, iterations=3) for y in logits[:2]]), temperature=0.5)
  assert_close(through, constant)


def test_swav_is_finite():
  codes = codes_of(0, 2, 3, 4)
  one_hot = basis(4)[np.random.default_rng(1).integers(0, 4, (2, 3), np.int32)]
  logits = normal(2, 3, 3, 4, scale=1e4)
  for target in (codes, one_hot):
    assert_finite(lambda x, target=target: swav(x, target, temperature=0.01), (logits,), (0 * logits,),
                  (-np.abs(logits),))
  assert_close(swav(logits, one_hot, temperature=0.1), swav_twin.swav(logits, one_hot, 0.1))  # about 1e5


def test_sinkhorn_without_iterations_is_refused():
  with pytest.raises(ValueError, match='0'):
    sinkhorn(Z1, 0.05, iterations=0)
