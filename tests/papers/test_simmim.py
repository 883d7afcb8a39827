"""SimMIM as a whole against its twin: arXiv:2111.09886v2, section 3, and the authors' simmim.py."""
import math

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.simmim import simmim
from pretrain.views.mae import mae as mae_views
from tests import cases
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
