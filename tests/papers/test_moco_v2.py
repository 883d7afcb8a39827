"""MoCo v2: arXiv:1911.05722v3, eq. 1 and 2, algorithm 1; arXiv:2003.04297v1, section 3.

The whole and the loss against their twins, points by hand, limits, the queue from step to step.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.moco_v2 import moco_loss, moco_v2
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import PAIRS, Z1, Z2, Loss, assert_close, basis, check_loss, descended, images, normal
from tests.reference.networks import Tiny, averaged, layout, log_softmax, mlp, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, TEMPERATURE, MOMENTUM = 4, 8, 0.3, 0.7  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def filled(rng, memory):
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5)))}


def project(p, statistics, images, train=False, noise=None):
  return mlp(p['projector'], {}, Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the keys are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  assert layout(params['projector']) == [(6, 8, 'bias'), (8, 5, 'bias')]
  assert statistics.keys() == {'backbone'}
  (_, noise), = draws
  q = unit(project(params, statistics, batch['views'][:, 0], True, noise))
  k = unit(project(memory['teacher'], teacher_statistics, batch['views'][:, 1], True))
  loss = 0.
  for i in range(B):
    positive = np.exp(q[i] @ k[i] / TEMPERATURE)
    negatives = sum(np.exp(q[i] @ old / TEMPERATURE) for old in memory['queue'])
    loss -= np.log(positive / (positive + negatives)) / B

  def after(params):
    queue = np.array(memory['queue'])
    for i in range(B):  # the keys of the oldest batch are replaced
      queue[(step * B + i) % QUEUE] = k[i]
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'queue': queue,
                    'teacher': averaged(memory['teacher'], params, MOMENTUM)}

  return loss, {}, after


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2, momentum=0.9, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(moco_v2, tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: project(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=2)))



# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss, jit_info_nce = jax.jit(moco_loss), jax.jit(losses.info_nce)


def loss_twin(query, key, queue, temperature):
  """Mean over the queries of eq. 1 of arXiv:1911.05722v3: K keys of the queue and one positive.

  Algorithm 1: logits of one query are [q.k, q.queue_1, ..., q.queue_K] / temperature and the label is 0. A query's
  negatives are the queue alone, not the other keys of the batch. Vectors have length 1 (section 3.3, 'normalized by
  its L2-norm').

  Args:
    query: [b, d], not normalised.
    key: [b, d], not normalised; a constant.
    queue: [q, d], keys of earlier steps, of length 1; a constant.
    temperature: positive float.

  Returns:
    float.
  """
  query, key, queue = unit(query), unit(key), unit(queue)
  total = 0.0
  for q, k in zip(query, key, strict=True):
    total -= log_softmax([q @ k / temperature, *(q @ old / temperature for old in queue)])[0]
  return total / len(query)


LOSS = Loss(
    jit_loss, loss_twin, moving=(0,),
    points=[(normal(0, 2, 3), normal(1, 2, 3), normal(2, 5, 3), 1.0),
            (normal(3, 3, 8, scale=3), normal(4, 3, 8), normal(5, 9, 8), 0.07),
            (normal(6, 1, 4), normal(7, 1, 4), normal(8, 1, 4), 0.2)],
    extremes=[*((x, y, Z2, 0.01) for x, y in PAIRS), *((x, Z2, y, 0.01) for x, y in PAIRS)],
    refused=[((Z1, normal(0, 1, 8), Z2, 0.1), ['(4, 8)', '(1, 8)']),
             ((Z1, Z2, normal(0, 4, 1), 0.1), ['(8,)', '(1,)'])])


def test_loss():
  check_loss(LOSS)


def test_moco_by_hand():
  query = key = basis(2)  # similarity 1 with the own key; the other example's key, similarity 0, is no negative
  queue = -basis(2)[:1]  # similarity -1 and 0
  assert_close(jit_loss(query, key, queue=queue, temperature=1.0),
               (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)
  assert_close(jit_loss(query, -key, queue=queue, temperature=0.5), (math.log(2) + math.log(1 + math.exp(2))) / 2)
  same = np.tile(normal(0, 1, 6), (7, 1))
  assert_close(jit_loss(same[:2], same[:2], queue=same, temperature=0.07), math.log(8))


def test_moco_limits_and_invariances():
  query, key, queue = normal(0, 3, 8), normal(1, 3, 8), normal(2, 5, 8)
  loss = jit_loss(query, key, queue=queue, temperature=0.2)
  alone = [jit_info_nce(query[i:i + 1], np.concatenate([key[i:i + 1], queue]), positive=np.array([0]),
                    temperature=0.2) for i in range(3)]
  assert_close(np.mean(alone), loss)
  assert_close(jit_loss(query, key, queue=queue, temperature=1e4), math.log(6), rtol=1e-3)
  assert_close(jit_loss(query, query, queue=-query, temperature=0.01), loss_twin(query, query, -query, 0.01))
  assert_close(jit_loss(query, key, queue=queue[[3, 0, 4, 2, 1]], temperature=0.2), loss)
  assert_close(jit_loss(query[::-1], key[::-1], queue=queue, temperature=0.2), loss)
  scales = np.exp(normal(3, 3, 1))
  assert_close(jit_loss(query * scales, key / scales, queue=queue, temperature=0.2), loss)
  assert abs(jit_loss(query, key[::-1], queue=queue, temperature=0.2) - loss) > 1e-2
  more = np.concatenate([queue, -queue])  # more negatives, a larger loss
  assert jit_loss(query, key, queue=more, temperature=0.2) > loss + 1e-2


# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def test_moco_queues_the_keys_of_the_teacher_and_the_teacher_follows():
  made = moco_v2(cases.VIT, hidden=(16,), dim=8, temperature=0.2, momentum=0.75, queue=2 * B)
  params, memory = jax.jit(made.init)(KEY)
  assert_close(jnp.linalg.norm(memory['queue'], axis=1), 1)
  batch = {'views': images(0, B, 2, 8, 8, 1)}
  (_, keys), _ = jax.jit(made.halves[0])(params, memory, batch, KEY, 0)
  after, kept = descended(made, params, memory, batch, KEY, 1)
  assert_close(kept['queue'][B:], losses.normalize(keys))
  np.testing.assert_array_equal(kept['queue'][:B], memory['queue'][:B])
  wanted = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, memory['teacher'], after)
  jax.tree.map(assert_close, kept['teacher'], wanted)
  with pytest.raises(ValueError, match='multiple of the batch'):
    odd = moco_v2(cases.VIT, hidden=(16,), dim=8, temperature=0.2, momentum=0.75, queue=2 * B + 1)
    descended(odd, *jax.jit(odd.init)(KEY), batch, KEY, 0)
