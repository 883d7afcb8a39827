"""BYOL as a whole against its twin: arXiv:2006.07733v3, section 3.1, eq. 1 to 4, algorithm 1."""
import math

from pretrain.objectives.byol import byol
from pretrain.views.byol import byol as byol_views
from tests import cases
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
