"""Objectives made of objectives: limits, linearity, turns, one backbone, and what is refused."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import config
from pretrain.config import ConfigError
from pretrain.method.combine import turns
from pretrain.objectives.alternate import alternate
from pretrain.objectives.dino import dino
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.simclr import simclr
from pretrain.objectives.weighted import weighted
from pretrain.run import objective_of, prepare
from pretrain.views.mae import mae as mae_views
from pretrain.views.together import together
from tests.cases import SIZE, TEACHER, VIT, of_papers, raw
from tests.papers.test_weighted import PARTS, VIEWS_OF_PARTS
from tests.tiny import get_config

pytestmark = pytest.mark.suite('weighted')

CASES = of_papers()

SIMCLR, MAE = PARTS['simclr'], PARTS['mae']
DEEPER = simclr(TEACHER, **CASES['simclr'].kwargs)
KEY = jax.random.key(1)


@functools.cache
def batch():
  return jax.jit(VIEWS_OF_PARTS)({k: jnp.asarray(v) for k, v in raw(0).items()}, jax.random.key(2))


def begun(made):
  return jax.jit(made.init)(jax.random.key(0))


def gradient(made):
  """step -> ((loss, (carry, metrics)), gradients) of the first state, compiled once."""
  run = jax.jit(jax.value_and_grad(lambda params, memory, views, step: made.loss(params, memory, views, KEY, step),
                                   has_aux=True))
  first = begun(made)
  return lambda step=0: run(*first, batch(), step)


def same(got, wanted):
  jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.parametrize('combined', [weighted(parts=(('one', SIMCLR, 1.),)), alternate(parts=(('one', SIMCLR, 3),))])
def test_one_part_is_that_objective_bit_for_bit(combined):
  params, memory = begun(SIMCLR)
  got = begun(combined)
  same({'backbone': got[0]['backbone'], **got[0]['one']}, params)
  same(got[1], {'one': memory})
  alone, together_alone = gradient(SIMCLR), gradient(combined)
  for step in (0, 4):
    (loss, (carry, metrics)), grads = together_alone(step)
    (wanted, (wanted_carry, _)), wanted_grads = alone(step)
    same(loss, wanted)
    same(metrics['one/loss'], wanted)
    same({'backbone': grads['backbone'], **grads['one']}, wanted_grads)
    same(carry['one'], wanted_carry)
    new = combined.update(*got, carry, step)
    same(new[1]['one'], SIMCLR.update(params, memory, wanted_carry, step)[1])
  images = raw(0)['image'] / np.float32(255)
  same(combined.encode(*got, images), SIMCLR.encode(params, memory, images))


def test_loss_and_gradient_are_linear_in_the_weights():
  sum_of = lambda a, b: gradient(weighted(parts=(('simclr', SIMCLR, a), ('mae', MAE, b))))()
  ((first, _), g), ((second, (_, metrics)), h) = sum_of(1., 0.), sum_of(0., 1.)
  (loss, _), grads = sum_of(0.3, 2.)
  np.testing.assert_allclose(loss, 0.3 * first + 2 * second, rtol=1e-6)
  jax.tree.map(lambda x, a, b: np.testing.assert_allclose(x, 0.3 * a + 2 * b, rtol=1e-4, atol=1e-6), grads, g, h)
  same(metrics['simclr/loss'], first)  # before the weight
  assert not any(np.any(x) for x in jax.tree.leaves(g['mae'])) and all(np.any(x) for x in jax.tree.leaves(h['mae']))


def test_a_part_is_computed_in_its_turn_alone_and_counts_its_own_steps():
  made = alternate(parts=(('simclr', SIMCLR, 2), ('mae', MAE, 1)))
  run = gradient(made)
  for step, active in enumerate(['simclr', 'simclr', 'mae', 'simclr']):
    (loss, (carry, metrics)), grads = run(step)
    idle = 'mae' if active == 'simclr' else 'simclr'
    assert metrics[f'{active}/loss'] == loss and metrics[f'{idle}/loss'] == 0
    assert metrics['part'] == ['simclr', 'mae'].index(active)
    assert not any(np.any(x) for x in jax.tree.leaves((grads[idle], carry[idle])))
    assert any(np.any(x) for x in jax.tree.leaves(grads[active]))
  jaxpr = jax.make_jaxpr(lambda params, memory, views, step: made.loss(params, memory, views, KEY, step)[0])(
      *begun(made), batch(), jnp.int32(0))
  assert [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns].count('cond') == 1
  for counts in ([1], [2, 1], [1, 3, 2]):  # by counting
    order = [part for part, count in enumerate(counts) for _ in range(count)] * 4
    for which in range(len(counts)):
      for step in range(len(order)):
        wanted = order[:step].count(which)
        assert turns(counts, which, step) == wanted == int(turns(counts, which, jnp.int32(step)))


def test_teachers_start_as_the_shared_backbone_and_follow_it():
  student = dino(VIT, **CASES['dino'].kwargs, steps=10)
  made = weighted(parts=(('mae', MAE, 1.), ('dino', student, 1.)))
  params, memory = begun(made)
  same(memory['dino']['teacher']['backbone'], params['backbone'])
  moved = params | {'backbone': jax.tree.map(lambda x: x + 1, params['backbone'])}
  carry = {name: {k: v for k, v in kept.items() if 'statistics' in k} for name, kept in memory.items()}
  _, after = made.update(moved, memory, carry, 0)
  jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old + 0.1, atol=1e-5),  # momentum 0.9
               after['dino']['teacher']['backbone'], params['backbone'])


def test_views_of_several_sets_come_together():
  assert set(batch()) == {'views', 'image', 'label', 'index'}
  views = mae_views(size=SIZE, scale=(0.2, 1.))
  example = {k: jnp.asarray(v) for k, v in raw(0).items()}
  same(jax.jit(together(parts={'one': views}))(example, KEY), jax.jit(views)(example, KEY))
  with pytest.raises(ValueError, match="'a' and 'b' both make 'image'"):
    together(parts={'a': views, 'b': views})(example, KEY)
  with pytest.raises(ValueError, match='together wants parts'):
    together(parts={})


FIXMATCH = fixmatch(VIT, **CASES['fixmatch'].kwargs)


@pytest.mark.parametrize(('make', 'words'), [
    (lambda: weighted(parts=()), 'weight above 0'),
    (lambda: alternate(parts=()), 'at least one part'),
    (lambda: weighted(parts=(('backbone', MAE, 1.),)), "none of the name 'backbone'"),
    (lambda: weighted(parts=(('mae', MAE),)), r'parts=\(\(name, objective, weight\), ...\)'),
    (lambda: weighted(parts=(('mae', 3, 1.),)), r'parts=\(\(name, objective, weight\), ...\).*3'),
    (lambda: weighted(parts=(('mae', MAE, -1.),)), "at least 0, got .*-1.0"),
    (lambda: weighted(parts=(('mae', MAE, float('nan')),)), 'at least 0, got .*nan'),
    (lambda: weighted(parts=(('mae', MAE, 0.),)), 'weight above 0'),
    (lambda: weighted(parts=(('mae', MAE, 1.), ('mae', MAE, 2.))), 'a name of its own'),
    (lambda: alternate(parts=(('mae', MAE, 0),)), 'at least one step'),
    (lambda: alternate(parts=(('mae', MAE, 0.5),)), 'steps int of at least 0'),
    (lambda: weighted(parts=(('mae', MAE, 1.), ('other', FIXMATCH._replace(batch={'image': 'b 2 h w c'}), 1.))),
     r"'mae' and 'other' want batch\['image'\] of the shapes 'b h w c' and 'b 2 h w c'"),
    (lambda: weighted(parts=(('mae', MAE, 1.), ('bare', MAE._replace(init=lambda _: ({}, {})), 1.))).init(KEY),
     "'bare' has no backbone to share"),
    (lambda: jax.eval_shape(weighted(parts=(('mae', MAE, 1.), ('deeper', DEEPER, 1.))).init, KEY),
     "'mae' and 'deeper' have different backbones"),
])
def test_what_cannot_be_put_together_is_refused_in_words(make, words):
  with pytest.raises(ValueError, match=words):
    make()


def spec(**changes):
  tree = get_config().to_dict()
  tree['views'] = dict(name='together', parts=dict(a=tree['views'], b=dict(name='mae', size=8, scale=(0.4, 1.))))
  mae = dict(name='mae', mask_ratio=0.5, decoder_width=16, decoder_depth=1, decoder_heads=2, standardize=True)
  tree['objective'] = dict(name='weighted', parts=(('simclr', tree['objective'], 1.0), ('mae', mae, 0.5)))
  return tree | changes


def test_a_config_names_the_parts():
  run = config.call(prepare, spec(), 'config')
  state, metrics = jax.eval_shape(run.training.step, run.training.abstract, run.abstract_batch)
  assert metrics.keys() > {'loss', 'simclr/loss', 'mae/loss'}
  assert state.params.keys() == {'backbone', 'simclr', 'mae'} and state.memory.keys() == {'simclr', 'mae'}


@pytest.mark.parametrize(('where', 'parts', 'words'), [
    ('objective', 3, ['config.objective.parts', 'weight or steps', '3']),
    ('objective', {'mae': (dict(name='mae'), 1.)}, ['config.objective.parts', 'weight or steps']),
    ('objective', (('mae', 3, 1.),), ['config.objective.parts', 'weight or steps', '3']),
    ('objective', (('mae', dict(name='maee'), 1.),), ['config.objective.parts.mae.name', "nearest: 'mae'"]),
    ('objective', (('mae', dict(name='mae', mask=1), 1.),), ['config.objective.parts.mae.mask', 'mask_ratio']),
    ('objective', (('few', dict(name='supervised', classes=3), 1.),), ['classes', '3', 'go up to 9']),
    ('objective', (('few', dict(name='supervised', classes=10), '1'),), ['config.objective.parts', "'1'"]),
    ('views', {'b': dict(name='simclrr')}, ['config.views.parts.b.name', "nearest: 'simclr'"]),
    ('views', {'b': 3}, ['config.views.parts.b', "dict(name='...'"]),
    ('views', 3, ['config.views.parts', 'wanted dict']),
])
def test_a_config_of_parts_that_does_not_fit_is_refused_in_words(where, parts, words):
  tree = spec()
  tree[where]['parts'] = parts
  with pytest.raises((ConfigError, ValueError)) as error:
    config.call(prepare, tree, 'config')
  assert all(word in str(error.value) for word in words), error.value


def test_parts_that_take_turns_know_the_length_of_their_own_run():
  part = dict(name='dino', **CASES['dino'].kwargs | {'momentum': 0.})  # a half cosine from 0 to 1 at the last step
  made = objective_of(dict(name='alternate', parts=(('mae', dict(
      name='mae', mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True), 3),
      ('dino', part, 1))), 'test', steps=12, backbone=VIT, examples=100)
  params, memory = jax.tree.map(jnp.zeros_like, begun(made))
  memory['dino']['teacher'] = jax.tree.map(jnp.ones_like, memory['dino']['teacher'])
  carry = {name: {} for name in memory}
  carry['dino'] = {k: memory['dino'][k] for k in ('statistics', 'teacher_statistics', 'center')}
  after = [made.update(params, memory, carry, jnp.int32(step))[1]['dino']['teacher']['head'] for step in (3, 7, 11)]
  for got, turn in zip(after, range(3), strict=True):  # of its 3 steps
    np.testing.assert_allclose(jax.tree.leaves(got)[0].max(), 1 - (1 + np.cos(np.pi * turn / 3)) / 2, atol=1e-6)
