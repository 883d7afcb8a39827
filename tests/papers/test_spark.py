"""SparK as a whole against its twin: arXiv:2301.03580, section 3, and the authors' spark.py and decoder.py."""
import numpy as np

from pretrain.models.resnet import resnet
from pretrain.objectives.spark import spark
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.reference.networks import ResNet, batch_norm, conv, doubled, enlarged, masked_batch_norm
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
