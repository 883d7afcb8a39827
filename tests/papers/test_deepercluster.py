"""DeeperCluster as a whole against its twin: arXiv:1905.01278, section 4.2; src/trainer.py.

Its loss against the twin, by hand, and as DeepCluster's; how ids, heads and turns belong together.
"""
import jax
import numpy as np
import pytest

from pretrain.models.vit import vit
from pretrain.objectives.deepercluster import deepercluster, deepercluster_loss
from pretrain.objectives.supervised import supervised
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.checks import Loss, assert_close, assert_finite, check_gradient, check_half_precision, in_order, normal
from tests.reference import supervised as slow
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


# --- The loss ------------------------------------------------------------------------------------------------------

def number_of(super_cluster, rotation, rotations):
  """The number of (super-cluster, rotation): super_cluster rotations + rotation, rotations being 4, or 1 for none.

  As in the authors' code (utils.py), whose processes of one super-cluster lie together, one rotation after another.
  Rotation r is r quarter turns counter-clockwise (numpy.rot90 of rows and columns).
  """
  return super_cluster * rotations + rotation


def hierarchical(super_logits, sub_logits, super_cluster, sub_cluster, rotation, rotations):
  """Mean over the batch of H(V f, y) + sum over s of [s = y] H(W_s f, z), arXiv:1905.01278 section 4.2.

  H is the cross-entropy of the softmax, in nats; y = number_of(super_cluster, rotation, rotations) is one of the m r
  super-classes and z one of the k sub-classes of y. Each super-class has its own sub-class head W_s: with one image's
  rotations z stays the same number (the sub-clusters are found on unrotated images, within each super-cluster), but the
  head that must say it changes. The section's number is from memory; the sum of the two means, unweighted, and the
  numbering are the authors' code's (trainer.py, utils.py).

  Args:
    super_logits: [b, m r], V f.
    sub_logits: [b, m r, k], W_s f of every s; only the row of the true super-class enters.
    super_cluster: int [b] in [0, m).
    sub_cluster: int [b] in [0, k), the number within the super-cluster.
    rotation: int [b] in [0, r).
    rotations: int, r.

  Returns:
    (loss, {'super', 'sub'}), floats.
  """
  terms = {'super': 0.0, 'sub': 0.0}
  for n in range(len(super_logits)):
    y = number_of(int(super_cluster[n]), int(rotation[n]), rotations)
    terms['super'] -= slow.log_softmax(super_logits[n])[y] / len(super_logits)
    for s in range(len(sub_logits[n])):
      if s == y:
        terms['sub'] -= slow.log_softmax(sub_logits[n][s])[int(sub_cluster[n])] / len(super_logits)
  return terms['super'] + terms['sub'], terms


def deepcluster(logits, cluster):
  """Mean cross-entropy of the cluster numbers, arXiv:1807.05520 eq. 1: [b, k], int [b] -> float.

  DeeperCluster's with one super-cluster and one rotation: its super-class term is then zero. The equation's number is
  from memory.
  """
  total = 0.0
  for row, wanted in zip(logits, cluster, strict=True):
    total -= slow.log_softmax(row)[int(wanted)]
  return total / len(logits)


def loss_twin(super_logits, logits, super_class, cluster, rotations=4):
  value, terms = hierarchical(super_logits, logits, super_class // rotations, cluster, super_class % rotations,
                              rotations)
  return value, {'super': terms['super'], 'cluster': terms['sub']}


def point(seed: int, b: int, s: int, k: int):
  rng = np.random.default_rng(seed)
  return normal(seed, b, s, scale=2), normal(seed + 1, b, s, k, scale=2), rng.integers(0, s, b), rng.integers(0, k, b)


SMALL = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
jit_loss = jax.jit(deepercluster_loss)


@pytest.mark.parametrize('arguments', [point(0, 3, 4, 5), point(2, 6, 8, 3)])
def test_its_loss(arguments):
  value, terms = in_order(jit_loss)(*arguments)
  wanted, wanted_terms = loss_twin(*arguments)
  assert_close(value, wanted)
  for name in wanted_terms:  # the accuracy is not the twin's
    assert_close(terms[name], wanted_terms[name])
  check_gradient(Loss(jit_loss, loss_twin, [arguments]))
  check_half_precision(Loss(jit_loss, loss_twin, [arguments]))


def test_points_and_extremes_of_the_loss():
  y, z = np.array([1, 0]), np.array([0, 2])
  even = jit_loss(np.zeros((2, 4), np.float32), np.zeros((2, 4, 3), np.float32), super_class=y, cluster=z)[0]
  assert_close(even, np.log(4) + np.log(3))
  certain = np.zeros((2, 4), np.float32), np.zeros((2, 4, 3), np.float32)
  certain[0][[0, 1], y] = certain[1][[0, 1], y, z] = 50
  value, terms = jit_loss(*certain, super_class=y, cluster=z)
  assert_close(value, 0, atol=1e-6)
  assert terms['accuracy'] == 1
  assert jit_loss(*certain, super_class=y, cluster=np.array([1, 2]))[1]['accuracy'] == 0.5
  assert_finite(lambda u, v: deepercluster_loss(u, v, super_class=y, cluster=z)[0],
                *((scale * certain[0], -scale * certain[1]) for scale in (0, 1e4)))
  with pytest.raises(ValueError, match='equal shapes'):
    deepercluster_loss(np.zeros((2, 3)), np.zeros((2, 4, 3)), super_class=y, cluster=z)


# --- The objective -------------------------------------------------------------------------------------------------

def test_one_rotation_and_one_super_cluster_are_deep_cluster():
  key, k = jax.random.key(0), 5
  data = {'image': np.abs(normal(0, 6, 8, 8, 1)), 'label': np.arange(6) % k, 'index': np.arange(6)}
  deep, plain = deepercluster(SMALL, classes=k, super_clusters=1, rotations=1), supervised(SMALL, classes=k)
  params, memory = deep.init(key)
  value = float(deep.loss(params, memory, data, key, 0)[0])
  assert_close(value, plain.loss({'backbone': params['backbone'], 'head': params['clusters']}, memory, data, key, 0)[0])
  logits = normal(3, 6, k)
  assert_close(jit_loss(np.zeros((6, 1), np.float32), logits[:, None], super_class=np.zeros(6, int),
                        cluster=data['label'])[0],
               deepcluster(logits, data['label']))


def test_ids_permuted_with_the_rows_of_the_heads_leave_the_loss_unchanged():
  key, m, k = jax.random.key(1), 3, 4
  objective = deepercluster(SMALL, classes=m * k, super_clusters=m)
  rng = np.random.default_rng(0)
  data = {'image': np.abs(normal(0, 8, 8, 8, 1)), 'label': rng.integers(0, m * k, 8), 'index': np.arange(8)}
  params, memory = jax.device_get(objective.init(key))
  params['clusters']['linear']['bias'] = normal(5, m * 4 * k)
  value = float(objective.loss(params, memory, data, key, 0)[0])
  first, second = rng.permutation(m), np.stack([rng.permutation(k) for _ in range(m)])  # new ids of the old ones
  label = first[data['label'] // k] * k + second[data['label'] // k, data['label'] % k]
  old = np.argsort(first)
  heads = np.concatenate([4 * s + np.arange(4) for s in old])
  columns = np.concatenate([(4 * s + r) * k + np.argsort(second[s]) for s in old for r in range(4)])
  moved = params | {name: {'linear': {'kernel': params[name]['linear']['kernel'][:, order],
                                      'bias': params[name]['linear']['bias'][order]}}
                    for name, order in (('head', heads), ('clusters', columns))}
  assert_close(objective.loss(moved, memory, data | {'label': label}, key, 0)[0], value)
  assert abs(float(objective.loss(params, memory, data | {'label': label}, key, 0)[0]) - value) > 1e-3


def test_every_image_is_turned_and_says_how():
  """Alone in a batch, an image's loss is that of one of its four turns, by the twin; all four come up."""
  m, k, key = 2, 3, jax.random.key(0)
  objective = deepercluster(SMALL, classes=m * k, super_clusters=m)
  params, memory = objective.init(key)
  image, label = np.abs(normal(0, 8, 8, 1)), 4
  turned = np.stack([np.rot90(image, r) for r in range(4)])
  h = np.asarray(objective.encode(params, memory, turned), np.float64)
  of = lambda name: h @ params[name]['linear']['kernel'] + params[name]['linear']['bias']
  wanted = [loss_twin(of('head')[r:r + 1], of('clusters')[r:r + 1].reshape(1, m * 4, k), np.array([label // k * 4 + r]),
                      np.array([label % k]))[0] for r in range(4)]
  value = jax.jit(jax.vmap(lambda i: objective.loss(params, memory, {
      'image': image[None], 'label': np.array([label]), 'index': i[None]}, key, 0)[0]))(np.arange(40))
  distance = abs(np.asarray(value)[:, None] - np.array(wanted))
  assert distance.min(1).max() < 1e-5 and len(np.unique(distance.argmin(1))) == 4


@pytest.mark.parametrize('options', [dict(super_clusters=4), dict(classes=7)])
def test_what_the_objective_refuses(options):
  with pytest.raises(ValueError, match='super_clusters that divide classes'):
    deepercluster(SMALL, **(dict(classes=6, super_clusters=2) | options))
