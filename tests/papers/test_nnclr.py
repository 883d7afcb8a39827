"""NNCLR: arXiv:2104.14548v2, section 3.2, eq. 3 and 4, the algorithm of the appendix.

The whole against its twin, neighbours by hand, the queue from step to step.
"""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.losses.chunked import nearest
from pretrain.objectives.nnclr import nnclr
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import assert_close, descended, images, normal
from tests.reference.networks import Tiny, layout, mlp, projected, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, TEMPERATURE = 4, 8, 0.3  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def filled(rng, memory):
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5)))}


def twin(params, stopped, memory, batch, draws, step):
  statistics, unused = copied(memory['statistics']), copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  assert layout(params['predictor'], statistics['predictor']) == [(5, 9, full), (9, 5, 'bias')]
  views = [(batch['views'][:, v], noise) for v, (_, noise) in enumerate(draws)]
  z = [unit(projected(stopped, unused, x, True, noise)) for x, noise in views]
  p = [projected(params, statistics, x, True, noise) for x, noise in views]
  p = [unit(mlp(params['predictor'], statistics['predictor'], x, True)) for x in p]
  nearest = [np.stack([min(memory['queue'], key=lambda q: np.sum((x - q) ** 2)) for x in z[v]]) for v in (0, 1)]

  def contrast(nn, p):
    loss = 0.
    for i in range(B):
      logits = [np.exp(nn[i] @ p[k] / TEMPERATURE) for k in range(B)]
      loss -= np.log(logits[i] / sum(logits)) / B
    return loss

  loss = contrast(nearest[0], p[1]) / 2 + contrast(nearest[1], p[0]) / 2
  cosine = sum(nearest[v][i] @ z[v][i] for v in (0, 1) for i in range(B)) / (2 * B)

  def after(params):
    queue = np.array(memory['queue'])
    for i in range(B):  # the embeddings of the oldest batch are replaced
      queue[(step * B + i) % QUEUE] = z[0][i]
    return params, {'statistics': statistics, 'queue': queue}

  return loss, {'neighbor_cosine': cosine}, after


CASE = cases.Case(dict(hidden=(64,), dim=16, predictor_hidden=64, temperature=0.2, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(nnclr, tiny(), hidden=(8,), dim=5, predictor_hidden=9, temperature=TEMPERATURE, queue=QUEUE)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss', 'neighbor_cosine'}, 'views/1': {'loss', 'neighbor_cosine'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=2)))



# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def test_nearest_and_what_nnclr_queues():
  z, queue = normal(0, 3, 5), normal(1, 7, 5)
  rows, products = nearest(z, queue)
  jax.tree.map(assert_close, nearest(z, queue, chunk=1), (rows, products))
  for i in range(3):
    wanted = max(range(7), key=lambda j, i=i: float(z[i] @ queue[j]))
    np.testing.assert_array_equal(rows[i], queue[wanted])
    assert_close(products[i], z[i] @ queue[wanted])
  made = nnclr(cases.VIT, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, queue=2 * B)
  params, memory = jax.jit(made.init)(KEY)
  _, kept = descended(made, params, memory, {'views': images(0, B, 2, 8, 8, 1)}, KEY, 0)
  assert_close(jnp.linalg.norm(kept['queue'], axis=1), 1)
  np.testing.assert_array_equal(kept['queue'][B:], memory['queue'][B:])
  assert not np.any(np.asarray(kept['queue'][:B]) == memory['queue'][:B])
