"""Weighted sums of objectives against their twin: of two small ones that have all that an objective may have."""
import jax
import jax.numpy as jnp
import numpy as np

from pretrain.method.objective import Objective
from pretrain.objectives.mae import mae
from pretrain.objectives.simclr import simclr
from pretrain.objectives.weighted import weighted
from pretrain.views.mae import mae as mae_views
from pretrain.views.simclr import simclr as simclr_views
from pretrain.views.together import together
from tests import cases
from tests.twin import Run, Twin, check_moves, check_values, numpy_tree

B, IN, WIDTH, OUT = 4, 5, 3, 2
KEYS, MOMENTA, SHRINK = {'left': 'views', 'right': 'image'}, {'left': 0.7, 'right': 0.4}, {'left': 0.9, 'right': 0.8}
WEIGHTS = {'left': 0.3, 'right': 1.7}


def value(xp, p, m, x, noise, step):
  """A student with noise learns what its average says: loss, metrics, and what the pass keeps."""
  h = x @ p['backbone']['kernel']
  z = xp.tanh(h * noise) @ p['head']['kernel']
  wanted = (x - m['shift']) @ m['teacher']['backbone']['kernel'] @ m['teacher']['head']['kernel']
  loss = (1 + step) * xp.mean((z - wanted) ** 2)
  return loss, {'size': xp.mean(z ** 2)}, {'mean': 0.9 * m['mean'] + 0.1 * h.mean(0), 'shift': m['shift'] + 0.1}


def updated(name, p, m, kept, step):
  """The average takes a share of the parameters that it is shown, which then become smaller."""
  tau = MOMENTA[name] / (1 + step)
  teacher = jax.tree.map(lambda old, new: tau * old + (1 - tau) * new, m['teacher'], p)
  p = {part: {'kernel': SHRINK[name] * of['kernel']} for part, of in p.items()}
  return p, {'teacher': teacher} | kept


def held(name, step):
  return {'head': step < (1 if name == 'left' else 2)}


def rated(name, step):
  return {'head/kernel': 1 / (2 + step) if name == 'left' else 1 / (3 + step)}


def encoded(p, m, x):
  return x @ p['backbone']['kernel'] - m['mean']


def projected(p, m, x):
  return encoded(p, m, x) @ p['head']['kernel']


def predicted(p, m, x):
  del p
  return x @ m['teacher']['backbone']['kernel'] @ m['teacher']['head']['kernel']


def small(name, **flags):
  def init(key):
    keys = jax.random.split(key)
    p = {'backbone': {'kernel': jax.random.normal(keys[0], (IN, WIDTH))},
         'head': {'kernel': jax.random.normal(keys[1], (WIDTH, OUT))}}
    return p, {'teacher': p, 'mean': jnp.zeros(WIDTH), 'shift': jnp.zeros(IN)}

  def loss(params, memory, batch, key, step):
    x = batch[KEYS[name]]
    result, metrics, kept = value(jnp, params, memory, x, jax.random.uniform(key, (len(x), WIDTH)), step)
    return result, (kept, metrics)

  return Objective({KEYS[name]: 'b d', 'index': 'b'}, init, loss, lambda *given: updated(name, *given), encoded,
                   predicted, project=projected, towers=(encoded, predicted), hold=lambda step: held(name, step),
                   rate=lambda step: rated(name, step), **flags)


def batch(rng):
  return {'views': rng.normal(size=(B, IN)), 'image': rng.normal(size=(B, IN)), 'index': rng.permutation(1000)[:B]}


def filled(rng, memory):
  """No two examples of a memory alike."""
  return {name: of | {'mean': rng.normal(size=WIDTH), 'shift': rng.normal(size=IN)} for name, of in memory.items()}


def of_part(params, name):
  return {'backbone': params['backbone']} | params[name]


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  total, metrics, kept = 0., {}, {}
  for name, (_, noise) in zip(KEYS, draws, strict=True):
    loss, own, kept[name] = value(np, of_part(params, name), memory[name], batch[KEYS[name]], noise, step)
    total += WEIGHTS[name] * loss
    metrics |= {f'{name}/{key}': metric for key, metric in own.items()} | {f'{name}/loss': loss}

  def after(params):
    new = {}
    for name in KEYS:
      p, new[name] = updated(name, of_part(params, name), memory[name], kept[name], step)
      params = params | {'backbone': p['backbone'], name: {'head': p['head']}}
    return params, new

  return total, metrics, after


def first(function):
  return lambda params, memory, x: function(of_part(params, 'left'), memory['left'], x)


def renested(function, step):
  return {f'{name}/{path}': number for name in KEYS for path, number in function(name, step).items()}


PARTS = {'simclr': simclr(cases.VIT, hidden=(64,), dim=16, temperature=0.2),
         'mae': mae(cases.VIT, mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True)}
VIEWS_OF_PARTS = together(parts={'simclr': simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5),
                                 'mae': mae_views(size=cases.SIZE, scale=(0.2, 1.))})
CASE = cases.Case(dict(parts=(('simclr', PARTS['simclr'], 1.), ('mae', PARTS['mae'], 0.5))),
                  VIEWS_OF_PARTS, draws=True, backbone=cases.VIT)
TWIN = Twin(
    weighted(parts=tuple((name, small(name), WEIGHTS[name]) for name in KEYS)), batch, twin,
    encode=first(encoded), predict=first(predicted), project=first(projected),
    images=lambda rng: rng.normal(size=(3, IN)), memory=filled,
    hold=lambda step: renested(held, step), rate=lambda step: renested(rated, step),
    moves={'views': {'loss', 'left/loss', 'left/size'}, 'image': {'loss', 'right/loss', 'right/size'}, 'index': set()})


def test_its_twin():
  run = Run(TWIN)
  check_moves(run)
  check_values(run)
  assert TWIN.objective.batch == {'views': 'b d', 'image': 'b d', 'index': 'b'}
  x, params, memory = np.ones((3, IN)), numpy_tree(run.params), numpy_tree(run.memory)
  for tower, function in zip(TWIN.objective.towers, (encoded, predicted), strict=True):
    np.testing.assert_allclose(tower(run.params, run.memory, x), first(function)(params, memory, x), 1e-5)


def test_parts_begin_alike_with_averages_of_the_shared_backbone():
  params, memory = TWIN.objective.init(jax.random.key(0))
  for name in KEYS:
    np.testing.assert_array_equal(memory[name]['teacher']['backbone']['kernel'], params['backbone']['kernel'])
    np.testing.assert_array_equal(memory[name]['teacher']['head']['kernel'], params[name]['head']['kernel'])


def test_it_couples_and_compares_if_a_part_does():
  for flags in ({}, {'couples_batch': True}, {'compares': True}):
    made = weighted(parts=(('left', small('left'), 1.), ('right', small('right', **flags), 1.)))
    assert (made.couples_batch, made.compares) == ('couples_batch' in flags, 'compares' in flags)
