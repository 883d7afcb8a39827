"""Contrastive, clustering and decorrelating losses against their twins in float64, points by hand, limits, extremes.

Tolerances as in test_losses.py: values to 1e-5, gradients to 1e-4 of their largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives import hard_simclr
from pretrain.objectives.barlow_twins import barlow_twins_loss
from pretrain.objectives.clip import clip_loss
from pretrain.objectives.moco_v2 import moco_loss
from pretrain.objectives.siglip import siglip_loss
from pretrain.objectives.sup_con import sup_con_loss
from pretrain.objectives.vicreg import vicreg_loss
from tests.checks import (
  assert_close,
  assert_finite,
  assert_gradient_in,
  assert_half_precision,
  basis,
  in_order,
  normal,
  rotation,
)
from tests.reference import barlow_twins as barlow_twins_twin
from tests.reference import clip as clip_twin
from tests.reference import moco as moco_twin
from tests.reference import siglip as siglip_twin
from tests.reference import simclr as simclr_twin
from tests.reference import simclr_v2 as simclr_v2_twin
from tests.reference import sup_con as sup_con_twin
from tests.reference import swav as swav_twin
from tests.reference import temperature as temperature_twin
from tests.reference import vicreg as vicreg_twin

# Compiled, as in a training step; temperatures and weights are traced, since they may follow a schedule.
info_nce, moco, sup_con = jax.jit(losses.info_nce), jax.jit(moco_loss), jax.jit(sup_con_loss)
nt_xent = jax.jit(losses.nt_xent)
sinkhorn, swav = jax.jit(losses.sinkhorn, static_argnames='iterations'), jax.jit(losses.swav)
hard, penalties = jax.jit(hard_simclr.hard_nt_xent, static_argnames='share'), jax.jit(hard_simclr.penalties)
remembering = lambda z1, z2, *, queue, temperature: nt_xent(z1, z2, temperature=temperature, queue=queue)
barlow_twins, vicreg = jax.jit(barlow_twins_loss), jax.jit(vicreg_loss)
clip, siglip = jax.jit(clip_loss), jax.jit(siglip_loss)


def integers(seed: int, high: int, *shape: int):
  return np.random.default_rng(seed).integers(0, high, shape, np.int32)


def codes_of(seed: int, *shape: int):
  """Rows that sum to 1."""
  return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)


def vicreg_value(z1, z2, *, invariance, variance, covariance):
  return vicreg(z1, z2, invariance=invariance, variance=variance, covariance=covariance)[0]


def vicreg_twin_value(*arguments):
  return vicreg_twin.vicreg(*arguments)[0]


# (loss, twin, the arguments it is differentiated in, all arguments); the other float arrays are constants.
POINTS = [
  (info_nce, moco_twin.info_nce, (0, 1), (normal(0, 2, 3), normal(1, 5, 3), np.array([4, 0]), 1.0)),
  (info_nce, moco_twin.info_nce, (0, 1), (normal(2, 3, 8, scale=3), normal(3, 3, 8), np.array([2, 2, 1]), 0.1)),
  (info_nce, moco_twin.info_nce, (0, 1), (normal(4, 1, 4), normal(5, 7, 4), np.array([3]), 0.2)),
  (moco, moco_twin.moco, (0,), (normal(0, 2, 3), normal(1, 2, 3), normal(2, 5, 3), 1.0)),
  (moco, moco_twin.moco, (0,), (normal(3, 3, 8, scale=3), normal(4, 3, 8), normal(5, 9, 8), 0.07)),
  (moco, moco_twin.moco, (0,), (normal(6, 1, 4), normal(7, 1, 4), normal(8, 1, 4), 0.2)),
  (remembering, simclr_v2_twin.nt_xent_with_memory, (0, 1), (normal(0, 2, 3), normal(1, 2, 3), normal(2, 4, 3), 1.0)),
  (remembering, simclr_v2_twin.nt_xent_with_memory, (0, 1),
   (normal(3, 4, 8, scale=3), normal(4, 4, 8), normal(5, 9, 8), 0.1)),
  (hard, temperature_twin.hard_nt_xent, (0, 1), (normal(0, 4, 3), normal(1, 4, 3), 1.0, 0.5)),
  (hard, temperature_twin.hard_nt_xent, (0, 1), (normal(2, 5, 8, scale=3), normal(3, 5, 8), 0.1, 0.1)),
  (sup_con, sup_con_twin.sup_con, (0,), (normal(0, 3, 2, 4), np.array([1, 0, 1]), 0.5)),
  (sup_con, sup_con_twin.sup_con, (0,), (normal(1, 5, 1, 3, scale=3), np.array([2, 0, 2, 2, 7]), 0.2)),
  (sup_con, sup_con_twin.sup_con, (0,), (normal(2, 2, 3, 5), np.array([0, 1]), 0.1)),
  (swav, swav_twin.swav, (0,), (normal(0, 2, 3, 4), codes_of(1, 2, 3, 4), 1.0)),
  (swav, swav_twin.swav, (0,), (normal(2, 5, 2, 3, scale=0.3), codes_of(3, 2, 2, 3), 0.1)),
  (swav, swav_twin.swav, (0,), (normal(4, 3, 2, 5, scale=0.3), codes_of(5, 1, 2, 5), 0.2)),
  (barlow_twins, barlow_twins_twin.barlow_twins, (0, 1), (normal(0, 3, 2), normal(1, 3, 2), 0.5)),
  (barlow_twins, barlow_twins_twin.barlow_twins, (0, 1), (normal(2, 5, 4, scale=3), normal(3, 5, 4) + 2, 0.0051)),
  (barlow_twins, barlow_twins_twin.barlow_twins, (0, 1), (normal(4, 8, 3, scale=0.01), normal(5, 8, 3), 2.0)),
  (vicreg_value, vicreg_twin_value, (0, 1), (normal(0, 3, 2), normal(1, 3, 2), 25.0, 25.0, 1.0)),
  (vicreg_value, vicreg_twin_value, (0, 1), (normal(2, 5, 4, scale=3), normal(3, 5, 4) + 2, 1.0, 2.0, 3.0)),
  (vicreg_value, vicreg_twin_value, (0, 1), (normal(4, 8, 3, scale=0.1), normal(5, 8, 3, scale=0.8), 0.5, 2.0, 1.0)),
  (clip, clip_twin.clip, (0, 1, 2), (normal(0, 2, 3), normal(1, 2, 3), np.float32(1))),
  (clip, clip_twin.clip, (0, 1, 2), (normal(2, 5, 4, scale=3), normal(3, 5, 4), np.float32(1 / 0.07))),
  (siglip, siglip_twin.siglip, (0, 1, 2, 3), (normal(0, 2, 3), normal(1, 2, 3), np.float32(1), np.float32(0.3))),
  (siglip, siglip_twin.siglip, (0, 1, 2, 3),
   (normal(2, 5, 4, scale=3), normal(3, 5, 4), np.float32(10), np.float32(-10))),
]
at_points = pytest.mark.parametrize(('loss', 'twin', 'moving', 'arguments'),
                                    [(in_order(loss), *rest) for loss, *rest in POINTS])


@at_points
def test_equals_twin(loss, twin, moving, arguments):
  del moving
  result = loss(*arguments)
  assert result.shape == () and result.dtype == jnp.float32
  assert_close(result, twin(*arguments))


@at_points
def test_gradient(loss, twin, moving, arguments):
  assert_gradient_in(moving, loss, twin, *arguments)


@at_points
def test_half_precision(loss, twin, moving, arguments):
  del moving
  assert_half_precision(loss, twin, *arguments)


# --- InfoNCE and MoCo ----------------------------------------------------------------------------------------------


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


def test_moco_by_hand():
  query = key = basis(2)  # similarity 1 with the own key; the other example's key, similarity 0, is no negative
  queue = -basis(2)[:1]  # similarity -1 and 0
  assert_close(moco(query, key, queue=queue, temperature=1.0),
               (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)
  assert_close(moco(query, -key, queue=queue, temperature=0.5), (math.log(2) + math.log(1 + math.exp(2))) / 2)
  same = np.tile(normal(0, 1, 6), (7, 1))
  assert_close(moco(same[:2], same[:2], queue=same, temperature=0.07), math.log(8))


def test_moco_limits_and_invariances():
  query, key, queue = normal(0, 3, 8), normal(1, 3, 8), normal(2, 5, 8)
  loss = moco(query, key, queue=queue, temperature=0.2)
  alone = [info_nce(query[i:i + 1], np.concatenate([key[i:i + 1], queue]), positive=np.array([0]),
                    temperature=0.2) for i in range(3)]
  assert_close(np.mean(alone), loss)
  assert_close(moco(query, key, queue=queue, temperature=1e4), math.log(6), rtol=1e-3)
  assert_close(moco(query, query, queue=-query, temperature=0.01), moco_twin.moco(query, query, -query, 0.01))
  assert_close(moco(query, key, queue=queue[[3, 0, 4, 2, 1]], temperature=0.2), loss)
  assert_close(moco(query[::-1], key[::-1], queue=queue, temperature=0.2), loss)
  scales = np.exp(normal(3, 3, 1))
  assert_close(moco(query * scales, key / scales, queue=queue, temperature=0.2), loss)
  assert abs(moco(query, key[::-1], queue=queue, temperature=0.2) - loss) > 1e-2
  more = np.concatenate([queue, -queue])  # more negatives, a larger loss
  assert moco(query, key, queue=more, temperature=0.2) > loss + 1e-2


# --- SupCon --------------------------------------------------------------------------------------------------------


def test_sup_con_of_distinct_labels_is_nt_xent():
  for b, temperature in ((2, 1.0), (5, 0.1)):
    z = normal(b, b, 2, 8)
    label = np.arange(10, 10 + b)
    assert_close(sup_con(z, label, temperature=temperature), nt_xent(z[:, 0], z[:, 1], temperature=temperature))


def test_sup_con_by_hand():
  z = basis(2)[[0, 0, 1], None]  # three images of one view: similarities 1 of the first two, 0 with the third
  # the third has no positive and counts 0, but is in the mean and among the others' negatives
  assert_close(sup_con(z, np.array([0, 0, 1]), temperature=1.0), 2 * (math.log(math.e + 1) - 1) / 3)
  # one class: the mean over positives is outside of the logarithm, and the anchor itself in neither sum
  assert_close(sup_con(z, np.array([5, 5, 5]), temperature=1.0), (2 * (math.log(math.e + 1) - 1 / 2) + math.log(2)) / 3)
  assert_close(sup_con(z, np.array([5, 5, 5]), temperature=0.5),
               (2 * (math.log(math.exp(2) + 1) - 1) + math.log(2)) / 3)
  same = np.tile(normal(0, 1, 1, 6), (4, 2, 1))
  assert_close(sup_con(same, np.array([0, 1, 1, 0]), temperature=0.1), math.log(7))
  assert_close(sup_con(normal(0, 4, 1, 6), np.arange(4), temperature=0.1), 0, atol=0)  # nobody has a positive


def test_sup_con_invariances():
  z, label = normal(0, 4, 2, 8), np.array([3, 0, 3, 1])
  loss = sup_con(z, label, temperature=0.2)
  order = np.array([2, 0, 3, 1])
  assert_close(sup_con(z[order], label[order], temperature=0.2), loss)
  assert_close(sup_con(z[:, ::-1], label, temperature=0.2), loss)
  assert_close(sup_con(z, 7 - label, temperature=0.2), loss)  # names of classes do not matter
  assert_close(sup_con(z @ rotation(1, 8), label, temperature=0.2), loss)
  assert_close(sup_con(z * np.exp(normal(2, 4, 2, 1)), label, temperature=0.2), loss)
  # v views of an image are v images of one view
  assert_close(sup_con(z.reshape(8, 1, 8), label.repeat(2), temperature=0.2), loss)
  assert abs(sup_con(z, label[order], temperature=0.2) - loss) > 1e-2
  assert_close(sup_con(z, np.zeros(4, int), temperature=1e4), math.log(7), rtol=1e-3)


# --- Temperature and memory of NT-Xent -----------------------------------------------------------------------------


def test_hard_negatives_by_hand_and_in_their_limits():
  z1 = np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
  positive_and_hardest = [(1, 0.6), (1, 0.6), (1, -0.6)]  # of each pair of equal views; the other view is as hard
  assert_close(hard(z1, z1, temperature=1.0, share=0.25),
               np.mean([math.log1p(math.exp(b - a)) for a, b in positive_and_hardest]))
  one, two = normal(0, 5, 8), normal(1, 5, 8)
  assert_close(hard(one, two, temperature=0.2, share=1.0), nt_xent(one, two, temperature=0.2))
  values = [float(hard(one, two, temperature=0.2, share=share)) for share in (0.1, 0.5, 1.0)]
  assert values == sorted(values) and values[0] < values[2] - 1e-2  # fewer terms in the denominator
  similarity = hard_simclr.negatives(losses.normalize(np.concatenate([one, two])))
  wanted = np.maximum(np.max(similarity, 1) - np.tile((losses.normalize(one) * losses.normalize(two)).sum(1), 2), 0)
  near_0 = nt_xent(one, two, temperature=1e-3), hard(one, two, temperature=1e-3, share=0.1)
  for loss in near_0:  # the triplet loss of the hardest
    assert_close(loss * 1e-3, wanted.mean(), rtol=1e-2)
  for share in (0, 1.5):
    with pytest.raises(ValueError, match=r'in \(0, 1\]'):
      hard_simclr.hard_nt_xent(one, two, temperature=0.2, share=share)


def test_penalties_are_the_shares_of_the_gradient():
  for temperature in (1.0, 0.1):
    z1, z2 = normal(0, 4, 6), normal(1, 4, 6)
    found = penalties(z1, z2, temperature=temperature)
    assert_close(found, temperature_twin.penalties(z1, z2, temperature))
    assert_close(found.sum(1), 1)

    def anchors(similarity, temperature=temperature):  # NT-Xent as a function of the similarities
      logits = jnp.where(jnp.eye(8, dtype=bool), -jnp.inf, similarity / temperature)
      return jnp.sum(jax.nn.logsumexp(logits, 1) - logits[jnp.arange(8), jnp.roll(jnp.arange(8), 4)])

    z = losses.normalize(np.concatenate([z1, z2]))
    gradient = np.asarray(jax.grad(anchors)(z @ z.T))
    positive = gradient[np.arange(8), np.roll(np.arange(8), 4)]
    assert_close(positive, -(gradient.sum(1) - positive), rtol=1e-4)  # as much as that of all negatives together
    assert_close(np.where(found > 0, gradient / -positive[:, None], 0), found, rtol=1e-4)
  hottest, coldest = penalties(z1, z2, temperature=1e4), penalties(z1, z2, temperature=1e-3)
  assert_close(hottest[hottest > 0], 1 / 6, rtol=1e-3)
  assert_close(coldest.max(1), 1, rtol=1e-3)


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


# --- Barlow Twins --------------------------------------------------------------------------------------------------

# Four examples of three features of mean 0 and variance 1, not correlated.
HADAMARD = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)


def test_barlow_twins_by_hand():
  z = HADAMARD
  assert_close(barlow_twins(z, z, weight=0.5), 0)  # decorrelated and equal
  assert_close(barlow_twins(100 * z + 7, z - 3, weight=0.5), 0)
  assert_close(barlow_twins(z, -z, weight=0.5), 3 * 4, rtol=1e-4)  # the 1e-5 under the root is seen
  assert_close(barlow_twins(z, z[:, [1, 2, 0]], weight=0.5), 3 + 3 * 0.5, rtol=1e-4)
  assert_close(barlow_twins(z, np.ones_like(z), weight=0.5), 3)  # a constant feature correlates with nothing
  one = z[:, [0, 0, 0]]  # all correlations 1
  assert_close(barlow_twins(one, one, weight=0.5), 6 * 0.5, rtol=1e-4)
  # the variance is biased, and has 1e-5 added: of 1e-5 it leaves half the correlation
  small = np.float32(math.sqrt(1e-5)) * z
  assert_close(barlow_twins(small, small, weight=0.5), 3 / 4, rtol=1e-4)


def test_barlow_twins_invariances():
  z1, z2 = normal(0, 8, 4, scale=10), normal(1, 8, 4, scale=10)
  loss = barlow_twins(z1, z2, weight=0.1)
  order, features = np.random.default_rng(2).permutation(8), np.array([2, 0, 3, 1])
  assert_close(barlow_twins(z2, z1, weight=0.1), loss)
  assert_close(barlow_twins(z1[order], z2[order], weight=0.1), loss)
  assert_close(barlow_twins(z1[:, features], z2[:, features], weight=0.1), loss)
  assert_close(barlow_twins(z1 * np.exp(normal(3, 1, 4)) + normal(4, 1, 4), z2 + 1, weight=0.1), loss, rtol=1e-4)
  assert_close(barlow_twins(np.tile(z1, (2, 1)), np.tile(z2, (2, 1)), weight=0.1), loss)
  assert abs(barlow_twins(z1, z2[order], weight=0.1) - loss) > 1e-2
  assert abs(barlow_twins(z1 @ rotation(5, 4), z2 @ rotation(5, 4), weight=0.1) - loss) > 1e-2
  on, off = barlow_twins(z1, z2, weight=0.0), barlow_twins(z1, z2, weight=1.0) - barlow_twins(z1, z2, weight=0.0)
  assert_close(loss, on + 0.1 * off)


# --- VICReg --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('seed', [0, 1])
def test_vicreg_terms_equal_twin(seed):
  z1, z2 = normal(seed, 5, 3, scale=0.7), normal(seed + 2, 5, 3, scale=0.9)
  loss, terms = vicreg(z1, z2, invariance=2.0, variance=3.0, covariance=0.5)
  _, wanted = vicreg_twin.vicreg(z1, z2, 2.0, 3.0, 0.5)
  assert set(terms) == set(wanted) and min(wanted.values()) > 0
  for name, value in wanted.items():
    assert_close(terms[name], value)
  assert_close(loss, 2 * terms['invariance'] + 3 * terms['variance'] + 0.5 * terms['covariance'])


def test_vicreg_by_hand():
  def terms(z1, z2):
    _, found = vicreg(z1, z2, invariance=1.0, variance=1.0, covariance=1.0)
    return [found[name] for name in ('invariance', 'variance', 'covariance')]

  spread, flat = 2 * HADAMARD, np.zeros((4, 3), np.float32)
  assert_close(terms(spread, spread), [0, 0, 0])  # equal, of standard deviations above 1, not correlated
  assert_close(terms(spread, spread + 3), [9, 0, 0])  # a mean over features, not a sum
  assert_close(terms(flat, flat), [0, 0.99, 0])  # collapse: the root of 1e-4 is 0.01
  assert_close(terms(flat, spread), [4, 0.99 / 2, 0])
  # unbiased variances and covariances: 2 of the one, 1/2 of the other
  one, other = np.array([[1, 1], [-1, -1]], np.float32), np.array([[0.5, 0.5], [-0.5, -0.5]], np.float32)
  assert_close(terms(one, other), [1 / 4, (1 - math.sqrt(0.5001)) / 2, 2 * 4 / 2 + 2 * 0.25 / 2])
  assert_close(vicreg(one, other, invariance=25.0, variance=0.0, covariance=2.0)[0],
               25 / 4 + 2 * (2 * 4 / 2 + 2 * 0.25 / 2))


def test_vicreg_invariances():
  z1, z2 = normal(0, 6, 4, scale=0.7), normal(1, 6, 4, scale=0.7)
  weights = dict(invariance=2.0, variance=3.0, covariance=0.5)
  loss, terms = vicreg(z1, z2, **weights)
  order, features = np.array([3, 0, 5, 1, 4, 2]), np.array([2, 0, 3, 1])
  assert_close(vicreg(z2, z1, **weights)[0], loss)
  assert_close(vicreg(z1[order], z2[order], **weights)[0], loss)
  assert_close(vicreg(z1[:, features], z2[:, features], **weights)[0], loss)
  assert_close(vicreg(z1 + normal(2, 1, 4), z2, **weights)[1]['covariance'], terms['covariance'], rtol=1e-4)
  shuffled = vicreg(z1, z2[order], **weights)[1]
  assert_close([shuffled['variance'], shuffled['covariance']], [terms['variance'], terms['covariance']])
  assert abs(shuffled['invariance'] - terms['invariance']) > 1e-2
  assert_close(vicreg(3 * z1, 3 * z2, **weights)[1]['invariance'], 9 * terms['invariance'])
  assert_close(vicreg(z1, z2, invariance=1.0, variance=0.0, covariance=0.0)[0], np.mean((z1 - z2) ** 2))


# --- CLIP and SigLIP -----------------------------------------------------------------------------------------------


def test_clip_by_hand():
  for b, scale in ((2, 1.0), (5, 3.0)):
    assert_close(clip(basis(b), basis(b), scale=scale), math.log(1 + (b - 1) * math.exp(-scale)))
  # logits [[1, 0], [1, 0]]: of the images log(1 + 1/e) and log(1 + e), of the texts log(2) twice
  image, text = basis(2)[[0, 0]], basis(2)
  images = (math.log(1 + 1 / math.e) + math.log(1 + math.e)) / 2
  assert_close(clip(image, text, scale=1.0), (images + math.log(2)) / 2)
  same = np.tile(normal(0, 1, 6), (5, 1))
  assert_close(clip(same, same, scale=100.0), math.log(5))


def test_clip_is_the_mean_of_two_cross_entropies():
  image, text, own = normal(0, 5, 8), normal(1, 5, 8), np.arange(5)
  by_image = info_nce(image, text, positive=own, temperature=0.1)
  by_text = info_nce(text, image, positive=own, temperature=0.1)
  assert abs(by_image - by_text) > 1e-2
  assert_close(clip(image, text, scale=10.0), (by_image + by_text) / 2)


@pytest.mark.parametrize('loss', [partial(clip, scale=5.0), partial(siglip, scale=5.0, bias=-2.0)])
def test_clip_and_siglip_invariances(loss):
  image, text = normal(0, 5, 8), normal(1, 5, 8)
  value = loss(image, text)
  order, scales, turn = np.array([3, 0, 4, 1, 2]), np.exp(normal(2, 5, 1)), rotation(3, 8)
  assert_close(loss(text, image), value)
  assert_close(loss(image[order], text[order]), value)
  assert_close(loss(scales * image, text / scales), value)
  assert_close(loss(image @ turn, text @ turn), value)
  assert abs(loss(image, text[order]) - value) > 1e-2


def test_siglip_by_hand():
  image, text = np.array([[3, 4]], np.float32), np.array([[1, 0]], np.float32)  # cosine 0.6
  # one pair: softplus of minus the logit
  assert_close(siglip(image, text, scale=2.0, bias=-0.2), math.log(1 + math.exp(-1)))
  for b in (1, 4):  # at logits of 0 each of the b^2 pairs costs log(2), over b
    assert_close(siglip(normal(0, b, 3), normal(1, b, 3), scale=0.0, bias=0.0), b * math.log(2))
  # the paper's start, scale 10 and bias -10: logits 0 of the pairs and -10 of the others
  for b in (2, 5):
    assert_close(siglip(basis(b), basis(b), scale=10.0, bias=-10.0), math.log(2) + (b - 1) * math.log1p(math.exp(-10)))
    assert_close(siglip(basis(b), -basis(b), scale=10.0, bias=10.0), math.log(2) + (b - 1) * math.log1p(math.exp(10)))


# --- extremes ------------------------------------------------------------------------------------------------------

SAME, ZERO = np.tile(normal(0, 1, 8), (4, 1)), np.zeros((4, 8), np.float32)
Z1, Z2 = normal(1, 4, 8), normal(2, 4, 8)
DEAD = Z1 * (np.arange(4) > 0)[:, None].astype(np.float32)  # one row of zeros
PAIRS = [(1e4 * Z1, 1e4 * Z2), (1e-4 * Z1, 1e-4 * Z2), (Z1, -Z1), (Z1, Z1), (SAME, SAME), (SAME, -SAME), (ZERO, ZERO),
         (DEAD, Z2), (Z2, DEAD), (ZERO, Z1)]


OF_PAIRS = {
  'nt_xent': partial(nt_xent, temperature=0.01),
  'info_nce': lambda x, y: info_nce(x, y, positive=np.array([1, 0, 3, 3]), temperature=0.01),
  'moco_key': lambda x, y: moco(x, y, queue=Z2, temperature=0.01),
  'moco_queue': lambda x, y: moco(x, Z2, queue=y, temperature=0.01),
  'sup_con': lambda x, y: sup_con(jnp.stack([x, y], 1), np.array([0, 1, 0, 2]), temperature=0.01),
  'barlow_twins': partial(barlow_twins, weight=0.005),
  'vicreg': lambda x, y: vicreg_value(x, y, invariance=25.0, variance=25.0, covariance=1.0),
  'clip': partial(clip, scale=1e4),
  'siglip_scale': partial(siglip, scale=1e4, bias=-10.0),
  'siglip_bias': partial(siglip, scale=1.0, bias=1e4),
}


@pytest.mark.parametrize('name', OF_PAIRS)
def test_finite(name):
  assert_finite(OF_PAIRS[name], *PAIRS)


def test_finite_in_scale_and_bias():
  for x, y in PAIRS:
    assert_finite(lambda scale, x=x, y=y: clip(x, y, scale=scale), (1e4,), (0.0,))
  assert_finite(lambda scale, bias: siglip(Z1, Z2, scale=scale, bias=bias), (1e4, 1e4), (1e4, -1e4), (0.0, 0.0))


def test_swav_is_finite():
  codes = codes_of(0, 2, 3, 4)
  one_hot = basis(4)[integers(1, 4, 2, 3)]
  logits = normal(2, 3, 3, 4, scale=1e4)
  for target in (codes, one_hot):
    assert_finite(lambda x, target=target: swav(x, target, temperature=0.01), (logits,), (0 * logits,),
                  (-np.abs(logits),))
  assert_close(swav(logits, one_hot, temperature=0.1), swav_twin.swav(logits, one_hot, 0.1))  # about 1e5


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: info_nce(Z1, normal(0, 4, 7), positive=np.zeros(4, int), temperature=0.1), ['(8,)', '(7,)']),
  (lambda: info_nce(Z1, Z2, positive=np.zeros(3, int), temperature=0.1), ['4', '(3,)']),
  (lambda: info_nce(Z1, Z2, positive=np.zeros(1, int), temperature=0.1), ['4', '(1,)']),
  (lambda: info_nce(Z1[0], Z2, positive=np.zeros(8, int), temperature=0.1), ['(8,)']),
  (lambda: moco(Z1, normal(0, 1, 8), queue=Z2, temperature=0.1), ['(4, 8)', '(1, 8)']),
  (lambda: moco(Z1, Z2, queue=normal(0, 4, 1), temperature=0.1), ['(8,)', '(1,)']),
  (lambda: sup_con(normal(0, 4, 2, 8), np.zeros(8, int), temperature=0.1), ['4', '(8,)']),
  (lambda: sup_con(normal(0, 4, 2, 8), np.zeros(1, int), temperature=0.1), ['4', '(1,)']),
  (lambda: sup_con(Z1, np.zeros(4, int), temperature=0.1), ['(4, 8)']),
  (lambda: sup_con(normal(0, 1, 1, 8), np.zeros(1, int), temperature=0.1), ['1']),
  (lambda: swav(normal(0, 3, 2, 4), codes_of(1, 2, 1, 4), temperature=0.1), ['(2, 4)', '(1, 4)']),
  (lambda: swav(normal(0, 3, 2, 4), codes_of(1, 2, 2, 5), temperature=0.1), ['(2, 4)', '(2, 5)']),
  (lambda: swav(normal(0, 2, 2, 4), codes_of(1, 3, 2, 4), temperature=0.1), ['2', '3']),
  (lambda: swav(normal(0, 1, 2, 4), codes_of(1, 1, 2, 4), temperature=0.1), ['1']),
  (lambda: sinkhorn(Z1, 0.05, iterations=0), ['0']),
  (lambda: barlow_twins(Z1, normal(0, 4, 1), weight=0.1), ['(4, 8)', '(4, 1)']),
  (lambda: barlow_twins(Z1, normal(0, 3, 8), weight=0.1), ['(4, 8)', '(3, 8)']),
  (lambda: vicreg(Z1, normal(0, 1, 8), invariance=1.0, variance=1.0, covariance=1.0), ['(4, 8)', '(1, 8)']),
  (lambda: vicreg(Z1[:1], Z2[:1], invariance=1.0, variance=1.0, covariance=1.0), ['1']),
  (lambda: clip(Z1, normal(0, 1, 8), scale=1.0), ['(4, 8)', '(1, 8)']),
  (lambda: clip(Z1, normal(0, 5, 8), scale=1.0), ['(4, 8)', '(5, 8)']),
  (lambda: siglip(Z1, normal(0, 4, 1), scale=1.0, bias=0.0), ['(4, 8)', '(4, 1)']),
  (lambda: siglip(Z1, normal(0, 5, 8), scale=1.0, bias=0.0), ['(4, 8)', '(5, 8)']),
])
def test_shapes_that_do_not_fit_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
