"""VICReg: arXiv:2105.04906v3, section 4, eq. 1 to 6; the means of main_vicreg.py.

The whole and the loss against their twins, points by hand, invariances.
"""
import math

import jax
import numpy as np
import pytest

from pretrain.objectives.vicreg import vicreg, vicreg_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import HADAMARD, PAIRS, Z1, Z2, Loss, assert_close, check_loss, normal
from tests.reference.networks import Tiny, layout, mlp
from tests.twin import Twin, check, copied, tiny

B, DIM, INVARIANCE, VARIANCE, COVARIANCE = 5, 4, 0.7, 0.5, 0.3


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['expander'], statistics['expander']) == [(6, 8, 'norm gain offset'), (8, DIM, '')]
  z = []
  for v, (_, noise) in enumerate(draws):
    h = Tiny(params['backbone'], statistics['backbone'])(batch['views'][:, v], True, noise)
    z.append(mlp(params['expander'], statistics['expander'], h, True))
  same = sum((z[0][i, j] - z[1][i, j]) ** 2 for i in range(B) for j in range(DIM)) / (B * DIM)
  hinges, decorrelated = [], 0.
  for x in z:
    for i in range(DIM):
      for j in range(DIM):
        c = sum((x[:, i] - x[:, i].mean()) * (x[:, j] - x[:, j].mean())) / (B - 1)
        if i == j:
          hinges.append(max(0., 1 - np.sqrt(c + 1e-4)))
        else:
          decorrelated += c ** 2 / DIM
  assert 0 < sum(hinge == 0 for hinge in hinges) < len(hinges)
  varied = sum(hinges) / (2 * DIM)
  return (INVARIANCE * same + VARIANCE * varied + COVARIANCE * decorrelated,
          {'invariance': same, 'variance': varied, 'covariance': decorrelated},
          lambda params: (params, {'statistics': statistics}))


MADE = vicreg(tiny(), hidden=(8,), dim=DIM, invariance=INVARIANCE, variance=VARIANCE, covariance=COVARIANCE)


def wide(key):
  """Parameters with which some features vary enough, others do not."""
  params, memory = MADE.init(key)
  expander = jax.tree.map(lambda x: x * 2 if x.shape == (8, DIM) else x, params['expander'])
  return params | {'expander': expander}, memory


EVERY = {'loss', 'invariance', 'variance', 'covariance'}
CASE = cases.Case(dict(hidden=(64,), dim=16, invariance=0.5, variance=0.5, covariance=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    MADE._replace(init=wide), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), moves={'views/0': EVERY, 'views/1': EVERY})


def test_its_twin():
  check(TWIN)


# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(vicreg_loss)


def hinge(z):
  """v(Z) = 1/d sum_j max(0, 1 - sqrt(Var(z^j) + 1e-4)), arXiv:2105.04906v3 eq. 1 and 2; the variance is unbiased."""
  b, d = z.shape
  total = 0.0
  for j in range(d):
    mean = sum(z[:, j]) / b
    variance = sum((value - mean) ** 2 for value in z[:, j]) / (b - 1)
    total += max(0.0, 1 - math.sqrt(variance + 1e-4)) / d
  return total


def off_diagonal(z):
  """c(Z) = 1/d sum_{i != j} C(Z)_ij^2 with C(Z) = 1/(b-1) sum_n (z_n - mean)(z_n - mean)^T, eq. 3 and 4."""
  b, d = z.shape
  centered = z - sum(z) / b
  total = 0.0
  for i in range(d):
    for j in range(d):
      if i != j:
        total += (sum(centered[n, i] * centered[n, j] for n in range(b)) / (b - 1)) ** 2 / d
  return total


def loss_twin(z1, z2, invariance, variance, covariance):
  """invariance s + variance v + covariance c, arXiv:2105.04906v3 eq. 5 and 6 in the authors' units.

  In their code, whose weights 25, 25, 1 the paper reports, s is also divided by d (a mean of squares over batch and
  features; eq. 5 divides by b alone) and v is the mean of both views' hinges (eq. 6 adds them); c adds both views.

  Args:
    z1, z2: [b, d].
    invariance, variance, covariance: floats, the weights.

  Returns:
    (loss, {'invariance': s, 'variance': v, 'covariance': c}), floats.
  """
  z1, z2 = np.asarray(z1, np.float64), np.asarray(z2, np.float64)
  b, d = z1.shape
  s = 0.0
  for n in range(b):
    for j in range(d):
      s += (z1[n, j] - z2[n, j]) ** 2 / (b * d)
  v = hinge(z1) / 2 + hinge(z2) / 2
  c = off_diagonal(z1) + off_diagonal(z2)
  loss = invariance * s + variance * v + covariance * c
  return loss, {'invariance': s, 'variance': v, 'covariance': c}


LOSS = Loss(
    jit_loss, loss_twin,
    points=[(normal(0, 3, 2), normal(1, 3, 2), 25.0, 25.0, 1.0),
            (normal(2, 5, 4, scale=3), normal(3, 5, 4) + 2, 1.0, 2.0, 3.0),
            (normal(4, 8, 3, scale=0.1), normal(5, 8, 3, scale=0.8), 0.5, 2.0, 1.0)],
    extremes=[(*pair, 25.0, 25.0, 1.0) for pair in PAIRS],
    refused=[((Z1, normal(0, 1, 8), 1.0, 1.0, 1.0), ['(4, 8)', '(1, 8)']),
             ((Z1[:1], Z2[:1], 1.0, 1.0, 1.0), ['1'])])


def test_loss():
  check_loss(LOSS)


@pytest.mark.parametrize('seed', [0, 1])
def test_vicreg_terms_equal_twin(seed):
  z1, z2 = normal(seed, 5, 3, scale=0.7), normal(seed + 2, 5, 3, scale=0.9)
  loss, terms = jit_loss(z1, z2, invariance=2.0, variance=3.0, covariance=0.5)
  _, wanted = loss_twin(z1, z2, 2.0, 3.0, 0.5)
  assert set(terms) == set(wanted) and min(wanted.values()) > 0
  for name, value in wanted.items():
    assert_close(terms[name], value)
  assert_close(loss, 2 * terms['invariance'] + 3 * terms['variance'] + 0.5 * terms['covariance'])


def test_vicreg_by_hand():
  def terms(z1, z2):
    _, found = jit_loss(z1, z2, invariance=1.0, variance=1.0, covariance=1.0)
    return [found[name] for name in ('invariance', 'variance', 'covariance')]

  spread, flat = 2 * HADAMARD, np.zeros((4, 3), np.float32)
  assert_close(terms(spread, spread), [0, 0, 0])  # equal, of standard deviations above 1, not correlated
  assert_close(terms(spread, spread + 3), [9, 0, 0])  # a mean over features, not a sum
  assert_close(terms(flat, flat), [0, 0.99, 0])  # collapse: the root of 1e-4 is 0.01
  assert_close(terms(flat, spread), [4, 0.99 / 2, 0])
  # unbiased variances and covariances: 2 of the one, 1/2 of the other
  one, other = np.array([[1, 1], [-1, -1]], np.float32), np.array([[0.5, 0.5], [-0.5, -0.5]], np.float32)
  assert_close(terms(one, other), [1 / 4, (1 - math.sqrt(0.5001)) / 2, 2 * 4 / 2 + 2 * 0.25 / 2])
  assert_close(jit_loss(one, other, invariance=25.0, variance=0.0, covariance=2.0)[0],
               25 / 4 + 2 * (2 * 4 / 2 + 2 * 0.25 / 2))


def test_vicreg_invariances():
  z1, z2 = normal(0, 6, 4, scale=0.7), normal(1, 6, 4, scale=0.7)
  weights = dict(invariance=2.0, variance=3.0, covariance=0.5)
  loss, terms = jit_loss(z1, z2, **weights)
  order, features = np.array([3, 0, 5, 1, 4, 2]), np.array([2, 0, 3, 1])
  assert_close(jit_loss(z2, z1, **weights)[0], loss)
  assert_close(jit_loss(z1[order], z2[order], **weights)[0], loss)
  assert_close(jit_loss(z1[:, features], z2[:, features], **weights)[0], loss)
  assert_close(jit_loss(z1 + normal(2, 1, 4), z2, **weights)[1]['covariance'], terms['covariance'], rtol=1e-4)
  shuffled = jit_loss(z1, z2[order], **weights)[1]
  assert_close([shuffled['variance'], shuffled['covariance']], [terms['variance'], terms['covariance']])
  assert abs(shuffled['invariance'] - terms['invariance']) > 1e-2
  assert_close(jit_loss(3 * z1, 3 * z2, **weights)[1]['invariance'], 9 * terms['invariance'])
  assert_close(jit_loss(z1, z2, invariance=1.0, variance=0.0, covariance=0.0)[0], np.mean((z1 - z2) ** 2))
