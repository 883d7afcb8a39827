"""Schedules and optimizers against their twins in float64; which parameters decay, and which rate each layer has.

Tolerances: rates are one float32 expression (1e-6 relative, and 1e-7 of the peak near 0); parameters after five steps
add five updates of relative error 1e-6.
"""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from pretrain import config, optim
from pretrain.method import schedules
from pretrain.models.decoder import PatchDecoder
from pretrain.models.functional import Leaf, functional
from pretrain.models.layers import MaskToken, layer_norm
from pretrain.models.resnet import resnet
from pretrain.models.table import table
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.models.wide_resnet import wide_resnet
from tests.reference import optim as twin
from tests.reference import teacher as teacher_twin

PEAK, STEPS = 3e-3, 1000
RATES = {
  'constant': (optim.constant(peak=PEAK, steps=STEPS, warmup_steps=100),
               lambda n: twin.warmup(n, peak=PEAK, warmup_steps=100)),
  'constant, no warm-up': (optim.constant(peak=PEAK, steps=STEPS), lambda _: PEAK),
  'cosine': (optim.cosine(peak=PEAK, steps=STEPS, warmup_steps=100, end=1e-4),
             lambda n: twin.cosine(n, peak=PEAK, end=1e-4, warmup_steps=100, steps=STEPS)),
  'cosine, no warm-up': (optim.cosine(peak=PEAK, steps=STEPS),
                         lambda n: twin.cosine(n, peak=PEAK, end=0., warmup_steps=0, steps=STEPS)),
  'partial cosine': (optim.partial_cosine(peak=PEAK, steps=STEPS),
                     lambda n: twin.partial_cosine(n, peak=PEAK, part=7 / 16, steps=STEPS)),
  'partial cosine, short': (optim.partial_cosine(peak=PEAK, steps=STEPS, part=0.2),
                            lambda n: twin.partial_cosine(n, peak=PEAK, part=0.2, steps=STEPS)),
  'infinite': (
    optim.infinite(peak=PEAK, steps=STEPS, warmup_steps=100, cooldown_steps=300, constant=1e-3, annealing_steps=200,
                   end=1e-5),
    lambda n: twin.infinite(n, peak=PEAK, constant=1e-3, end=1e-5, warmup_steps=100, cooldown_steps=300,
                            anneal_start=800, anneal_steps=200)),
  'infinite, trunk': (
    optim.infinite(peak=PEAK, steps=STEPS, warmup_steps=0, cooldown_steps=300, constant=1e-3, annealing_steps=0,
                   end=1e-5),
    lambda n: twin.infinite(n, peak=PEAK, constant=1e-3, end=1e-5, warmup_steps=0, cooldown_steps=300)),
}
for _shape, _end in (('linear', 1e-4), ('sqrt', 0.), ('sqrt', 1e-4)):
  RATES[f'wsd {_shape} {_end}'] = (
    optim.warmup_stable_decay(peak=PEAK, steps=STEPS, warmup_steps=100, decay_steps=200, end=_end, shape=_shape),
    lambda n, shape=_shape, end=_end: twin.warmup_stable_decay(
      n, peak=PEAK, end=end, warmup_steps=100, decay_steps=200, steps=STEPS, shape=shape))


@pytest.mark.parametrize('name', RATES)
def test_schedule_is_its_twin_at_starts_joins_middles_and_ends(name):
  schedule, expected = RATES[name]
  at = [0, 1, 50, 99, 100, 101, 250, 399, 400, 401, 550, 799, 800, 801, 900, 999, 1000, 1001, 5000]
  rates = jax.jit(jax.vmap(schedule))(jnp.int32(at))
  assert rates.dtype == jnp.float32
  np.testing.assert_allclose(rates, [expected(n) for n in at], rtol=1e-5, atol=1e-7 * PEAK)
  np.testing.assert_allclose([schedule(n) for n in at], rates, rtol=1e-6, atol=1e-7 * PEAK)  # plain ints, no jit


@pytest.mark.parametrize(('warmup_steps', 'end'), [(0, 0.), (1, 1e-4), (2, 0.), (10, 1e-4), (49, 1e-6)])
def test_a_linspace_warm_up_is_the_table_of_dinos_code_at_every_step(warmup_steps, end):
  schedule = optim.cosine(peak=PEAK, steps=50, warmup_steps=warmup_steps, end=end, linspace=True)
  wanted = twin.linspace_cosine(peak=PEAK, end=end, warmup_steps=warmup_steps, steps=50)
  np.testing.assert_allclose(jax.vmap(schedule)(jnp.arange(50)), wanted, rtol=1e-5, atol=1e-7 * PEAK)


@pytest.mark.parametrize(('name', 'steps', 'warmup', 'peak', 'decay'), [
  ('dino.py:vit_s16_imagenet', 300 * 1251, 10 * 1251, 5e-4 * 1024 / 256, .4),  # 1,281,167 // 1,024 steps an epoch
  ('ibot.py:vit_s16_imagenet', 800 * 1251, 10 * 1251, 5e-4 * 1024 / 256, .4),
  ('dinov2.py:vit_l14_imagenet22k', 500 * 1250, 80 * 1250, 2e-4 * 3 ** .5, .2),
  ('dinov2.py:vit_g14_imagenet22k', 500 * 1250, 80 * 1250, 2e-4 * 3 ** .5, .2)])
def test_presets_have_the_tables_of_their_authors_at_every_step(name, steps, warmup, peak, decay):
  c = ConfigDict(config.load(f'configs/{name}', []))
  assert c.steps == steps and c.optimizer.weight_decay == .04 and c.optimizer.weight_decay_end == decay
  schedule = config.build(optim.schedules, c.schedule.to_dict(), 'config.schedule', steps=c.steps)
  wanted = twin.linspace_cosine(peak=peak, end=1e-6, warmup_steps=warmup, steps=steps)
  np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(jnp.arange(steps)), wanted, atol=1e-6 * peak)
  every = c.objective.get('teacher_warmup_every', 1)
  temperature = schedules.linspace(c.objective.teacher_temperature_start, c.objective.teacher_temperature,
                                 c.objective.teacher_warmup_steps, every)
  epoch = 1250 if name.startswith('dinov2') else 1251
  wanted = teacher_twin.temperatures(.04, .07, 30 * epoch // every, epoch=every, steps=steps)
  assert every in (1, epoch) and c.objective.freeze_prototypes_steps == epoch
  np.testing.assert_allclose(jax.jit(jax.vmap(temperature))(jnp.arange(steps)), wanted, rtol=1e-6)


def test_schedules_at_hand_computed_points():
  cosine = optim.cosine(peak=1., steps=110, warmup_steps=10, end=.2)
  assert [round(float(cosine(n)), 6) for n in (0, 5, 10, 60, 110)] == [0., .5, 1., .6, .2]
  assert np.allclose([optim.partial_cosine(peak=1., steps=7)(n) for n in (0, 4, 7, 9)], [1, .5 ** .5, .19509, .19509])
  thirds = optim.partial_cosine(peak=2., steps=30, part=1 / 3)
  assert np.allclose([thirds(n) for n in (0, 15, 30)], [2, 3 ** .5, 1])
  assert 0 <= optim.partial_cosine(peak=1., steps=30, part=.5)(30) < 1e-7
  wsd = dict(peak=1., steps=100, warmup_steps=0, decay_steps=40)
  assert round(float(optim.warmup_stable_decay(**wsd, shape='sqrt')(70)), 6) == .5  # 1 - sqrt(10 / 40)
  assert round(float(optim.warmup_stable_decay(**wsd, shape='linear')(70)), 6) == .75
  infinite = optim.infinite(peak=1., steps=40, warmup_steps=10, cooldown_steps=10, constant=.1, annealing_steps=10,
                           end=.001)
  assert [round(float(infinite(n)), 6) for n in (5, 10, 15, 20, 25, 30, 35, 40)] == [.5, 1., .55, .1, .1, .1, .01, .001]


def test_a_trunk_does_not_depend_on_its_length():
  options = dict(peak=1., warmup_steps=5, cooldown_steps=10, constant=.2, end=.01)
  trunk, longer = (optim.infinite(steps=n, annealing_steps=0, **options) for n in (40, 400))
  branch = optim.infinite(steps=50, annealing_steps=20, **options)
  n = jnp.arange(30)
  np.testing.assert_array_equal(jax.vmap(trunk)(n), jax.vmap(longer)(n))
  np.testing.assert_array_equal(jax.vmap(trunk)(n), jax.vmap(branch)(n))
  assert np.isclose(branch(50), .01) and np.isclose(longer(399), .2)


@pytest.mark.parametrize(('call', 'words'), [
  (lambda: optim.cosine(peak=1., steps=100, warmup_steps=100), ['warmup_steps=100', 'of 100 steps', 'at most 99']),
  (lambda: optim.constant(peak=1., steps=100, warmup_steps=101), ['warmup_steps=101', 'steps=100']),
  (lambda: optim.warmup_stable_decay(peak=1., steps=100, warmup_steps=50, decay_steps=60, shape='sqrt'),
   ['warmup_steps=50 + decay_steps=60', 'steps=100']),
  (lambda: optim.warmup_stable_decay(peak=1., steps=100, warmup_steps=5, decay_steps=6, shape='cosine'),
   ["'linear' or 'sqrt'", "'cosine'"]),
  (lambda: optim.cosine(peak=1., steps=100, end=2.), ['end <= peak', 'end=2.0, peak=1.0']),
  (lambda: optim.infinite(peak=1., steps=9, warmup_steps=1, cooldown_steps=1, constant=.1, annealing_steps=9, end=.01),
   ['warmup_steps=1 + cooldown_steps=1 + annealing_steps=9', 'steps=9']),
  (lambda: optim.layer_multipliers({'mlp': jnp.zeros(3)}, .5, {}), ['which layer', "['mlp']"]),
  (lambda: optim.layer_multipliers({}, 1.5, {}), ['(0, 1]', '1.5']),
])
def test_errors_name_what_was_wanted_and_got(call, words):
  with pytest.raises(ValueError) as error:
    call()
  for word in words:
    assert word in str(error.value)


def test_configs_build_them():
  schedule = config.build(optim.schedules, dict(name='cosine', peak=1., warmup_steps=10), 'config.schedule',
                          steps=STEPS)
  tx = config.build(optim.optimizers, dict(name='lars', weight_decay=1e-6), 'config.optimizer', schedule=schedule)
  assert float(schedule(10)) == 1. and isinstance(tx, optax.GradientTransformation)
  with pytest.raises(config.ConfigError, match='config.schedule.shape.*linear.*cubic'):
    wrong = dict(name='warmup_stable_decay', peak=1., warmup_steps=1, decay_steps=1, shape='cubic')
    config.build(optim.schedules, wrong, 'config.schedule', steps=STEPS)


# Which parameters -----------------------------------------------------------------------------------------------------

def said(**parts):
  """Shapes of the parameters of some parts, and what they say they are, as `Objective.spec` has it."""
  net = functional(lambda rngs: nnx.Dict(**{name: build(rngs) for name, build in parts.items()}))
  params, _ = jax.eval_shape(net.init, jax.random.key(0))
  return params, {f'params/{path}': leaf for path, leaf in net.spec.items()}


SMALL = dict(width=8, depth=2, heads=2, mlp=12)
VIT = vit(image=8, channels=3, patch=4, width=8, depth=2, heads=2, mlp=12, registers=2, layer_scale=1e-5)


def test_what_decays():
  params, spec = said(
      backbone=VIT, decoder=lambda rngs: MaskToken(8, layer=None, rngs=rngs),
      head=lambda rngs: nnx.Linear(8, 3, rngs=rngs),
      resnet=resnet(depth=18, channels=3, stem='cifar', width=8), table=table(numeric=2, registers=1, **SMALL))
  flat = {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
  decayed = {path for path, leaf in flat.items() if optim.decays(optim.leaf_of(spec, path, leaf))}
  assert decayed == {path for path in flat if path.endswith('kernel')} | {'table/weight'}  # matrices and convolutions
  also = {path for path, leaf in flat.items() if optim.decays(optim.leaf_of(spec, path, leaf), decay_1d=True)}
  assert set(flat) - also == {'backbone/cls', 'backbone/register_tokens', 'backbone/position_table',
                              'decoder/mask_token', 'table/register_tokens'}
  for bias, rank in (('backbone/trunk/blocks/0/attention/qkv/bias', 3), ('table/bias', 2)):
    assert flat[bias].ndim == rank  # biases that their rank would not tell
  bare = lambda *shape: optim.decays(optim.leaf_of({}, 'anything', jnp.zeros(shape)))
  assert bare(8, 3) and not bare(3) and not bare()  # of a network that says nothing


def test_layer_multipliers():
  params, spec = said(backbone=VIT, head=lambda rngs: nnx.Linear(8, 3, rngs=rngs), decoder=VIT)
  multipliers = optim.layer_multipliers(params, .5, spec)
  before = [multipliers['backbone'][name] for name in ('project', 'cls', 'register_tokens', 'position_table')]
  assert set(jax.tree.leaves(before)) == {twin.layer_decay(0, depth=2, decay=.5)} == {.125}
  trunk = multipliers['backbone']['trunk']
  assert set(jax.tree.leaves(trunk['blocks'][0])) == {twin.layer_decay(1, depth=2, decay=.5)} == {.25}
  assert set(jax.tree.leaves(trunk['blocks'][1])) == {twin.layer_decay(2, depth=2, decay=.5)} == {.5}
  assert set(jax.tree.leaves([trunk['norm'], multipliers['head'], multipliers['decoder']])) == {1.}


PATCHES = {'project/kernel', 'project/bias'}
BEFORE = {  # each kind of backbone with blocks: build, what comes before its first one, blocks
  'vit': (VIT, PATCHES | {'cls', 'register_tokens', 'position_table'}, 2),
  'vit of clips': (vit(image=8, channels=1, patch=4, frames=4, tubelet=2, pool='mean', positions='sincos', **SMALL),
                   PATCHES | {'cls'}, 2),
  'text': (text(vocabulary=9, length=4, **SMALL), {'tokens/embedding', 'position_table'}, 2),
  'table': (table(numeric=2, categories=(3, 2), registers=1, **SMALL),
            {'weight', 'values', 'bias', 'register_tokens'}, 2),
  'resnet': (resnet(depth=18, channels=3, stem='cifar', width=8),
             {'stem/kernel', 'stem_norm/norm/scale', 'stem_norm/norm/bias'}, 8),
  'wide_resnet': (wide_resnet(depth=10, widen=1, channels=3), {'stem/kernel'}, 3),
}


@pytest.mark.parametrize('name', BEFORE)
def test_every_parameter_of_every_backbone_has_its_layer(name):
  build, before, depth = BEFORE[name]
  params, spec = said(backbone=build, mask_token=lambda rngs: MaskToken(8, rngs=rngs),
                      head=lambda rngs: layer_norm(8, rngs=rngs),
                      decoder=lambda rngs: PatchDecoder(8, 8, width=8, depth=1, heads=2, rngs=rngs))
  got = {jax.tree_util.keystr(path, simple=True, separator='/'): value
         for path, value in jax.tree_util.tree_leaves_with_path(optim.layer_multipliers(params, .5, spec))}
  at = lambda layer: twin.layer_decay(layer, depth=depth, decay=.5)  # noqa: E731
  assert {path for path, value in got.items() if value == at(0)} == {
    f'backbone/{path}' for path in before} | {'mask_token/mask_token'}
  for i in range(depth):
    inside = {path for path in got if f'blocks/{i}/' in path and path.startswith('backbone')}
    assert inside and {got[path] for path in inside} == {at(i + 1)}
  last = {path for path, value in got.items() if value == 1}
  norm = {f'backbone/{"" if name == "wide_resnet" else "trunk/"}norm/{leaf}' for leaf in ('scale', 'bias')}
  norm = norm if name != 'resnet' else set()
  assert last == {path for path in got if path.split('/')[0] in ('head', 'decoder')} | norm


# Optimizers -----------------------------------------------------------------------------------------------------------

def problem(seed=0):
  """Parameters and five gradients: a matrix that decays, and a bias and a token that do not."""
  rng = np.random.default_rng(seed)
  draw = lambda: {'backbone': {'kernel': rng.normal(size=(4, 3)), 'bias': rng.normal(size=3)},  # noqa: E731
                  'cls': rng.normal(size=(3,))}
  tree = lambda: jax.tree.map(jnp.float32, draw())  # noqa: E731
  return tree(), [tree() for _ in range(5)]


def trained(tx, params, grads, state=None):
  """Params and state after the gradients; jitted, one compilation."""
  step = jax.jit(lambda grads, state, params: tx.update(grads, state, params))
  state = tx.init(params) if state is None else state
  for g in grads:
    updates, state = step(g, state, params)
    params = optax.apply_updates(params, updates)
  assert step._cache_size() == 1
  return params, state


def schedule(step):
  return .1 * (1 - step / 10)


def reference(one_step, params, grads):
  """`one_step(param, grad, n, decay, buffers) -> (param, *buffers)` over the leaves, as a tree of float64."""
  out = {}
  for name, decay in (('kernel', True), ('bias', False), ('cls', False)):
    pick = lambda tree, name=name: np.float64(tree['cls'] if name == 'cls' else tree['backbone'][name])  # noqa: E731
    param, buffers = pick(params), None
    for n, g in enumerate(grads):
      param, *buffers = one_step(param, pick(g), n, decay, buffers or [np.zeros_like(param)] * 2)
    out[name] = param
  return {'backbone': {'kernel': out['kernel'], 'bias': out['bias']}, 'cls': out['cls']}


def close(got, expected, rtol=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), got, expected)


@pytest.mark.parametrize(('make', 'kernel', 'bias'), [
  (partial(optim.adamw, weight_decay=.3), 1 - .1 * .3, 1), (partial(optim.sgd, weight_decay=.3), 1 - .1 * .3, 1),
  (partial(optim.adamw, weight_decay=.3, decay_1d=True, spec={'params/cls': Leaf(decay=False)}), 1 - .1 * .3,
   1 - .1 * .3),
  (partial(optim.lamb, weight_decay=.3), 1 - .1, 1),  # the norm of the parameter times the rate, whatever the decay
  (partial(optim.lars, weight_decay=.3, trust_coefficient=.02), 1 - .1 * .02, 1)],
  ids=['adamw', 'sgd', 'adamw with decay_1d', 'lamb', 'lars'])
def test_without_a_gradient_what_decays_shrinks_and_nothing_else_moves(make, kernel, bias):
  params, _ = problem()
  tx = make(optax.constant_schedule(.1))
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  left = {'backbone': {'kernel': kernel, 'bias': bias}, 'cls': 1}
  close(optax.apply_updates(params, updates), jax.tree.map(lambda p, share: np.float64(p) * share, params, left))


def test_adamw_is_its_twin():
  params, grads = problem()
  got, _ = trained(optim.adamw(schedule, weight_decay=.3, b1=.8, b2=.95, eps=1e-6), params, grads)
  close(got, reference(lambda p, g, n, decay, b: twin.adamw(
    p, g, *b, step=n + 1, learning_rate=schedule(n), b1=.8, b2=.95, epsilon=1e-6, weight_decay=.3 * decay),
    params, grads))


def test_lamb_is_its_twin():
  params, grads = problem()
  got, _ = trained(optim.lamb(schedule, weight_decay=.3, b1=.8, b2=.95), params, grads)
  close(got, reference(lambda p, g, n, decay, b: twin.lamb(
    p, g, *b, step=n + 1, learning_rate=schedule(n), b1=.8, b2=.95, epsilon=1e-6, weight_decay=.3, excluded=not decay),
    params, grads))


def test_lamb_update_has_the_norm_of_the_parameter_whatever_the_gradient():
  params, grads = problem()
  tx = optim.lamb(optax.constant_schedule(.5), weight_decay=.1)
  for scale in (1e-2, 1., 1e3):
    updates, _ = tx.update(jax.tree.map(lambda g: scale * g, grads[0]), tx.init(params), params)  # noqa: B023
    np.testing.assert_allclose(np.linalg.norm(updates['backbone']['kernel']),
                               .5 * np.linalg.norm(params['backbone']['kernel']), rtol=1e-5)
    np.testing.assert_allclose(updates['cls'], -.5 * np.sign(grads[0]['cls']), rtol=1e-3)  # Adam's first step


@pytest.mark.parametrize(('name', 'more'), [('adamw', ()), ('lamb', ('excluded',))])
def test_weight_decay_follows_half_a_cosine(name, more):
  params, grads = problem()
  make = getattr(optim, name)
  got, _ = trained(make(schedule, weight_decay=.3, weight_decay_end=.9, b2=.95, eps=1e-6, steps=8), params, grads)
  def one(p, g, n, decay, b):
    now = twin.cosine(n, peak=.3 - .9, end=0., warmup_steps=0, steps=8) + .9
    given = dict(step=n + 1, learning_rate=schedule(n), b1=.9, b2=.95, epsilon=1e-6, weight_decay=now * decay)
    return getattr(twin, name)(p, g, *b, **given, **dict.fromkeys(more, not decay))
  close(got, reference(one, params, grads))
  for start, end, steps in ((0., .1, 8), (.1, .2, 0)):
    with pytest.raises(ValueError, match='weight_decay_end wants'):
      make(schedule, weight_decay=start, weight_decay_end=end, steps=steps)


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_is_its_twin(nesterov):
  params, grads = problem()
  got, _ = trained(optim.sgd(schedule, momentum=.7, nesterov=nesterov, weight_decay=.3), params, grads)
  close(got, reference(lambda p, g, n, decay, b: twin.sgd(
    p, g, b[0], learning_rate=schedule(n), momentum=.7, nesterov=nesterov, weight_decay=.3 * decay), params, grads))


@pytest.mark.parametrize('given', [{}, {'rate_in_velocity': False}])
def test_lars_is_its_twin(given):
  params, grads = problem()
  tx = optim.lars(schedule, weight_decay=.3, trust_coefficient=.02, **given)
  got, _ = trained(tx, params, grads)
  close(got, reference(lambda p, g, n, decay, b: twin.lars(
    p, g, b[0], learning_rate=schedule(n), momentum=.9, weight_decay=.3, trust_coefficient=.02, excluded=not decay,
    norm_of_sum=True, rate_in_velocity=not given), params, grads))


def test_lars_update_has_the_norm_of_the_parameter_whatever_the_gradient():
  params, grads = problem()
  tx = optim.lars(optax.constant_schedule(2.), weight_decay=.1, trust_coefficient=.01)
  for scale in (1e-3, 1., 1e3):
    updates, _ = tx.update(jax.tree.map(lambda g: scale * g, grads[0]), tx.init(params), params)  # noqa: B023
    kernel, bias = updates['backbone']['kernel'], updates['backbone']['bias']
    wanted = 2 * .01 * np.linalg.norm(params['backbone']['kernel'])
    np.testing.assert_allclose(np.linalg.norm(kernel), wanted, rtol=1e-5)
    np.testing.assert_allclose(bias, -2 * scale * grads[0]['backbone']['bias'], rtol=1e-5)  # neither decayed nor scaled


def test_clipping_is_by_the_global_norm():
  params, grads = problem()
  norm = np.sqrt(sum(np.sum(np.float64(g) ** 2) for g in jax.tree.leaves(grads[0])))
  for limit, factor in ((norm / 4, .25), (norm * 4, 1.)):
    tx = optim.sgd(optax.constant_schedule(1.), clip_norm=float(limit))
    updates, _ = tx.update(grads[0], tx.init(params), params)
    close(updates, jax.tree.map(lambda g: -factor * np.float64(g), grads[0]))  # noqa: B023


@pytest.mark.parametrize('name', ['adamw', 'sgd', 'lars', 'lamb'])
def test_every_optimizer_clips_before_all_else(name):
  params, grads = problem()
  limit = float(np.median([optax.tree.norm(g) for g in grads]))
  scales = [min(1., limit / float(optax.tree.norm(g))) for g in grads]
  clipped = [jax.tree.map(lambda x, s=s: s * x, g) for g, s in zip(grads, scales, strict=True)]
  make = partial(getattr(optim, name), schedule, weight_decay=.3)
  close(trained(make(clip_norm=limit), params, grads)[0], trained(make(), params, clipped)[0])


def test_layer_decay_multiplies_the_whole_update():
  params = {'backbone': {'project': jnp.ones((2, 2)), 'blocks': {0: {'kernel': jnp.ones((2, 2))}},
                         'norm': jnp.ones((2, 2))}}
  grads = jax.tree.map(lambda x: .5 * x, params)
  spec = {'params/backbone/project': Leaf(layer=0), 'params/backbone/blocks/0/kernel': Leaf(layer=1)}
  plain, layered = (optim.adamw(optax.constant_schedule(.1), weight_decay=.2, layer_decay=d, spec=spec)
                    for d in (None, .5))
  want, _ = plain.update(grads, plain.init(params), params)
  got, state = layered.update(grads, layered.init(params), params)
  expected = {'project': .25, 'blocks': {0: {'kernel': .5}}, 'norm': 1.}
  close(got, {'backbone': jax.tree.map(lambda u, m: u * m, want['backbone'], expected)})
  with pytest.raises(ValueError, match='layer_decay wants'):
    layered.init({'backbone': {'kernel': jnp.ones(2)}})


@pytest.mark.parametrize('tx', [
  optim.adamw(schedule, weight_decay=.3, clip_norm=1.), optim.sgd(schedule, weight_decay=.3),
  optim.lars(schedule, weight_decay=.3, clip_norm=1.), optim.lars(schedule, weight_decay=.3, rate_in_velocity=False),
  optim.lamb(schedule, weight_decay=.3, weight_decay_end=.5, steps=9)],
  ids=['adamw', 'sgd', 'lars', 'lars, rate outside', 'lamb'])
def test_state_is_arrays_and_resumes_bit_for_bit(tx):
  params, grads = problem()
  whole, _ = trained(tx, params, grads)
  half, state = trained(tx, params, grads[:2])
  assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(state))
  leaves, tree = jax.tree.flatten(state)
  saved = jax.tree.unflatten(tree, [jnp.asarray(np.asarray(x)) for x in leaves])
  resumed, _ = trained(tx, jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), half), grads[2:], saved)
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)
