"""MAE: arXiv:2111.06377v3, section 3, and the authors' models_mae.py, main_pretrain.py.

The whole against its twin, with standardised and with plain pixels. Its loss is of tests/test_losses_masked.py.
"""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.method.masks import random_mask
from pretrain.models.vit import vit
from pretrain.objectives.mae import mae
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.checks import assert_close
from tests.reference.networks import ViT, patch_decoder
from tests.reference.spark import spark_loss
from tests.twin import Twin, check

B, SIDE, PATCH, RATIO, MEAN, STD = 4, 6, 2, 0.6, (0.4, 0.6), (0.3, 0.2)


def batch(rng):
  return {'image': rng.uniform(size=(B, SIDE, SIDE, 2)), 'index': rng.permutation(1000)[:B]}


def backbone(params):
  return ViT(params['backbone'], patch=PATCH, mean=np.array(MEAN), std=np.array(STD))


def shown(noise):
  """The patches that stay of each example: int(9 * 0.4) = 3, those of the smallest noise, in its order."""
  return np.argsort(noise, 1)[:, :int(noise.shape[1] * (1 - RATIO))]


def mae_loss(params, images, noise, standardize=True):
  """The mean of the squared errors of all pixels of hidden patches; `standardize`: by a patch's mean and variance."""
  vit, visible = backbone(params), shown(noise)
  tokens = vit.embed(images)
  encoded = vit.encode(np.stack([tokens[i, places] for i, places in enumerate(visible)]))
  predicted = patch_decoder(params['decoder'], encoded, visible, SIDE // PATCH, SIDE // PATCH)
  errors = []
  for i, patches in enumerate(vit.pixels(images)):
    for place, patch in enumerate(patches):
      if place not in visible[i]:
        unbiased = patch.var(ddof=1)  # as PyTorch's
        target = (patch - patch.mean()) / np.sqrt(unbiased + 1e-6) if standardize else patch
        errors.append(np.mean((predicted[i, place] - target) ** 2))
  assert len(errors) == B * 6
  return np.mean(errors)


def twin(params, stopped, memory, batch, draws, step, standardize=True):
  del stopped, step
  (_, noise), = draws
  return mae_loss(params, batch['image'], noise, standardize), {}, lambda params: (params, memory)


def repaint(hidden):
  """Other pixels in what is hidden alone, or in what is seen alone."""
  def change(batch, draws, rng):
    (_, noise), = draws
    images = batch['image'].copy()
    for i, places in enumerate(shown(noise)):
      for place in range(9):
        if (place not in places) == hidden:
          row, column = place // 3 * PATCH, place % 3 * PATCH
          images[i, row:row + PATCH, column:column + PATCH] = rng.uniform(size=(PATCH, PATCH, 2))
    return batch | {'image': images}

  return change


CASE = cases.Case(dict(mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True),
                  mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True, backbone=cases.VIT)
built = partial(mae, vit(image=SIDE, channels=2, patch=PATCH, width=8, depth=2, heads=2, mlp=16, mean=MEAN, std=STD),
                mask_ratio=RATIO, decoder_width=12, decoder_depth=1, decoder_heads=3)
TWIN = Twin(
    built(standardize=True), batch, twin,
    encode=lambda params, _, x: backbone(params)(x),
    images=lambda rng: rng.uniform(size=(3, SIDE, SIDE, 2)),
    moves={'image': {'loss'}, 'index': {'loss'}, 'hidden': {'loss'}, 'visible': {'loss'}},
    changes={'hidden': repaint(True), 'visible': repaint(False)})


def test_its_twin():
  check(TWIN)


def test_its_twin_of_plain_pixels():
  check(TWIN._replace(objective=built(standardize=False), twin=partial(twin, standardize=False)))


# --- The objective -------------------------------------------------------------------------------------------------

def test_its_targets_are_of_pixels_that_are_normalised_channel_by_channel():
  """As the backbone sees them: in one patch a channel with a small deviation weighs more."""
  statistics = dict(mean=(0.2, 0.5, 0.7), std=(0.1, 0.2, 0.4))
  made = mae(vit(image=8, patch=4, width=16, depth=1, heads=2, mlp=16, channels=3, **statistics), mask_ratio=0.5,
             decoder_width=16, decoder_depth=1, decoder_heads=2, standardize=True)
  params, memory = made.init(jax.random.key(0))
  params['decoder']['predict']['kernel'] *= 0.  # it predicts its bias
  bias = np.array([0.25, -0.5, 1.])
  params['decoder']['predict']['bias'] += np.resize(bias, params['decoder']['predict']['bias'].shape)
  images, index = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32), jnp.arange(3)
  _, mask = random_mask(jax.random.key(1), index, 4, 0.5)
  normalised = (images - np.array(statistics['mean'])) / np.array(statistics['std'])
  wanted = spark_loss(normalised, np.resize(bias, (3, 4, 48)), np.asarray(mask), 4)
  got, _ = made.loss(params, memory, {'image': images, 'index': index}, jax.random.key(1), 0)
  assert_close(got, wanted, rtol=1e-4)
