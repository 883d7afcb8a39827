"""SimSiam as a whole against its twin: arXiv:2011.10566v1, section 3, eq. 1 to 4, algorithm 1; section 4.1.

Its loss against the twin, by hand, and as BYOL's of both views.
"""
import math

import jax
import numpy as np

from pretrain.objectives.byol import byol_loss
from pretrain.objectives.simsiam import simsiam, simsiam_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import PAIRS, Z1, ZERO, Loss, assert_close, basis, check_loss, normal
from tests.reference import vectors
from tests.reference.networks import Tiny, layout, mlp, projected, unit
from tests.twin import Twin, check, copied, tiny

B, DIM = 5, 5


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del step
  statistics, unused = copied(memory['statistics']), copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, 'norm')]
  assert layout(params['predictor'], statistics['predictor']) == [(5, 9, full), (9, 5, 'bias')]
  views = [(batch['views'][:, v], noise) for v, (_, noise) in enumerate(draws)]
  z = [projected(params, statistics, x, True, noise) for x, noise in views]
  p = [mlp(params['predictor'], statistics['predictor'], x, True) for x in z]
  targets = [projected(stopped, unused, x, True, noise) for x, noise in views]

  def distance(p, z):
    return -sum(unit(p[i]) @ unit(z[i]) for i in range(B)) / B

  loss = distance(p[0], targets[1]) / 2 + distance(p[1], targets[0]) / 2
  spread = math.sqrt(DIM) * unit(z[0]).std(0).mean()
  return loss, {'spread': spread}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=3, predictor_hidden=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    simsiam(tiny(), hidden=(8,), dim=DIM, predictor_hidden=9), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss', 'spread'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(p1, z1, p2, z2):
  """D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2, arXiv:2011.10566v1 eq. 4, D the negative cosine of eq. 1.

  Args:
    p1, p2: [b, d], predictions of the two views, not normalised.
    z1, z2: [b, d], projections of the two views, not normalised; constants.

  Returns:
    float.
  """
  total = 0.0
  for p, z in ((p1, z2), (p2, z1)):
    for prediction, projection in zip(vectors.unit(p), vectors.unit(z), strict=True):
      total -= (prediction @ projection) / (2 * len(p))
  return total


jit_loss = jax.jit(simsiam_loss)
LOSS = Loss(jit_loss, loss_twin, [
    (normal(0, 2, 3), normal(1, 2, 3), normal(2, 2, 3), normal(3, 2, 3)),
    (normal(4, 4, 6, scale=3), normal(5, 4, 6), normal(6, 4, 6), normal(7, 4, 6, scale=0.1))],
            moving=(0, 2), extremes=[(p, z, z, p) for p, z in [*PAIRS, (Z1, ZERO)]], refused=[
                ((normal(1, 4, 8), normal(2, 4, 8), normal(1, 4, 8), normal(0, 1, 8)), ['(4, 8)', '(1, 8)']),
                ((normal(1, 4, 8), normal(0, 4, 1), normal(1, 4, 8), normal(2, 4, 8)), ['(4, 8)', '(4, 1)']),
                ((normal(1, 4, 8), normal(1, 4, 8), normal(0, 3, 8), normal(2, 4, 8)), ['(4, 8)', '(3, 8)'])])


def test_its_loss():
  check_loss(LOSS)


def test_simsiam_by_hand():
  one, other = basis(3), basis(3)[[1, 2, 0]]
  assert_close(jit_loss(one, other, p2=other, z2=one), -1)  # each prediction equals the other view's projection
  assert_close(jit_loss(one, one, p2=other, z2=other), 0)
  assert_close(jit_loss(one, other, p2=-other, z2=one), 0)  # the mean of -1 and 1
  assert_close(jit_loss(-2 * one, other, p2=-other, z2=3 * one), 1)
  p, z = np.array([[3, 4]], np.float32), np.array([[2, 0]], np.float32)
  assert_close(jit_loss(p, p, p2=z, z2=z), -(0.6 + 0.6) / 2)
  assert_close(jit_loss(p, z, p2=p, z2=p), -(1 + 0.6) / 2)


def test_simsiam_is_byol_of_both_views():
  p1, z1, p2, z2 = (normal(seed, 4, 6) for seed in range(4))
  loss = jit_loss(p1, z1, p2=p2, z2=z2)
  assert_close(loss, (byol_loss(p1, z2) + byol_loss(p2, z1)) / 4 - 1)
  assert_close(jit_loss(p2, z2, p2=p1, z2=z1), loss)
  assert abs(jit_loss(p1, z2, p2=p2, z2=z1) - loss) > 1e-2
