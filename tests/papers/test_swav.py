"""SwAV: arXiv:2006.09882v5, section 3, eq. 2 to 6, appendix A.1.

The whole against its twin; prototypes and queue from step to step. Of the authors' main_swav.py and src/resnet50.py:
the queue's place, the passes by size, the lengths of prototypes.
"""
import functools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from pretrain import losses
from pretrain.objectives.swav import swav
from tests import cases
from tests.checks import assert_close, descended, images, normal
from tests.reference.networks import Tiny, linear, log_softmax, mlp, unit
from tests.twin import Run, Twin, check, check_values, copied, tiny

B, LOCAL, FREEZE, QUEUE, START = 4, 3, 2, 8, 1  # the queue is full after two steps
PROTOTYPES, TEMPERATURE, EPSILON, ITERATIONS = 3, 0.3, 0.2, 3


def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 4, 4, 1)), 'local': rng.uniform(size=(B, LOCAL, 2, 8, 1))}


def project(params, statistics, batch, noises):
  """On the sphere, [b, v, d]: crops of one size (the shape tells it) pass the backbone together, all the projector."""
  h = []
  for key, noise in zip(('global', 'local'), noises, strict=True):
    crops = batch[key]
    features = Tiny(params['backbone'], statistics['backbone'])(crops.reshape(-1, 16), True, noise)
    h.append(features.reshape(*crops.shape[:2], -1))
  return unit(mlp(params['projector'], statistics['projector'], np.concatenate(h, 1), train=True))


def assign(scores):
  """Sinkhorn-Knopp of [n, k], eq. 3 to 5: prototypes get n / k examples each."""
  q = np.exp(scores / EPSILON).T
  q /= q.sum()
  for _ in range(ITERATIONS):
    for k in range(len(q)):
      q[k] /= q[k].sum() * len(q)
    for n in range(q.shape[1]):
      q[:, n] /= q[:, n].sum() * q.shape[1]
  return (q * q.shape[1]).T


def entropy(p):
  return -sum(x * math.log(x) for x in p)


def twin(params, stopped, memory, batch, draws, step, start=START):
  statistics, noises = copied(memory['statistics']), [noise for _, noise in draws]
  z = project(params, statistics, batch, noises)
  kept = project(stopped, copied(memory['statistics']), batch, noises)
  answers = log_softmax(linear(params['prototypes'], z) / TEMPERATURE)
  codes = []
  for there in range(2):
    features = kept[:, there]
    if step >= start and step * B >= QUEUE:
      features = np.concatenate([memory['queue'][there], features])
    codes.append(assign(linear(stopped['prototypes'], features))[-B:])
  loss = 0.
  for there in range(2):
    for here in range(2 + LOCAL):
      if here != there:
        loss -= sum(codes[there][i] @ answers[i, here] for i in range(B)) / B / (1 + LOCAL) / 2
  entropies = [entropy(q) for code in codes for q in code]

  def after(params):
    queue = memory['queue'].copy()
    for there in range(2):
      for i in range(B):
        queue[there, (step * B + i) % QUEUE] = kept[i, there]
    return params | {'prototypes': {'kernel': unit(params['prototypes']['kernel'], 0)}}, {
        'statistics': statistics, 'queue': queue}

  return loss, {'code_entropy': np.mean(entropies), 'code_spread': entropy(np.mean(codes, (0, 1)))}, after


def built(start):
  return swav(tiny(), hidden=(8,), dim=5, prototypes=PROTOTYPES, temperature=TEMPERATURE, epsilon=EPSILON,
              iterations=ITERATIONS, freeze_prototypes_steps=FREEZE, queue=QUEUE, queue_start_step=start)


CASE = cases.Case(dict(hidden=(64,), dim=32, prototypes=24, temperature=0.1, epsilon=0.05, iterations=3,
                       freeze_prototypes_steps=0, queue=32, queue_start_step=1),
                  cases.CROPS)
TWIN = Twin(
    built(START), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: mlp(params['projector'], memory['statistics']['projector'],
                                          Tiny(params['backbone'], memory['statistics']['backbone'])(x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    memory=lambda rng, memory: memory | {'queue': unit(rng.normal(size=(2, QUEUE, 5)))},
    hold=lambda step: {'prototypes': step < FREEZE},
    moves={'global/0': {'loss', 'code_entropy', 'code_spread'}, 'global/1': {'loss', 'code_entropy', 'code_spread'},
           'local/0': {'loss', 'code_entropy', 'code_spread'}})  # by the projector's BatchNorm


def test_its_twin():
  check(TWIN)


def test_its_queue_waits_for_its_step():
  check_values(Run(TWIN._replace(objective=built(3), twin=functools.partial(twin, start=3), steps=(2, 3))))


# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def multi_crop():
  return {'global': images(0, B, 2, 8, 8, 1), 'local': images(1, B, 3, 4, 4, 1)}


def make_swav(**options):
  return swav(cases.VIT, hidden=(16,), dim=8, prototypes=6, temperature=0.1, epsilon=0.05, iterations=3,
              **dict(freeze_prototypes_steps=0) | options)


def test_swav_keeps_prototypes_on_the_sphere():
  made = make_swav()
  params, memory = jax.jit(made.init)(KEY)
  prototypes = lambda params: params['prototypes']['kernel']
  assert_close(jnp.linalg.norm(prototypes(params), axis=0), 1)
  moved, _ = descended(made, params, memory, multi_crop(), KEY, 1)
  assert np.abs(prototypes(moved) - prototypes(params)).max() > 1e-4
  assert_close(jnp.linalg.norm(prototypes(moved), axis=0), 1)


def test_swav_uses_its_queue_once_it_is_full_and_wanted():
  without, memory, batch = make_swav(), None, multi_crop()
  loss = lambda made, memory, at: float(made.loss(params, memory, batch, KEY, at)[0])
  for start, used in ((0, 2), (3, 3)):  # the queue is full after two steps
    made = make_swav(queue=2 * B, queue_start_step=start)
    params, memory = jax.jit(made.init)(KEY)
    memory['queue'] = losses.normalize(jnp.asarray(normal(0, 2, 2 * B, 8)))
    plain = loss(without, {'statistics': memory['statistics']}, 0)
    for at in range(5):
      assert (loss(made, memory, at) == plain) == (at < used), (start, at)
    late = jnp.int32(2 ** 31 // B + 1)  # at which images are more than an i32 counts
    assert loss(made, memory, late) == loss(made, memory, jnp.int32(4))


def test_swav_says_when_its_prototypes_cannot_be_used_equally():
  for options, warned in ((dict(), True), (dict(queue=2 * B), False)):
    made = make_swav(**options)
    with warnings.catch_warnings(record=True) as told:
      warnings.simplefilter('always')
      jax.eval_shape(lambda key, made=made: made.loss(*made.init(key), multi_crop(), key, 0), KEY)
    assert any('cannot use 6 prototypes equally' in str(each.message) for each in told) == warned
