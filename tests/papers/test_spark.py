"""SparK as a whole against its twin: arXiv:2301.03580, section 3, and the authors' spark.py and decoder.py."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.frontends.image import patchify
from pretrain.method.masks import random_mask
from pretrain.models.resnet import resnet, spread
from pretrain.models.vit import vit
from pretrain.objectives.spark import spark
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.checks import assert_close, assert_gradient, normal
from tests.reference.networks import ResNet, batch_norm, conv, doubled, enlarged, masked_batch_norm
from tests.reference.spark import spark_loss
from tests.twin import Twin, check, copied

B, SIDE, PATCH, RATIO, MEAN, STD = 3, 6, 2, 0.35, (0.4, 0.6), (0.3, 0.2)
ROWS = SIDE // PATCH


def batch(rng):
  return {'image': rng.uniform(size=(B, SIDE, SIDE, 2)), 'index': rng.permutation(1000)[:B]}


def seen(draws):
  """The patches that stay, bool[b, 3, 3]: int(9 * 0.65) = 5 of each image, those of the smallest noise."""
  (_, noise), = draws
  visible = np.zeros((B, ROWS * ROWS), bool)
  for row, order in zip(visible, np.argsort(noise, 1), strict=True):
    row[order[:int(len(order) * (1 - RATIO))]] = True
  assert np.all(visible.sum(1) == 5)
  return visible.reshape(B, ROWS, ROWS)


def decode(p, statistics, maps, visible):
  """A U-Net: from the smallest map on, tokens where nothing is seen."""
  x = 0.
  for i, y in enumerate(maps[::-1]):
    here = enlarged(visible, y)
    y = masked_batch_norm(p['norms'][str(i)]['norm'], statistics['norms'][str(i)]['norm'], y, True, here)
    y = np.where(here[..., None], y, p['tokens'][str(i)]['mask_token'])
    x = x + conv(p['projects'][str(i)]['kernel'], y, bias=p['projects'][str(i)]['bias'])
    if str(i) in p['ups']:
      x = doubled(p['ups'][str(i)]['kernel'], x, p['ups'][str(i)]['bias'])
      first, second = str(2 * i), str(2 * i + 1)
      x = conv(p['convs'][first]['kernel'], x)
      x = np.clip(batch_norm(p['conv_norms'][first], statistics['conv_norms'][first], x, True), 0, 6)
      x = conv(p['convs'][second]['kernel'], x)
      x = batch_norm(p['conv_norms'][second], statistics['conv_norms'][second], x, True)
  return conv(p['predict']['kernel'], x, bias=p['predict']['bias'])


def network(params, statistics):
  return ResNet(params['backbone'], statistics['backbone'], mean=MEAN, std=STD)


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  visible, statistics = seen(draws), copied(memory['statistics'])
  maps = network(params, statistics).outputs(batch['image'], True, visible)
  assert [x.shape[1:] for x in maps] == [(6, 6, 3), (3, 3, 6)]
  predicted = decode(params['decoder'], statistics['decoder'], maps, visible)
  pixels = (batch['image'] - MEAN) / STD
  errors = []
  for i, row, column in zip(*np.nonzero(~visible), strict=True):
    here = i, slice(PATCH * row, PATCH * row + PATCH), slice(PATCH * column, PATCH * column + PATCH)
    patch = pixels[here]
    target = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)  # unbiased, as PyTorch's
    errors.append(np.mean((predicted[here] - target) ** 2))
  return np.mean(errors), {}, lambda params: (params, {'statistics': statistics})


def repaint(hidden):
  """Other pixels in what is hidden alone, or in what is seen alone."""
  def change(batch, draws, rng):
    where = enlarged(seen(draws), batch['image']) != hidden
    return batch | {'image': np.where(where[..., None], rng.uniform(size=batch['image'].shape), batch['image'])}

  return change


CASE = cases.Case(dict(mask_ratio=0.5, decoder_width=32), mae_views(size=cases.SIZE, scale=(0.2, 1.)), cases.raw,
                  resnet(depth=18, blocks=(1, 1), width=32, stem='cifar', channels=1, zero_init=False), draws=True)
TWIN = Twin(
    spark(resnet(depth=18, blocks=(1, 1), width=3, stem='cifar', channels=2, zero_init=False, mean=MEAN, std=STD),
          mask_ratio=RATIO, decoder_width=8), batch, twin,
    encode=lambda params, memory, x: network(params, memory['statistics'])(x),
    images=lambda rng: rng.uniform(size=(3, SIDE, SIDE, 2)),
    moves={'image': {'loss'}, 'index': {'loss'}, 'hidden': {'loss'}, 'visible': {'loss'}},
    changes={'hidden': repaint(True), 'visible': repaint(False)})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def test_the_loss_is_that_of_the_twin():
  images, predicted = normal(0, 2, 8, 8, 2), normal(1, 2, 4, 32)
  mask = np.array([[1, 0, 0, 1], [1, 1, 1, 0]], bool)
  loss = lambda p: losses.masked_mse(p, losses.standardize_patches(patchify(images, 4)), mask=mask)
  assert_close(loss(predicted), spark_loss(images, predicted, mask, 4))
  assert_gradient(loss, lambda p: spark_loss(images, p, mask, 4), predicted)
  assert np.all(np.asarray(jax.grad(loss)(jnp.asarray(predicted)))[~mask] == 0)


# --- The objective -------------------------------------------------------------------------------------------------

TINY = dict(depth=18, blocks=(1, 1), width=4, channels=1, zero_init=False)


def test_its_targets_are_of_pixels_that_are_normalised_channel_by_channel():
  """As the backbone sees them: in one patch a channel with a small deviation weighs more."""
  statistics = dict(mean=(0.2, 0.5, 0.7), std=(0.1, 0.2, 0.4))
  made = spark(resnet(**TINY | dict(blocks=(1, 1, 1), channels=3), stem='cifar', **statistics), mask_ratio=0.5,
               decoder_width=8)
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


def test_the_objective_sees_the_visible_pixels_alone():
  """Its gradient in the encoder does not change with the hidden pixels if the targets do not."""
  objective = spark(resnet(**TINY, stem='cifar'), mask_ratio=0.5, decoder_width=8)
  params, memory = jax.jit(objective.init)(jax.random.key(0))
  batch = {'image': jax.random.uniform(jax.random.key(1), (4, 8, 8, 1)), 'index': jnp.arange(4)}
  value = jax.jit(lambda batch, key: objective.loss(params, memory, batch, key, 0)[0])
  one = value(batch, jax.random.key(2))
  # normalised patch by patch: what is added to all pixels of a hidden patch is seen nowhere
  _, mask = random_mask(jax.random.key(2), batch['index'], 16, 0.5)
  lift = jnp.where(spread(mask.reshape(4, 4, 4), batch['image']), 0.25, 0)
  np.testing.assert_allclose(value(batch | {'image': batch['image'] + lift}, jax.random.key(2)), one, rtol=1e-4)
  assert abs(value(batch | {'image': batch['image'] + 0.25 - lift}, jax.random.key(2)) - one) > 1e-4
  assert abs(value(batch, jax.random.key(3)) - one) > 1e-4  # another mask


@pytest.mark.parametrize(('backbone', 'kwargs', 'words'), [
    (vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16), {}, 'wants a backbone with maps'),
    (resnet(**TINY, stem='cifar'), dict(decoder_width=9), 'wanted a decoder width divisible by 2.*nearest is 8'),
    (resnet(**TINY, stem='cifar'), dict(mask_ratio=0.999), 'mask_ratio'),
])
def test_what_is_refused(backbone, kwargs, words):
  with pytest.raises(ValueError, match=words):
    objective = spark(backbone, **dict(mask_ratio=0.5, decoder_width=8) | kwargs)
    params, memory = jax.eval_shape(objective.init, jax.random.key(0))
    jax.eval_shape(lambda p, m: objective.loss(p, m, {'image': jnp.zeros((2, 8, 8, 1)), 'index': jnp.arange(2)},
                                               jax.random.key(0), 0), params, memory)
