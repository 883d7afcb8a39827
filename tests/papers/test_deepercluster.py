"""DeeperCluster as a whole against its twin: arXiv:1905.01278, section 4.2; src/trainer.py."""
import numpy as np

from pretrain.objectives.deepercluster import deepercluster
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.reference.networks import Tiny, linear, log_softmax
from tests.twin import Twin, check, copied, tiny

B, CLASSES, SUPER = 12, 4, 2


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.integers(0, CLASSES, B),
          'index': rng.permutation(50)[:B]}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, turns), (_, noise) = draws
  assert len(set(turns)) > 2
  statistics = copied(memory['statistics'])
  turned = np.stack([np.rot90(image, turn) for image, turn in zip(batch['image'], turns, strict=True)])
  h = Tiny(params['backbone'], statistics['backbone'])(turned, True, noise)
  within = CLASSES // SUPER
  coarse, fine, right = 0., 0., 0
  for i in range(B):
    place = batch['label'][i] // within * 4 + turns[i]  # of 2 super-clusters, turned four ways
    cluster = batch['label'][i] % within
    first = linear(params['head']['linear'], h[i])
    second = linear(params['clusters']['linear'], h[i])[place * within:(place + 1) * within]
    coarse -= log_softmax(first)[place] / B
    fine -= log_softmax(second)[cluster] / B
    right += first.argmax() == place and second.argmax() == cluster
  return coarse + fine, {'super': coarse, 'cluster': fine, 'accuracy': right / B}, lambda params: (
      params, {'statistics': statistics})


ALL = {'loss', 'super', 'cluster', 'accuracy'}
CASE = cases.Case(dict(classes=cases.CLASSES, super_clusters=2), supervised_views(size=cases.SIZE, pad=1), draws=True)
TWIN = Twin(
    deepercluster(tiny(), classes=CLASSES, super_clusters=SUPER), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    grown={'head/linear/kernel': 60., 'clusters/linear/kernel': 60.},
    moves={'label': ALL, 'image': ALL, 'index': ALL})


def test_its_twin():
  check(TWIN)
