"""Multi-instance prediction of codes against its twin: arXiv:2110.03091, section 4, with the authors' weights.

The whole, and its loss, weighted and not, against their twins; the loss by hand.
"""
import math
from functools import partial

import numpy as np
import pytest

from pretrain.objectives.multi_instance import multi_instance, multi_instance_loss
from pretrain.views.fractal_scenes import fractal_scenes
from tests import cases
from tests.checks import assert_close, assert_gradient, assert_half_precision, normal
from tests.reference.networks import Tiny, linear
from tests.twin import Twin, check, copied, tiny

B, CLASSES = 5, 4


def batch(rng):
  """Images that show 1, 2 or 3 of the codes."""
  present = np.zeros((B, CLASSES), bool)
  for row, count in zip(present, (1, 2, 3, 1, 3), strict=True):
    row[rng.permutation(CLASSES)[:count]] = True
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'present': present}


def twin(params, stopped, memory, batch, draws, step, weighted=True):
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
        loss -= (CLASSES / batch['present'][i].sum() if weighted else 1) * np.log(p)
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


def test_its_twin_without_weights():
  check(TWIN._replace(objective=multi_instance(tiny(), classes=CLASSES, weighted=False),
                      twin=partial(twin, weighted=False)))


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(logits, present, weighted):
  """Mean over the batch and the N codes of -w y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)), arXiv:2110.03091.

  The paper's binary cross-entropy (section 4, from memory). weighted=True is the authors' code (multilabel.py):
  w = N / max(number of codes in the image, 1), image by image, so that the few present weigh as much as the absent;
  weighted=False: w = 1. A code that is drawn twice is present once. Both are means over b and N (torch's default
  reduction), not divided by the weights.

  Args:
    logits: [b, N].
    present: bool [b, N].
    weighted: bool.

  Returns:
    float.
  """
  total = 0.0
  for row, shown in zip(logits, present, strict=True):
    count = sum(bool(y) for y in shown)
    weight = len(row) / max(count, 1) if weighted else 1.0
    for z, y in zip(row, shown, strict=True):
      z = float(z)
      z, factor = (z, weight) if y else (-z, 1.0)
      total += factor * (max(-z, 0.0) + math.log1p(math.exp(-abs(z))))  # -log sigmoid(z)
  return total / (len(logits) * len(logits[0]))


def test_its_loss():
  logits = normal(0, 5, 7, scale=2)
  present = (np.random.default_rng(0).uniform(size=(5, 7)) < 0.4)
  present[0] = False  # an image without any
  for weighted in (True, False):
    loss, slow = partial(multi_instance_loss, weighted=weighted), partial(loss_twin, weighted=weighted)
    assert_close(loss(logits, present), slow(logits, present))
    assert_gradient(lambda z, loss=loss: loss(z, present), lambda z, slow=slow: slow(z, present), logits)
    assert_half_precision(lambda z, loss=loss: loss(z, present), lambda z, slow=slow: slow(z, present), logits)
    assert np.isfinite(loss(np.float32([[1e4, -1e4]]), np.array([[False, True]])))
  # even logits: log 2 a code, and the one code of two weighs double
  one = np.array([[True, False]])
  assert_close(multi_instance_loss(np.zeros((1, 2), np.float32), one, weighted=False), np.log(2))
  assert_close(multi_instance_loss(np.zeros((1, 2), np.float32), one, weighted=True), 1.5 * np.log(2))
  with pytest.raises(ValueError, match='equal shapes'):
    multi_instance_loss(logits, present[:, :3], weighted=True)
