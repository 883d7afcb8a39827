"""LOOK: arXiv:2110.06014, the loss as its abstract has it: the error of a leave-one-out k-nearest-neighbour classifier.

The whole and the loss against their twins, points by hand, limits, the queue from step to step.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.look import look, look_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import PAIRS, Z1, Z2, Loss, assert_close, basis, check_loss, descended, images, normal, rotation
from tests.reference.networks import Tiny, averaged, layout, mlp, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, K, TEMPERATURE, MOMENTUM = 6, 12, 4, 0.3, 0.7  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1)), 'label': rng.permutation([0, 0, 1, 2, 2, 2]),
          'index': rng.permutation(9)[:B]}


def filled(rng, memory):
  label = rng.permutation([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3])
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5))), 'label': label, 'index': rng.permutation(QUEUE)}


def project(p, statistics, images, train=False, noise=None):
  return mlp(p['projector'], {}, Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the keys are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  assert layout(params['projector']) == [(6, 8, 'bias'), (8, 5, 'bias')]
  (_, noise), = draws
  z = unit(project(params, statistics, batch['views'][:, 0], True, noise))
  keys = unit(project(memory['teacher'], teacher_statistics, batch['views'][:, 1], True))
  queue, label, index = (np.array(memory[name]) for name in ('queue', 'label', 'index'))
  for i in range(B):  # what the oldest batch left is replaced, before the loss
    place = (step * B + i) % QUEUE
    queue[place], label[place], index[place] = keys[i], batch['label'][i], batch['index'][i]
  loss, found, left_out = 0., 0, 0
  for i in range(B):
    others = [j for j in range(QUEUE) if index[j] != batch['index'][i]]
    left_out += QUEUE - len(others)
    near = sorted(others, key=lambda j: -z[i] @ queue[j])[:K]
    mass = {j: np.exp(z[i] @ queue[j] / TEMPERATURE) for j in near}
    own = [j for j in near if label[j] == batch['label'][i]]
    if own:
      found += 1
      loss -= np.log(sum(mass[j] for j in own) / sum(mass.values())) / B
  assert 0 < found < B < left_out, (found, left_out)  # some are found, some are there from an epoch before

  def after(params):
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'queue': queue, 'label': label,
                    'index': index, 'teacher': averaged(memory['teacher'], params, MOMENTUM)}

  return loss, {'found_ratio': found / B}, after


CASE = cases.Case(dict(hidden=(64,), dim=16, neighbors=8, temperature=0.2, momentum=0.9, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    look(tiny(), hidden=(8,), dim=5, neighbors=K, temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: project(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss'}, 'views/1': {'loss', 'found_ratio'}, 'label': {'loss', 'found_ratio'},
           'index': {'loss'}})  # the ratio is a count, which two of these draws happen to leave


def test_its_twin():
  check(TWIN)


# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(look_loss, static_argnames='neighbors')
jit_info_nce = jax.jit(losses.info_nce)


def loss_twin(query, label, index, queue, queue_label, queue_index, neighbors, temperature):
  """-log of the share that neighbours of the own class have in the sum of exp(cosine / temperature) over k neighbours.

  The abstract of arXiv:2110.06014: 'Leave-One-Out K-Nearest-Neighbor', 'only requiring each image to share its class
  label with most of its k nearest neighbors'. That the votes are exponentials of cosines, and that an image none of
  whose neighbours has its class counts 0, is not settled by it.

  Args:
    query: [b, d], not normalised.
    label, index: int [b].
    queue: [q, d], not normalised; a constant.
    queue_label, queue_index: int [q].
    neighbors: k.
    temperature: positive float.

  Returns:
    float, {'found_ratio': the share of images that have a neighbour of their class}.
  """
  query, queue = unit(query), unit(queue)
  total, found = 0.0, 0
  for i in range(len(query)):
    cosines = [(query[i] @ queue[j], j) for j in range(len(queue)) if queue_index[j] != index[i]]
    cosines = sorted(cosines, reverse=True)[:neighbors]
    of_class = sum(math.exp(c / temperature) for c, j in cosines if queue_label[j] == label[i])
    if of_class > 0:
      found += 1
      total -= math.log(of_class / sum(math.exp(c / temperature) for c, _ in cosines))
  return total / len(query), {'found_ratio': found / len(query)}


def point(seed, b, q, d, classes, neighbors, temperature):
  """Every second example of the batch is in the queue as well."""
  rng = np.random.default_rng(seed)
  index, queue_index = np.arange(b), np.arange(100, 100 + q)
  queue_index[:b:2] = index[::2]
  return (normal(seed, b, d, scale=3), rng.integers(0, classes, b), index, normal(seed + 1, q, d),
          rng.integers(0, classes, q), queue_index, neighbors, temperature)


def extreme(query, queue, neighbors=2, queue_index=(3, 4, 5, 6)):
  return (query, np.array([0, 1, 0, 2]), np.arange(4), queue, np.array([0, 1, 1, 0]), np.array(queue_index), neighbors,
          0.01)


def refused(query=Z1, label=4, index=4, queue=Z2, queue_label=4, queue_index=4, neighbors=2):
  label, index, queue_label, queue_index = (np.zeros(n, int) for n in (label, index, queue_label, queue_index))
  return query, label, index, queue, queue_label, queue_index, neighbors, 0.1


LOSS = Loss(
    jit_loss, loss_twin, moving=(0,),
    points=[point(0, 6, 9, 3, 3, 2, 1.0), point(10, 8, 12, 8, 4, 3, 0.2), point(21, 5, 7, 4, 4, 2, 0.5)],
    extremes=[*(extreme(x, y) for x, y in PAIRS), extreme(Z1, Z2, 4), extreme(Z1, Z1, 4),
              extreme(Z1, Z2, 4, queue_index=(0, 0, 0, 0))],  # nothing is left for the first
    refused=[(refused(label=1), ['(4,)', '(1,)']), (refused(index=1), ['(4,)', '(1,)']),
             (refused(queue=normal(0, 4, 1)), ['(8,)', '(1,)']), (refused(queue_label=1), ['(4,)', '(1,)']),
             (refused(queue_index=1), ['(4,)', '(1,)']), (refused(neighbors=5), ['5', '4'])])


def test_loss():
  check_loss(LOSS)


def loss_of(query, label, queue, queue_label, *, neighbors, index=None, queue_index=None, temperature=1.0):
  """(value, found_ratio); where no index is given, no image of the batch is in the queue."""
  index = np.arange(len(query)) if index is None else index
  queue_index = np.arange(1000, 1000 + len(queue)) if queue_index is None else queue_index
  value, metrics = jit_loss(query, np.asarray(label), index=index, queue=queue, queue_label=np.asarray(queue_label),
                            queue_index=np.asarray(queue_index), neighbors=neighbors, temperature=temperature)
  return value, metrics['found_ratio']


def test_by_hand():
  query = basis(2)[:1]
  queue = np.stack([basis(2)[0], basis(2)[1], -basis(2)[0]])  # cosines 1, 0, -1
  e = math.e
  for queue_label, neighbors, wanted in (
      ([5, 6, 5], 1, 0), ([5, 6, 5], 2, math.log(1 + 1 / e)), ([5, 6, 5], 3, math.log((e + 1 + 1 / e) / (e + 1 / e))),
      ([6, 5, 5], 2, math.log(1 + e)), ([6, 6, 5], 3, math.log(e * e + e + 1)), ([5, 5, 5], 3, 0)):
    value, found = loss_of(query, [5], queue, queue_label, neighbors=neighbors)
    assert_close(value, wanted)
    assert found == 1
  value, found = loss_of(query, [5], queue, [6, 6, 5], neighbors=2)  # nobody of its class among them: counts 0
  assert value == 0 and found == 0
  value, found = loss_of(basis(2), [5, 5], queue, [6, 5, 5], neighbors=2)  # the second: cosines 1 and 0, ties aside
  assert_close(value, math.log(1 + e) / 2 + math.log(1 + 1 / e) / 2)
  assert_close(loss_of(query, [5], queue, [5, 6, 5], neighbors=2, temperature=0.5)[0], math.log(1 + math.exp(-2)))


def test_neighbours_of_one_class_give_zero_and_no_gradient():
  query, queue = normal(0, 4, 8), normal(1, 6, 8)
  value = lambda x, labels: loss_of(x, [3] * 4, queue, labels, neighbors=4, temperature=0.1)[0]
  for labels in ([3] * 6, [0] * 6):  # all of the own class, none of it
    gradient = jax.grad(value)(query, labels)
    assert_close(value(query, labels), 0, atol=1e-7)
    assert_close(gradient, 0, atol=1e-6)


def test_of_the_whole_queue_it_is_the_soft_nearest_neighbour_loss():
  query, queue = normal(0, 5, 8), normal(1, 9, 8)
  label, queue_label = np.array([0, 1, 2, 1, 0]), np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
  for temperature in (1.0, 0.1):
    share = np.exp(unit(query) @ unit(queue).T / temperature)
    share /= share.sum(1, keepdims=True)
    wanted = -np.mean(np.log((share * (label[:, None] == queue_label)).sum(1)))
    assert_close(loss_of(query, label, queue, queue_label, neighbors=9, temperature=temperature)[0], wanted)
  # one positive a query: the supervised contrast of one positive, which is InfoNCE
  positive = np.array([4, 0, 8, 2, 6])
  names = np.arange(9)
  assert_close(loss_of(query, names[positive], queue, names, neighbors=9, temperature=0.2)[0],
               jit_info_nce(query, queue, positive=positive, temperature=0.2))
  # all neighbours count alike: the share of the class among them
  assert_close(loss_of(query, label, queue, queue_label, neighbors=9, temperature=1e5)[0], math.log(3), rtol=1e-3)


def test_the_own_entry_is_left_out_by_its_index():
  query, queue = normal(0, 3, 8), normal(1, 7, 8)
  label, queue_label = np.array([0, 1, 1]), np.array([0, 1, 1, 1, 0, 1, 0])
  queue_index = np.array([90, 91, 0, 93, 94, 95, 96])
  one = partial(loss_of, neighbors=3, temperature=0.2)
  left_out = one(query[:1], label[:1], queue, queue_label, queue_index=queue_index)
  without = one(query[:1], label[:1], np.delete(queue, 2, 0), np.delete(queue_label, 2))
  assert_close(left_out, without)
  # of two entries of the own image both are left out, and then fewer than k may be there
  twice = one(query[:1], label[:1], queue[:4], queue_label[:4], queue_index=[0, 91, 0, 93])
  assert_close(twice, loss_of(query[:1], label[:1], queue[[1, 3]], queue_label[[1, 3]], neighbors=2,
                              temperature=0.2))
  # others' queries see it
  seen = [one(query[1:], label[1:], queue, queue_label, queue_index=at, index=np.array([1, 2]))
          for at in (queue_index, None)]
  assert_close(seen[0], seen[1])


def test_what_an_own_copy_in_the_queue_would_do():
  query, queue = normal(0, 3, 8), normal(1, 7, 8)
  label, queue_label = np.array([0, 1, 1]), np.array([0, 1, 1, 1, 0, 1, 0])
  one = partial(loss_of, query[:1], label[:1], np.concatenate([query[:1], queue]), np.append(label[0], queue_label),
                temperature=0.2)
  for k in (1, 5):
    # it would be its own nearest neighbour: of k = 1 the loss is 0 whatever the network does, else it is smaller
    counted, found = one(neighbors=k)
    left_out = one(neighbors=k, queue_index=np.arange(8))
    assert_close(left_out, loss_of(query[:1], label[:1], queue, queue_label, neighbors=k, temperature=0.2))
    assert found == 1
    if k == 1:
      assert_close(counted, 0)
    else:
      assert counted < left_out[0] - 1e-2
  # the copies of the rest of the batch are neighbours as any
  both = np.concatenate([query, queue]), np.concatenate([label, queue_label])
  whole, _ = loss_of(query, label, *both, neighbors=5, queue_index=np.arange(10), temperature=0.2)
  single = [loss_of(query[i:i + 1], label[i:i + 1], *(np.delete(x, i, 0) for x in both), neighbors=5,
                    temperature=0.2)[0] for i in range(3)]
  assert_close(whole, np.mean(single))


def test_a_class_of_two_far_clusters_is_not_pulled_together():
  here, there = np.array([1, 0, 0], np.float32), np.array([0, 0, 1], np.float32)
  noise = 0.1 * normal(0, 9, 3)
  queue = np.concatenate([here + noise[:4], there + noise[4:8], [0.9, 0.4, 0] + noise[8:]]).astype(np.float32)
  queue_label = [0] * 8 + [1]
  query = (here + 0.05 * normal(1, 1, 3)).astype(np.float32)

  def gradient(queue, neighbors):
    value = lambda x: loss_of(x, [0], queue, queue_label, neighbors=neighbors, temperature=0.2)[0]
    return np.asarray(jax.grad(value)(query))

  elsewhere = queue.copy()
  elsewhere[4:8] = [0, 0.6, 0.8]
  near = gradient(queue, 5)  # its cluster of four, and the other class
  assert np.abs(near).max() > 1e-3
  np.testing.assert_array_equal(gradient(elsewhere, 5), near)
  assert np.abs(gradient(elsewhere, 9) - gradient(queue, 9)).max() > 1e-4  # of all of the queue it would be


def test_invariances():
  query, queue = normal(0, 4, 8), normal(1, 9, 8)
  label, queue_label = np.array([0, 1, 2, 1]), np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
  see = partial(loss_of, neighbors=5, temperature=0.3)
  value = see(query, label, queue, queue_label)
  order, turn = np.array([2, 0, 3, 1]), rotation(2, 8)
  assert_close(see(query[order], label[order], queue, queue_label), value)
  assert_close(see(query, label, queue[::-1], queue_label[::-1]), value)
  assert_close(see(query, 7 - label, queue, 7 - queue_label), value)  # names of classes do not matter
  assert_close(see(query @ turn, label, queue @ turn, queue_label), value)
  assert_close(see(query * np.exp(normal(3, 4, 1)), label, queue * np.exp(normal(4, 9, 1)), queue_label), value)
  assert abs(see(query, label[order], queue, queue_label)[0] - value[0]) > 1e-2


# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def test_the_queue_takes_keys_labels_and_indices_and_begins_without_classes():
  make = partial(look, cases.VIT, hidden=(16,), dim=8, temperature=0.2, momentum=0.75)
  b, made = 4, make(neighbors=3, queue=8)
  params, memory = jax.jit(made.init)(KEY)
  assert_close(jnp.linalg.norm(memory['queue'], axis=1), 1)
  batch = {'views': images(0, b, 2, 8, 8, 1), 'label': np.array([3, 0, 0, 1], np.int32),
           'index': np.array([9, 4, 2, 7], np.int32)}
  (_, keys), _ = jax.jit(made.halves[0])(params, memory, batch, KEY, 0)
  _, kept = descended(made, params, memory, batch, KEY, 1)
  assert_close(kept['queue'][b:], losses.normalize(keys))
  np.testing.assert_array_equal(kept['queue'][:b], memory['queue'][:b])
  np.testing.assert_array_equal(kept['label'], [-1] * b + [3, 0, 0, 1])
  np.testing.assert_array_equal(kept['index'], [-1] * b + [9, 4, 2, 7])
  value = lambda batch: jax.jit(made.loss)(params, memory, batch, KEY, 0)
  _, (_, metrics) = value(batch)
  assert metrics['found_ratio'] <= 0.5  # random directions are of no class, images 0 and 3 alone in theirs
  lone, (_, metrics) = value(batch | {'label': np.arange(4, dtype=np.int32)})
  assert lone == 0 and metrics['found_ratio'] == 0
  with pytest.raises(ValueError, match='neighbors of at most the queue, got 9 of 8'):
    make(neighbors=9, queue=8)
