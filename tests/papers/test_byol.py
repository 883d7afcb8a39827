"""BYOL as a whole and its loss against their twins: arXiv:2006.07733v3, section 3.1, eq. 1 to 4, algorithm 1.

The loss by hand, and what does not change it.
"""
import math

import jax
import numpy as np

from pretrain.objectives.byol import byol, byol_loss
from pretrain.views.byol import byol as byol_views
from tests import cases
from tests.checks import PAIRS, Z1, ZERO, Loss, assert_close, basis, check_loss, normal, rotation
from tests.reference import vectors
from tests.reference.networks import Tiny, averaged, mlp, projected, unit
from tests.twin import Twin, check, copied, tiny

B, STEPS, MOMENTUM = 5, 10, 0.7


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  views = batch['views'][:, 0], batch['views'][:, 1]
  targets = [projected(memory['teacher'], teacher_statistics, x, train=True) for x in views]
  z = [projected(params, statistics, x, True, noise) for x, (_, noise) in zip(views, draws, strict=True)]
  predicted = [mlp(params['predictor'], statistics['predictor'], x, True) for x in z]
  loss = 0.
  for here, there in ((0, 1), (1, 0)):
    for i in range(B):
      loss += (2 - 2 * unit(predicted[here][i]) @ unit(targets[there][i])) / B

  def after(params):
    tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * step / STEPS) + 1) / 2
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics,
                    'teacher': averaged(memory['teacher'], params, tau)}

  return loss, {}, after


CASE = cases.Case(dict(hidden=64, dim=16, predictor_hidden=64, momentum=0.9),
                  byol_views(size=cases.SIZE, scale=(0.3, 1.)))
TWIN = Twin(
    byol(tiny(), hidden=8, dim=5, predictor_hidden=9, momentum=MOMENTUM, steps=STEPS), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(prediction, target):
  """Mean over the batch of ||q/|q| - z/|z| ||^2 = 2 - 2 q.z / (|q| |z|), arXiv:2006.07733v3 eq. 2; one direction.

  Args:
    prediction: [b, d], not normalised.
    target: [b, d], not normalised; constants.

  Returns:
    float.
  """
  prediction, target = vectors.unit(prediction), vectors.unit(target)
  total = 0.0
  for q, z in zip(prediction, target, strict=True):
    total += sum((a - c) ** 2 for a, c in zip(q, z, strict=True))
  return total / len(prediction)


jit_loss = jax.jit(byol_loss)
LOSS = Loss(jit_loss, loss_twin, [(normal(0, 1, 3), normal(1, 1, 3)),
                                  (normal(2, 4, 6, scale=3), normal(3, 4, 6, scale=0.1))],
            moving=(0,), extremes=[*PAIRS, (Z1, ZERO)], refused=[
                ((normal(1, 4, 8), normal(0, 1, 8)), ['(4, 8)', '(1, 8)']),
                ((normal(1, 4, 8), normal(0, 4, 1)), ['(4, 8)', '(4, 1)'])])


def test_its_loss():
  check_loss(LOSS)


def test_byol_by_hand():
  z = normal(0, 4, 6)
  assert_close(jit_loss(z, z), 0)
  assert_close(jit_loss(z, -z), 4)
  assert_close(jit_loss(basis(3), basis(3)[[1, 2, 0]]), 2)
  assert_close(jit_loss(np.array([[3, 4]], np.float32), np.array([[2, 0]], np.float32)), 2 - 2 * 0.6)
  assert_close(jit_loss(basis(2), np.array([[1, 0], [0, -1]], np.float32)), 2)  # the mean of 0 and 4


def test_byol_invariances():
  prediction, target = normal(0, 4, 6), normal(1, 4, 6)
  loss = jit_loss(prediction, target)
  order, scales, turn = np.array([2, 0, 3, 1]), np.exp(normal(2, 4, 1)), rotation(3, 6)
  assert_close(jit_loss(target, prediction), loss)
  assert_close(jit_loss(prediction[order], target[order]), loss)
  assert_close(jit_loss(scales * prediction, target / scales), loss)
  assert_close(jit_loss(prediction @ turn, target @ turn), loss)
  assert abs(jit_loss(prediction[order], target) - loss) > 1e-2
