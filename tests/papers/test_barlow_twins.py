"""Barlow Twins: arXiv:2103.03230v3, section 2.1, eq. 1 and 2; main.py of the authors.

The whole and the loss against their twins, points by hand, invariances.
"""
import math

import jax
import numpy as np

from pretrain.objectives.barlow_twins import barlow_twins, barlow_twins_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import HADAMARD, PAIRS, Z1, Loss, assert_close, check_loss, normal, rotation
from tests.reference.networks import Tiny, layout, projected
from tests.twin import Twin, check, copied, tiny

B, DIM, WEIGHT, SCALE = 5, 4, 0.3, 0.7


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['projector'], statistics['projector']) == [(6, 8, 'norm gain offset'), (8, DIM, '')]
  a, b = (projected(params, statistics, batch['views'][:, v], True, noise) for v, (_, noise) in enumerate(draws))
  loss = 0.
  for i in range(DIM):
    for j in range(DIM):
      x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
      # the authors' BatchNorm adds 1e-5 to each variance
      c = sum(x * y) / B / np.sqrt(sum(x ** 2) / B + 1e-5) / np.sqrt(sum(y ** 2) / B + 1e-5)
      loss += SCALE * ((1 - c) ** 2 if i == j else WEIGHT * c ** 2)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, weight=0.01),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    barlow_twins(tiny(), hidden=(8,), dim=DIM, weight=WEIGHT, scale=SCALE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(barlow_twins_loss)


def standardize(z):
  """Each column less its mean, over the square root of its biased variance + 1e-5: batch normalisation, [b, d]."""
  z = np.asarray(z, np.float64)
  b, d = z.shape
  result = np.zeros_like(z)
  for i in range(d):
    mean = sum(z[:, i]) / b
    variance = sum((value - mean) ** 2 for value in z[:, i]) / b
    result[:, i] = (z[:, i] - mean) / math.sqrt(variance + 1e-5)
  return result


def loss_twin(z1, z2, weight):
  """sum_i (1 - C_ii)^2 + weight sum_i sum_{j != i} C_ij^2, arXiv:2103.03230v3 eq. 1, with C of eq. 2 and algorithm 1.

  C_ij is the correlation over the batch of feature i of the first view with feature j of the second. As in the authors'
  code the features pass a batch normalisation without scale and shift (biased variance, epsilon 1e-5).

  Args:
    z1, z2: [b, d], not normalised.
    weight: float, the paper's lambda.

  Returns:
    float.
  """
  z1, z2 = standardize(z1), standardize(z2)
  b, d = z1.shape
  total = 0.0
  for i in range(d):
    for j in range(d):
      correlation = 0.0
      for n in range(b):
        correlation += z1[n, i] * z2[n, j] / b
      total += (1 - correlation) ** 2 if i == j else weight * correlation ** 2
  return total


LOSS = Loss(
    jit_loss, loss_twin,
    points=[(normal(0, 3, 2), normal(1, 3, 2), 0.5), (normal(2, 5, 4, scale=3), normal(3, 5, 4) + 2, 0.0051),
            (normal(4, 8, 3, scale=0.01), normal(5, 8, 3), 2.0)],
    extremes=[(*pair, 0.005) for pair in PAIRS],
    refused=[((Z1, normal(0, 4, 1), 0.1), ['(4, 8)', '(4, 1)']), ((Z1, normal(0, 3, 8), 0.1), ['(4, 8)', '(3, 8)'])])


def test_loss():
  check_loss(LOSS)


def test_barlow_twins_by_hand():
  z = HADAMARD
  assert_close(jit_loss(z, z, weight=0.5), 0)  # decorrelated and equal
  assert_close(jit_loss(100 * z + 7, z - 3, weight=0.5), 0)
  assert_close(jit_loss(z, -z, weight=0.5), 3 * 4, rtol=1e-4)  # the 1e-5 under the root is seen
  assert_close(jit_loss(z, z[:, [1, 2, 0]], weight=0.5), 3 + 3 * 0.5, rtol=1e-4)
  assert_close(jit_loss(z, np.ones_like(z), weight=0.5), 3)  # a constant feature correlates with nothing
  one = z[:, [0, 0, 0]]  # all correlations 1
  assert_close(jit_loss(one, one, weight=0.5), 6 * 0.5, rtol=1e-4)
  # the variance is biased, and has 1e-5 added: of 1e-5 it leaves half the correlation
  small = np.float32(math.sqrt(1e-5)) * z
  assert_close(jit_loss(small, small, weight=0.5), 3 / 4, rtol=1e-4)


def test_barlow_twins_invariances():
  z1, z2 = normal(0, 8, 4, scale=10), normal(1, 8, 4, scale=10)
  loss = jit_loss(z1, z2, weight=0.1)
  order, features = np.random.default_rng(2).permutation(8), np.array([2, 0, 3, 1])
  assert_close(jit_loss(z2, z1, weight=0.1), loss)
  assert_close(jit_loss(z1[order], z2[order], weight=0.1), loss)
  assert_close(jit_loss(z1[:, features], z2[:, features], weight=0.1), loss)
  assert_close(jit_loss(z1 * np.exp(normal(3, 1, 4)) + normal(4, 1, 4), z2 + 1, weight=0.1), loss, rtol=1e-4)
  assert_close(jit_loss(np.tile(z1, (2, 1)), np.tile(z2, (2, 1)), weight=0.1), loss)
  assert abs(jit_loss(z1, z2[order], weight=0.1) - loss) > 1e-2
  assert abs(jit_loss(z1 @ rotation(5, 4), z2 @ rotation(5, 4), weight=0.1) - loss) > 1e-2
  on, off = jit_loss(z1, z2, weight=0.0), jit_loss(z1, z2, weight=1.0) - jit_loss(z1, z2, weight=0.0)
  assert_close(loss, on + 0.1 * off)
