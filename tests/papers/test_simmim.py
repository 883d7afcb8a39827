"""SimMIM as a whole against its twin: arXiv:2111.09886v2, section 3, and the authors' simmim.py."""
import math

import jax
import numpy as np

from pretrain import losses
from pretrain.models.vit import vit
from pretrain.objectives.simmim import masked_l1, simmim
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.checks import Loss, assert_close, check_invariances_of_patches, check_loss, normal
from tests.reference.networks import ViT, linear
from tests.twin import Twin, check

B, SIDE, PATCH, SQUARE, RATIO, MEAN, STD = 4, 12, 2, 4, 0.35, (0.4, 0.6), (0.3, 0.2)
SQUARES = SIDE // SQUARE


def batch(rng):
  return {'image': rng.uniform(size=(B, SIDE, SIDE, 2)), 'index': rng.permutation(1000)[:B]}


def backbone(params):
  return ViT(params['backbone'], patch=PATCH, pool='mean', mean=np.array(MEAN), std=np.array(STD))


def mask(noise):
  """What is hidden of 6 x 6 patches, bool[b, 36]: ceil(0.35 * 9) = 4 squares of 2 x 2 patches, of the largest noise."""
  hidden, count = np.zeros((B, SIDE // PATCH, SIDE // PATCH), bool), math.ceil(RATIO * SQUARES ** 2)
  for i in range(B):
    for square in np.argsort(noise[i])[-count:]:
      row, column = square // SQUARES * 2, square % SQUARES * 2
      hidden[i, row:row + 2, column:column + 2] = True
  assert np.all(hidden.sum((1, 2)) == 16)
  return hidden.reshape(B, -1)


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  vit, hidden = backbone(params), mask(noise)
  tokens = vit.patches(vit.encode(vit.embed(batch['image'], hidden, params['mask_token']['mask_token'])))
  predicted, pixels = linear(params['head'], tokens), vit.pixels(batch['image'])
  total = count = 0
  for i, place in zip(*np.nonzero(hidden), strict=True):
    total += np.abs(predicted[i, place] - pixels[i, place]).sum()
    count += pixels.shape[-1]
  return total / count, {}, lambda params: (params, memory)


def repaint(hidden):
  """Other pixels in what is hidden alone, or in what is seen alone."""
  def change(batch, draws, rng):
    (_, noise), = draws
    where = np.kron(mask(noise).reshape(B, 6, 6), np.ones((PATCH, PATCH))) == hidden
    return batch | {'image': np.where(where[..., None], rng.uniform(size=batch['image'].shape), batch['image'])}

  return change


CASE = cases.Case(dict(mask_ratio=0.5, mask_size=4), mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True,
                  backbone=cases.VIT)
TWIN = Twin(
    simmim(vit(image=SIDE, channels=2, patch=PATCH, width=8, depth=2, heads=2, mlp=16, pool='mean', mean=MEAN, std=STD),
           mask_ratio=RATIO, mask_size=SQUARE), batch, twin,
    encode=lambda params, _, x: backbone(params)(x),
    images=lambda rng: rng.uniform(size=(3, SIDE, SIDE, 2)),
    moves={'image': {'loss'}, 'index': {'loss'}, 'hidden': {'loss'}, 'visible': {'loss'}},
    changes={'hidden': repaint(True), 'visible': repaint(False)})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(predicted, target, mask):
  """Mean over the pixels of all hidden patches of the batch of |predicted - target|, arXiv:2111.09886v2 section 3.4.

  L = 1 / Omega(x_M) || y_M - x_M ||_1, Omega being the number of elements.

  Args:
    predicted, target: [b, n, p].
    mask: bool [b, n], True where hidden; at least one is.

  Returns:
    float.
  """
  total, count = 0.0, 0
  for i in range(len(mask)):
    for j in range(len(mask[i])):
      if not mask[i][j]:
        continue
      for p, t in zip(predicted[i][j], target[i][j], strict=True):
        total += abs(float(p) - float(t))
        count += 1
  return total / count


jit_loss = jax.jit(masked_l1)


def hides(seed: int, b: int, n: int):
  """A mask that hides different numbers of patches of the images, at least one."""
  mask = np.random.default_rng(seed).random((b, n)) < 0.5
  mask[0, -1] = True
  return mask


ONE = np.array([[1, 0, 0], [0, 0, 0]], bool)
FAR = normal(0, 2, 3, 4, scale=1e4), normal(1, 2, 3, 4, scale=1e4)
LOSS = Loss(jit_loss, loss_twin, [(normal(0, 1, 2, 3), normal(1, 1, 2, 3), hides(2, 1, 2)),
                                  (normal(3, 3, 4, 2, scale=3), normal(4, 3, 4, 2), hides(5, 3, 4))],
            extremes=[(*FAR, ONE), (FAR[0], FAR[0], ONE), (1e-4 * FAR[0], 0 * FAR[0], ONE)], refused=[
                ((normal(0, 2, 3, 4), normal(1, 2, 3, 1), np.ones((2, 3), bool)), ['(2, 3, 4)', '(2, 3, 1)']),
                ((normal(0, 2, 3, 4), normal(1, 2, 3, 4), np.ones((1, 3), bool)), ['(2, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)


def test_masked_l1_by_hand():
  predicted = np.array([[[1, 3], [9, 9]], [[0, 0], [0, 5]]], np.float32)
  target = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]], np.float32)
  mask = np.array([[True, False], [True, True]])
  assert_close(jit_loss(predicted, target, mask=mask), (0 + 2 + 1 + 1 + 0 + 5) / 6)  # by patch, not by image
  assert_close(jit_loss(predicted, target, mask=~mask), 9)
  gradient = jax.grad(jit_loss)(predicted + 0.5, target, mask=mask)
  assert_close(gradient, np.array([[[1, 1], [0, 0]], [[-1, -1], [1, 1]]]) / 6)


def test_masked_l1_limits_and_invariances():
  predicted, target = normal(0, 3, 4, 5), normal(1, 3, 4, 5)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]], bool)
  check_invariances_of_patches(jit_loss, predicted, target, mask)
  assert_close(jit_loss(3 * predicted, 3 * target, mask=mask), 3 * jit_loss(predicted, target, mask=mask))
  # between half the square and the absolute error: the limit of the smooth L1
  assert_close(losses.smooth_l1(predicted, target, mask=mask, beta=1e-6), jit_loss(predicted, target, mask=mask))
