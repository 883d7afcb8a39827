"""S4L-Rotation as a whole against its twin: arXiv:1905.03670v2, section 3.1, eq. 1 to 3; rotation.py."""
import numpy as np

from pretrain.objectives.s4l import s4l
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, linear, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, WEIGHT, MOMENTUM = 4, 5, 3, 0.7, 0.6


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.integers(0, CLASSES, B),
          'weak': rng.uniform(size=(U, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  turned = np.stack([np.rot90(image, turn) for image in [*batch['image'], *batch['weak']] for turn in range(4)])
  h = Tiny(params['backbone'], statistics['backbone'])(turned, True, noise)
  supervised, rotation = 0., 0.
  for i in range(B + U):
    for turn in range(4):
      row = h[4 * i + turn]
      rotation -= log_softmax(linear(params['rotation']['linear'], row))[turn] / (4 * (B if i < B else U)) / 2
      if i < B:
        supervised -= log_softmax(linear(params['head']['linear'], row))[batch['label'][i]] / (4 * B)

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM)}

  return supervised + WEIGHT * rotation, {'supervised': supervised, 'consistency': rotation}, after


ALL = {'loss', 'supervised', 'consistency'}  # one pass, one set of batch statistics
CASE = cases.Case(dict(classes=cases.CLASSES, rotation_weight=1., ema_momentum=0.9), fixmatch_views(operations=0,
                  cutout_share=0.), cases.streams)
TWIN = Twin(
    s4l(tiny(), classes=CLASSES, rotation_weight=WEIGHT, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    grown={'head/linear/kernel': 60., 'rotation/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': ALL, 'weak': ALL})


def test_its_twin():
  check(TWIN)
