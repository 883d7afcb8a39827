"""S4L-Rotation as a whole against its twin: arXiv:1905.03670v2, section 3.1, eq. 1 to 3; rotation.py.

Its loss against the twin, and by hand.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.objectives.s4l import s4l, s4l_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, check_loss, normal
from tests.reference import supervised as slow
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


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(labeled, label, turned_labeled, turned_unlabeled, rotation_weight):
  """L_l + w L_rot, arXiv:1905.03670v2 eq. 1: means over images and their four turns; of L_rot the mean of two.

  Args:
    labeled: [b, 4, k] logits.
    label: int [b].
    turned_labeled, turned_unlabeled: [b, 4, 4], [u, 4, 4] logits; the class of a turn is its place.
    rotation_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = 0.0
  for rows, wanted in zip(labeled, label, strict=True):
    for row in rows:
      supervised -= slow.log_softmax(row)[int(wanted)] / (4 * len(labeled))
  rotation = 0.0
  for images in (turned_labeled, turned_unlabeled):
    for rows in images:
      for turn in range(4):
        rotation -= slow.log_softmax(rows[turn])[turn] / (4 * len(images)) / 2
  return supervised + rotation_weight * rotation, {'supervised': supervised, 'consistency': rotation}


jit_loss = jax.jit(s4l_loss)
LOSS = Loss(jit_loss, loss_twin, [(normal(7, 2, 4, 5), few.labels(7, 2, 5), normal(8, 2, 4, 4), normal(9, 3, 4, 4),
                                   0.7)], moving=(0, 2, 3), halves=(0, 2, 3))


def test_its_loss():
  check_loss(LOSS)

  def extreme(x, _, s):
    turned = jnp.stack([s[:, :1] * jnp.ones(4)] * 4, 1)
    return jit_loss(jnp.stack([x[0]] * 4, 1), x[1], turned_labeled=turned[:2], turned_unlabeled=turned,
                    rotation_weight=1.0)

  few.check_finite(extreme)


def test_s4l_by_hand():
  labeled = np.tile(few.odds([3, 1]), (1, 4, 1))
  sure = 1e3 * np.eye(4, dtype=np.float32)[None]
  loss, terms = jit_loss(labeled, np.array([1]), turned_labeled=sure, turned_unlabeled=np.zeros((2, 4, 4), np.float32),
                         rotation_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], math.log(4) / 2)  # nothing of the labeled, chance of the others
  assert_close(loss, math.log(4) + 1.5 * math.log(4))


# --- The objective -------------------------------------------------------------------------------------------------

def test_its_average():
  few.check_average('s4l', CASE, 'shared')
