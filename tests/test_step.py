"""Steps by hand: an objective that gives back the keys it is given, and whose gradient is known."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import optim
from pretrain.machine import sharding
from pretrain.method.objective import Objective
from pretrain.step import StepOptions, compile_step

N, STEPS = 8, 4
INDEX = np.array([5, 2, 7, 0, 3, 6, 1, 4], np.int32)
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
RAW = {'x': X, 'index': INDEX, 'epoch': np.zeros(N, np.int32)}
KERNEL, RATES = np.array([[1.], [-2.], [3.]]), 0.5 ** np.arange(STEPS)
KEYS = 'views_key', 'loss_key'
WAYS = ['whole', 'accumulate=2', 'accumulate=4', 'grad_cache=2']
every_way = pytest.mark.parametrize('way', WAYS)


def halves(key):
  """A key as four whole numbers below 2^16, f32[4]: exact, and so are sums of a few."""
  data = jax.random.key_data(key)
  return jnp.concatenate([data >> 16, data & 0xffff]).astype(jnp.float32)


def views(batch, key):
  return {'x': batch['x'], 'row': jax.nn.one_hot(batch['index'], N), 'key': jnp.tile(halves(key), (len(batch['x']), 1))}


def init(key):
  """The gradient of 'views_key' and 'loss_key' is what the last pass through `embed` was given, over 2^16."""
  params = {'kernel': jnp.float32(KERNEL), 'views_key': jnp.zeros(4), 'loss_key': jnp.zeros(4)}
  return params, {'init': halves(key), 'embedded': -1., 'updated': jnp.int32(-1)}


def embed(params, memory, batch, key, step):
  del memory
  given = jnp.tile(halves(key), (len(batch['x']), 1))
  echo = (batch['key'] @ params['views_key'] + given @ params['loss_key']) / 2 ** 16
  beside = jnp.tile(batch['row'].sum(0), (len(batch['x']), 1))  # the examples of this pass
  return {'y': batch['x'] @ params['kernel'][:, 0], 'echo': echo, 'row': batch['row'],
          'seen': {'views_key': batch['key'], 'loss_key': given, 'beside': beside}}, {'embedded': jnp.float32(step)}


def couple(params, h, carry, memory, batch, step):
  del params, memory, step
  by_index = {name: h['row'].T @ seen for name, seen in h['seen'].items()}  # 0 in the parts that do not have it
  return jnp.mean(h['y'] ** 2) / 2 + jnp.mean(h['echo']), (carry, by_index | {'couple': batch['key']})


def update(params, memory, carry, step):
  return params, memory | carry | {'updated': step}


def loss(params, memory, batch, key, step):
  h, carry = embed(params, memory, batch, key, step)
  return couple(params, h, carry, memory, batch, step)


MADE = Objective({'x': 'b 3', 'row': f'b {N}', 'key': 'b 4'}, init, loss, update, lambda *given: given[2],
                 halves=(embed, couple))


def schedule(step):
  return jnp.float32(RATES)[step]


@functools.cache
def training(way: str):
  name, _, number = way.partition('=')
  return compile_step(MADE, views, optim.sgd(schedule, momentum=0.), schedule, seed=0, batch=RAW,
                      mesh=sharding.make_mesh(devices=jax.devices()[:1]),
                      options=StepOptions(**{name: int(number)} if number else {}))


@functools.cache
def run(way: str, seed: int = 0):
  """States of all steps, from before the first on, and their metrics."""
  states = [jax.device_get(training('whole').init.func(np.uint32(seed)))]
  metrics = []
  for _ in range(STEPS):
    state, found = training(way).step(jax.device_put(states[-1], training(way).layout), RAW)
    states.append(jax.device_get(state))
    metrics.append(jax.device_get(found))
  return states, metrics


def given(way: str, step: int, seed: int = 0) -> dict:
  """Keys, or examples of the pass, by example: what `loss` or `embed` saw, `couple` and the last pass of all."""
  states, metrics = run(way, seed)
  parts = int(way[-1]) if 'accumulate' in way else 1  # whose metrics are averaged
  before, after = states[step].params, states[step + 1].params
  return {name: metrics[step][name] * (1 if name == 'couple' else parts)
          for name in (*KEYS, 'couple', 'beside')} | {
    f'{name}, last': (before[name] - after[name])[None] / RATES[step] * 2 ** 16 for name in KEYS}


def test_no_key_is_that_of_another_step_use_or_seed():
  keys = [given('whole', step, seed)[name][0] for step in range(STEPS) for seed in (0, 1) for name in KEYS]
  keys += [run('whole', seed)[0][0].memory['init'] for seed in (0, 1)]
  assert len({tuple(key) for key in keys}) == 2 * STEPS * 2 + 2 and np.min(np.max(keys, 1)) > 0


@every_way
def test_every_part_and_every_pass_of_a_step_is_given_the_same_keys(way):
  """What is drawn is a function of seed, step and example: not of the parts that the memory asks for."""
  for step in range(STEPS):
    found, whole = given(way, step), given('whole', step)
    for name in KEYS:
      for what in (name, f'{name}, last', *['couple'] * (name == 'views_key')):
        np.testing.assert_array_equal(found[what], np.tile(whole[name][:1], (len(found[what]), 1)), what)


@every_way
def test_rows_i_and_i_plus_parts_are_a_part(way):
  parts = int(way.partition('=')[2] or 1)
  for i, index in enumerate(INDEX):
    assert np.flatnonzero(given(way, 0)['beside'][index]).tolist() == sorted(INDEX[i % parts::parts])


@every_way
def test_a_step_is_its_rate_times_the_gradient(way):
  states, metrics = run(way)
  kernel, echo = KERNEL[:, 0], np.zeros(8)
  for step, found in enumerate(metrics):
    keys = np.concatenate([given('whole', step)[name][0] for name in KEYS]) / 2 ** 16
    y = np.float64(X) @ kernel
    gradient = np.concatenate([np.float64(X).T @ y / N, keys])
    np.testing.assert_allclose(found['loss'], np.mean(y ** 2) / 2 + keys @ echo, rtol=1e-5)
    np.testing.assert_allclose(found['grad_norm'], np.sqrt(np.sum(gradient ** 2)), rtol=1e-5)
    assert found['lr'] == RATES[step] and found['nonfinite'] == -1 and 'skipped' not in found
    kernel, echo = kernel - RATES[step] * gradient[:3], echo - RATES[step] * gradient[3:]
    np.testing.assert_allclose(states[step + 1].params['kernel'][:, 0], kernel, rtol=1e-5)
    after = states[step + 1]
    assert after.step == step + 1 and after.memory['embedded'] == after.memory['updated'] == step and after.seed == 0


@pytest.mark.parametrize('name', ['loss', 'lr', 'grad_norm', 'skipped', 'nonfinite'])
def test_a_metric_of_the_steps_name_is_refused(name):
  def named(*args):
    value, (carry, _) = loss(*args)
    return value, (carry, {name: value})

  made = compile_step(MADE._replace(loss=named, halves=None), views, optim.sgd(schedule, momentum=0.), schedule, seed=0,
                      batch=RAW, mesh=sharding.make_mesh(devices=jax.devices()[:1]))
  with pytest.raises(ValueError, match=f"other names for the metrics .'{name}'"):
    jax.eval_shape(made.step, made.abstract, RAW)
