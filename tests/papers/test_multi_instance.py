"""Multi-instance prediction of codes against its twin: arXiv:2110.03091, section 4, with the authors' weights."""
import numpy as np

from pretrain.objectives.multi_instance import multi_instance
from pretrain.views.fractal_scenes import fractal_scenes
from tests import cases
from tests.reference.networks import Tiny, linear
from tests.twin import Twin, check, copied, tiny

B, CLASSES = 5, 4


def batch(rng):
  """Images that show 1, 2 or 3 of the codes."""
  present = np.zeros((B, CLASSES), bool)
  for row, count in zip(present, (1, 2, 3, 1, 3), strict=True):
    row[rng.permutation(CLASSES)[:count]] = True
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'present': present}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  features = Tiny(params['backbone'], statistics['backbone'])(batch['image'], True, noise)
  logits = linear(params['head']['linear'], features)
  loss, right = 0., 0
  for i in range(B):
    right += batch['present'][i, np.argmax(logits[i])]
    for code in range(CLASSES):
      p = 1 / (1 + np.exp(-logits[i, code]))
      if batch['present'][i, code]:
        loss -= CLASSES / batch['present'][i].sum() * np.log(p)
      else:
        loss -= np.log(1 - p)
  metrics = {'accuracy': right / B}
  return loss / (B * CLASSES), metrics, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(classes=cases.CLASSES, weighted=True),
                  fractal_scenes(size=cases.SIZE, channels=1, points=128, codes=cases.CLASSES, seed=0,
                                 instances=(1, 3)))
TWIN = Twin(
    multi_instance(tiny(), classes=CLASSES, weighted=True), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'image': {'loss'}, 'others': {'loss', 'accuracy'}},
    changes={'others': lambda batch, *_: batch | {'present': ~batch['present']}})


def test_its_twin():
  check(TWIN)
