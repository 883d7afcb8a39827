"""SimCLRv2: arXiv:2006.10029v2, section 2 and appendix D (the memory), of MoCo's kind.

The whole against its twin, the queue from step to step. The loss, NT-Xent, is of tests/test_losses_contrastive.py.
"""
from functools import partial

import jax
import numpy as np

from pretrain import losses
from pretrain.objectives.simclr import simclr
from pretrain.objectives.simclr_v2 import simclr_v2
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import assert_close, descended, images
from tests.reference.networks import Tiny, averaged, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, QUEUE, TEMPERATURE, MOMENTUM = 4, 16, 0.3, 0.7  # the third batch takes the place of the first


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def filled(rng, memory):
  return memory | {'queue': unit(rng.normal(size=(QUEUE, 5)))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # what enters the memory is the moving average's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 9, full), (9, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise))
  keys = unit(projected(memory['teacher'], teacher_statistics, both, True))
  loss = 0.
  for i in range(2 * B):
    other_view = i + 1 if i % 2 == 0 else i - 1
    total = sum(np.exp(z[i] @ z[k] / TEMPERATURE) for k in range(2 * B) if k != i)
    total += sum(np.exp(z[i] @ old / TEMPERATURE) for old in memory['queue'])
    loss -= np.log(np.exp(z[i] @ z[other_view] / TEMPERATURE) / total) / (2 * B)

  def after(params):
    queue = np.array(memory['queue'])
    for i in range(B):  # the oldest batch's are replaced; here by those of all first views, then of all second ones
      for v in (0, 1):
        queue[(step * 2 * B + v * B + i) % QUEUE] = keys[2 * i + v]
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'queue': queue,
                    'teacher': averaged(memory['teacher'], params, MOMENTUM)}

  return loss, {}, after


CASE = cases.Case(dict(hidden=(64, 64), dim=16, temperature=0.5, momentum=0.9, queue=64),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(simclr_v2, tiny(), hidden=(8, 9), dim=5, temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=filled,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=6)))



# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def test_simclr_v2_keeps_what_its_teacher_made_of_both_views():
  options = dict(hidden=(16,), dim=8, temperature=0.2)
  made, plain = simclr_v2(cases.VIT, **options, momentum=0.75, queue=4 * B), simclr(cases.VIT, **options)
  params, memory = jax.jit(made.init)(KEY)
  batch = {'views': images(0, B, 2, 8, 8, 1)}
  value, (carry, _) = jax.jit(made.loss)(params, memory, batch, KEY, 0)
  keys = carry['keys'][:B], carry['keys'][B:]  # the teacher begins as the student
  assert_close(losses.nt_xent(*keys, temperature=0.2),
               jax.jit(plain.loss)(params, {'statistics': memory['statistics']}, batch, KEY, 0)[0])
  assert_close(losses.nt_xent(*keys, temperature=0.2, queue=memory['queue']), value)
  after, kept = descended(made, params, memory, batch, KEY, 1)
  assert_close(kept['queue'][2 * B:], carry['keys'])
  np.testing.assert_array_equal(kept['queue'][:2 * B], memory['queue'][:2 * B])
  jax.tree.map(lambda found, old, new: assert_close(found, 0.75 * old + 0.25 * new),
               kept['teacher'], memory['teacher'], after)
