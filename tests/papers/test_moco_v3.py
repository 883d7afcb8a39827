"""MoCo v3: arXiv:2104.02057v4, section 3, algorithm 1, section 4.2; moco/builder.py.

The whole against its twin, frozen patches from step to step.
"""
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pretrain.models.layers import batch_norm
from pretrain.objectives.moco_v3 import moco_v3
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import assert_close, descended, images
from tests.reference.networks import Tiny, averaged, layout, mlp, unit
from tests.twin import Twin, check, copied

B, TEMPERATURE, MOMENTUM, STEPS = 5, 0.3, 0.7, 10


class Patches(nnx.Module):
  """`tests.twin.tiny`, where the first layer has the name of a ViT's projection of patches."""

  def __init__(self, rngs):
    self.width, self.dtype = 6, 'float32'
    self.project = nnx.Linear(16, 7, rngs=rngs)
    self.norm = batch_norm(7, rngs=rngs)
    self.last = nnx.Linear(7, 6, rngs=rngs)

  def __call__(self, images, *, train=False, key=None):
    x = self.norm(self.project(images.reshape(len(images), -1) - 0.5), use_running_average=not train)
    noise = 0.5 + jax.random.uniform(key, x.shape) if train and key is not None else 1.
    return self.last(jnp.tanh(x) * noise)


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def frozen(rng, memory):
  project = {'kernel': 0.3 * rng.normal(size=(16, 7)), 'bias': rng.normal(size=7)}
  return memory | {'fixed': {'backbone': {'project': project}}}


def backbone(p, memory, statistics):
  return Tiny(p['backbone'] | {'first': memory['fixed']['backbone']['project']}, statistics['backbone'])


def project(p, memory, statistics, images, train=False, noise=None):
  h = backbone(p, memory, statistics)(images, train, noise)
  return mlp(p['projector'], statistics['projector'], h, train)


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the keys are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 9, full), (9, 5, 'norm')]
  assert layout(params['predictor'], statistics['predictor']) == [(5, 10, full), (10, 5, 'norm')]
  views = batch['views'][:, 0], batch['views'][:, 1]
  q = [project(params, memory, statistics, x, True, noise) for x, (_, noise) in zip(views, draws, strict=True)]
  q = [unit(mlp(params['predictor'], statistics['predictor'], x, True)) for x in q]
  k = [unit(project(memory['teacher'], memory, teacher_statistics, x, True)) for x in views]

  def contrast(q, k):
    loss = 0.
    for i in range(B):
      scores = [np.exp(q[i] @ k[j] / TEMPERATURE) for j in range(B)]
      loss -= np.log(scores[i] / sum(scores)) / B
    return 2 * TEMPERATURE * loss

  def after(params):
    m = 1 - (1 - MOMENTUM) * (1 + math.cos(math.pi * step / STEPS)) / 2
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics,
                    'fixed': memory['fixed'], 'teacher': averaged(memory['teacher'], params, m)}

  return contrast(q[0], k[1]) + contrast(q[1], k[0]), {}, after


CASE = cases.Case(dict(hidden=(64, 64), dim=16, predictor_hidden=64, temperature=0.2, momentum=0.9,
                       freeze_patches=True),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(moco_v3, Patches, hidden=(8, 9), dim=5, predictor_hidden=10, temperature=TEMPERATURE, momentum=MOMENTUM,
                freeze_patches=True, steps=STEPS)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: backbone(params, memory, memory['statistics'])(x),
    project=lambda params, memory, x: project(params, memory, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=frozen,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=1)))



# --- from step to step -----------------------------------------------------------------------------------------------

KEY = jax.random.key(0)


def test_moco_v3_keeps_the_projection_of_patches_out_of_what_is_trained():
  made = moco_v3(cases.BACKBONE, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, momentum=0.9,
                 freeze_patches=True, steps=10)
  params, memory = jax.jit(made.init)(KEY)
  assert 'project' not in params['backbone'] and 'predictor' not in memory['teacher']
  batch = {'views': images(0, B, 2, 8, 8, 1)}
  _, kept = descended(made, params, memory, batch, KEY, 0)
  chex.assert_trees_all_equal(kept['fixed'], memory['fixed'])
  free = moco_v3(cases.BACKBONE, hidden=(16,), dim=8, predictor_hidden=16, temperature=0.2, momentum=0.9,
                 freeze_patches=False, steps=10)
  whole, _ = jax.jit(free.loss)(*jax.jit(free.init)(KEY), batch, KEY, 0)
  assert_close(whole, jax.jit(made.loss)(params, memory, batch, KEY, 0)[0])
