"""data2vec for images as a whole against its twin: arXiv:2202.03555v3, section 3.

Of the authors' beit/engine_for_cyclical.py: how targets are normalised, the teacher's momentum.
"""
import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.data2vec import data2vec
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.reference.block_mask import block_mask
from tests.reference.networks import ViT, averaged, linear
from tests.twin import Twin, check

B, GRID, RATIO, HIDDEN, SMALLEST, LAYERS, BETA = 4, 4, 0.42, 6, 2, 2, 0.7
FIRST, LAST, RAMP = 0.6, 0.8, 4


def batch(rng):
  return {'image': rng.uniform(size=(B, 8, 8, 1)), 'index': rng.permutation(100)[:B]}


def standardize(x):
  mean = x.mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)


def masks(draws):
  (_, rectangles), (_, noise) = draws
  return np.stack([block_mask(rectangles[i], noise[i], GRID, GRID, HIDDEN, smallest=SMALLEST) for i in range(B)])


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  teacher, hidden = memory['teacher'], masks(draws)
  whole = ViT(teacher['backbone'], patch=2)
  outputs = whole.outputs(whole.embed(batch['image']))
  targets = standardize(sum(standardize(whole.patches(x)) for x in outputs[-LAYERS:]) / LAYERS)
  student = ViT(params['backbone'], patch=2)
  seen = student.encode(student.embed(batch['image'], hidden, params['mask_token']['mask_token']))
  predicted = linear(params['head'], student.patches(seen))
  loss, small = 0., 0
  for i in range(B):
    for n in np.flatnonzero(hidden[i]):
      for d in range(8):
        miss = abs(predicted[i, n, d] - targets[i, n, d])
        small += miss < BETA
        loss += (miss ** 2 / (2 * BETA) if miss < BETA else miss - BETA / 2) / (B * HIDDEN * 8)
  assert 0 < small < B * HIDDEN * 8

  def after(params):
    tau = FIRST + (LAST - FIRST) * min(step / RAMP, 1)
    return params, {'teacher': averaged(teacher, params, tau)}

  rows = targets.reshape(-1, 8)
  return loss, {'target_std': np.mean([np.std(rows[:, d]) for d in range(8)])}, after


def other_pixels(which):
  """Draws the pixels of hidden, or of visible, patches again."""
  def change(batch, draws, rng):
    chosen = masks(draws) == which
    places = np.kron(chosen.reshape(B, GRID, GRID), np.ones((2, 2)))[..., None] > 0
    return batch | {'image': np.where(places, rng.uniform(size=batch['image'].shape), batch['image'])}
  return change


CASE = cases.Case(dict(mask_ratio=0.5, smallest_block=1, layers=1, beta=2., momentum_start=0.8, momentum=0.9,
                       momentum_steps=3), mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True, backbone=cases.VIT)
TWIN = Twin(
    data2vec(vit(image=8, channels=1, patch=2, width=8, depth=3, heads=2, mlp=16), mask_ratio=RATIO,
             smallest_block=SMALLEST, layers=LAYERS, beta=BETA, momentum_start=FIRST, momentum=LAST,
             momentum_steps=RAMP), batch, twin,
    encode=lambda params, _, x: ViT(params['backbone'], patch=2)(x),
    images=lambda rng: rng.uniform(size=(3, 8, 8, 1)),
    steps=(0, 1, 5),
    moves={'image': {'loss', 'target_std'}, 'index': {'loss'}, 'hidden': {'loss', 'target_std'},
           'visible': {'loss', 'target_std'}},
    changes={'hidden': other_pixels(True), 'visible': other_pixels(False)})


def test_its_twin():
  check(TWIN)
