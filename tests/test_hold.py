"""Parameters that stand still for a while: value, moments and count are kept, and then it is as if they began there."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain import config, objectives, optim
from pretrain.machine import sharding
from pretrain.models.functional import functional
from pretrain.models.heads import PrototypeHead
from pretrain.objectives.alternate import alternate
from pretrain.objectives.weighted import weighted
from pretrain.step import compile_step
from tests.cases import of_papers, raw
from tests.papers.test_weighted import PARTS, VIEWS_OF_PARTS
from tests.reference import optim as twin
from tests.test_optim import problem, schedule

pytestmark = pytest.mark.suite('hold')

CASES = of_papers()

OPTIMIZERS = {  # name -> optimizer, and the twin's step of a matrix that decays: (param, grad, step, rate, buffers)
    'adamw': (lambda: optim.adamw(schedule, weight_decay=.3, b2=.95, eps=1e-6),
              lambda p, g, n, rate, b: twin.adamw(p, g, *b, step=n, learning_rate=rate, b1=.9, b2=.95, epsilon=1e-6,
                                                  weight_decay=.3)),
    'lamb': (lambda: optim.lamb(schedule, weight_decay=.3, b2=.95),
             lambda p, g, n, rate, b: twin.lamb(p, g, *b, step=n, learning_rate=rate, b1=.9, b2=.95, epsilon=1e-6,
                                                weight_decay=.3, excluded=False)),
    'sgd': (lambda: optim.sgd(schedule, momentum=.7, weight_decay=.3),
            lambda p, g, _, rate, b: twin.sgd(p, g, b[0], learning_rate=rate, momentum=.7, nesterov=False,
                                              weight_decay=.3)),
}
STILL = [True, True, False, False, True, False, False]  # of the kernel, by step


def hold(step):
  return {'backbone/kernel': jnp.array(STILL)[step]}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_parameter_that_stands_still_is_as_one_without_a_gradient_in_pytorch(name):
  """The twin knows no hold: it is given the steps in which the parameter moves, and counts these alone."""
  make, one_step = OPTIMIZERS[name]
  (params, grads), more = problem(0), problem(1)[1]
  tx = optim.holding(make(), hold)
  state, moved, buffers = tx.init(params), 0, [np.zeros((4, 3))] * 2
  wanted, free = np.float64(params['backbone']['kernel']), make()
  free_state, free_params = free.init(params), params
  for n, g in enumerate([*grads, *more[:2]]):
    held = hold(n)
    updates, new = tx.update(optim.by_path(held, lambda h, g: jnp.where(h, 0, g), g), state, params, held=held)
    if STILL[n]:
      kept = [[x for path, x in jax.tree_util.tree_leaves_with_path(tree.inner) if jax.tree_util.keystr(
          path, simple=True, separator='/').endswith('backbone/kernel')] for tree in (state, new)]
      assert kept[0]
      jax.tree.map(np.testing.assert_array_equal, *kept)
    else:
      params = params | {'backbone': params['backbone'] | {
          'kernel': params['backbone']['kernel'] + updates['backbone']['kernel']}}
      moved += 1
      wanted, *buffers = one_step(wanted, np.float64(g['backbone']['kernel']), moved, schedule(n), buffers)
    state = new
    np.testing.assert_allclose(params['backbone']['kernel'], wanted, rtol=1e-5, atol=1e-6)
    # the others do not notice
    free_updates, free_state = free.update(g, free_state, free_params)
    free_params = optax.apply_updates(free_params, free_updates)
    np.testing.assert_array_equal(updates['backbone']['bias'], free_updates['backbone']['bias'])
  assert int(state.stood['backbone/kernel']) == sum(STILL) and set(state.stood) == {'backbone/kernel'}


def test_after_a_hold_the_steps_are_those_of_a_run_that_begins_there_bit_for_bit():
  params, grads = problem()
  make = lambda: optim.adamw(optax.constant_schedule(.1), weight_decay=.3)
  tx = optim.holding(make(), lambda step: {'backbone': step < 1251})
  update = jax.jit(lambda g, state, step: tx.update(g, state, params, held={'backbone': step < 1251}))
  state = tx.init(params)
  state = jax.lax.fori_loop(0, 1251, lambda step, state: update(jax.tree.map(jnp.zeros_like, params), state, step)[1],
                            state)
  free, fresh = jax.jit(lambda g, state: tx.update(g, state, params, held={'backbone': False})), tx.init(params)
  for g in grads:
    held, state = free(g, state)
    wanted, fresh = free(g, fresh)
    for name in ('kernel', 'bias'):
      np.testing.assert_array_equal(held['backbone'][name], wanted['backbone'][name])


# In the step of the objectives ----------------------------------------------------------------------------------------

TX = optim.adamw(optax.constant_schedule(1e-2), weight_decay=.1, clip_norm=3.)
LAST = {'dino': ['head/prototypes'], 'ibot': ['head/prototypes'], 'swav': ['prototypes/kernel'],
        'dinov2': [f'{head}/{name}' for head in ('head', 'patch_head') for name in ('prototypes', 'gain')]}


def freezing(name: str):
  """The objective of a case, with its last layer frozen in steps 0 and 1."""
  case = CASES[name]
  return config.build(objectives, dict(name=name, **case.kwargs | {'freeze_prototypes_steps': 2}), 'test',
                      backbone=case.backbone, steps=10, examples=100)


def stepped(made, views, batch, steps: int = 4):
  """States 0, 1, ... on one device, on the host, and the metrics of the last step."""
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  training = compile_step(made, views, TX, optax.constant_schedule(1e-2), seed=0, batch=batch(0), mesh=mesh)
  state, metrics = training.init(), {}
  states = [jax.device_get(state)]
  for n in range(steps):
    state, metrics = training.step(state, sharding.place(batch(n), mesh))
    states.append(jax.device_get(state))
  return states, metrics


def at(tree, path):
  return functools.reduce(lambda tree, key: tree[key], path.split('/'), tree)


def moments(state, path):
  adam = getattr(state.opt_state, 'inner', state.opt_state)[1][0]
  return at(adam.mu, path), at(adam.nu, path), adam.count


@pytest.mark.parametrize('name', ['dino', 'ibot', 'swav'])
def test_a_gradient_that_is_taken_away_leaves_value_and_moments(name):
  """dino/utils.py cancel_gradients_last_layer, main_swav.py "cancel some gradients": p.grad = None."""
  states, _ = stepped(freezing(name), CASES[name].views, CASES[name].batch)
  for path in LAST[name]:
    for n in (0, 1):
      new, old = states[n + 1], states[n]
      if name == 'swav':  # which normalises its prototypes after each step, as the authors before it
        np.testing.assert_allclose(at(new.params, path), at(old.params, path), atol=1e-6)
      else:
        np.testing.assert_array_equal(at(new.params, path), at(old.params, path))
      assert not any(np.any(x) for x in moments(new, path)[:2])
    assert int(states[4].opt_state.stood[path]) == 2
    # the first step is Adam's first: in each entry the rate, if its gradient is not next to nothing
    before, after = (at(states[n].params, path) for n in (2, 3))
    first, second, _ = moments(states[3], path)
    g = np.float64(first) / .1
    np.testing.assert_allclose(np.float64(second), .001 * g * g, rtol=1e-4)
    wanted = np.float64(before) - 1e-2 * (g / (np.abs(g) + 1e-8) + .1 * np.float64(before))
    if name == 'swav':
      wanted /= np.linalg.norm(wanted, axis=0)
    np.testing.assert_allclose(after, wanted, rtol=1e-4, atol=1e-5)


def test_a_rate_of_0_leaves_the_value_alone():
  """dinov2/train/train.py last_layer_lr_schedule: the moments go on, and the decay, multiplied by the rate, is 0."""
  states, _ = stepped(freezing('dinov2'), CASES['dinov2'].views, CASES['dinov2'].batch)
  for path in LAST['dinov2']:
    for n in (0, 1):
      np.testing.assert_array_equal(at(states[n + 1].params, path), at(states[n].params, path))
      assert all(np.any(x) for x in moments(states[n + 1], path)[:2])
    before, after = (at(states[n].params, path) for n in (2, 3))
    first, second, count = moments(states[3], path)
    first, second = np.float64(first) / (1 - .9 ** 3), np.float64(second) / (1 - .999 ** 3)
    assert count == 3
    np.testing.assert_allclose(after, np.float64(before) - 1e-2 * (
        first / (np.sqrt(second) + 1e-8) + .1 * np.float64(before)), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_taken_away_is_part_of_no_norm():
  made, case = freezing('dino'), CASES['dino']

  def stopped(params, *rest):
    head = params['head'] | {'prototypes': jax.lax.stop_gradient(params['head']['prototypes'])}
    return made.loss(params | {'head': head}, *rest)

  norms = [float(stepped(one, case.views, case.batch, 1)[1]['grad_norm'])
           for one in (made, made._replace(hold=None, loss=stopped), made._replace(hold=None))]
  np.testing.assert_allclose(norms[0], norms[1], rtol=1e-6)
  assert norms[2] > (1 + 1e-5) * norms[0]


def test_what_stands_still_in_a_part_stands_still_in_the_whole():
  dino = freezing('dino')
  both = weighted(parts=(('dino', dino, 1.), ('again', dino, 1.)))
  assert both.hold and set(both.hold(0)) == {'dino/head/prototypes', 'again/head/prototypes'}
  assert all(both.hold(1).values()) and not any(both.hold(2).values())
  v2 = weighted(parts=(('dinov2', freezing('dinov2'), 1.), ('dino', dino, 1.)))
  assert v2.rate and float(v2.rate(1)['dinov2/head/gain']) == 0 and float(v2.rate(2)['dinov2/head/gain']) == 1
  assert v2.hold and set(v2.hold(0)) == {'dino/head/prototypes'}
  backbone = dino._replace(hold=lambda step: {'backbone/trunk': step < 2})
  shared = weighted(parts=(('dino', backbone, 1.), ('again', dino, 1.)))
  with pytest.raises(ValueError, match='the hold of a part may be of its own heads, not of what all share'):
    shared.hold(0)  # pyrefly: ignore[not-callable]


def test_heads_stand_still_while_it_is_not_their_turn():
  made = alternate(parts=(('simclr', PARTS['simclr'], 2), ('mae', PARTS['mae'], 1)))
  states, _ = stepped(made, VIEWS_OF_PARTS, raw)
  for n, active in enumerate(['simclr', 'simclr', 'mae', 'simclr']):
    for name in ('simclr', 'mae'):
      same = [np.array_equal(a, b) for tree in ('params', 'mu', 'nu') for a, b in zip(
          *(jax.tree.leaves(part(states[at], tree, name)) for at in (n, n + 1)), strict=True)]
      assert not any(same) if name == active else all(same), (n, name)
  assert {path.split('/')[0]: int(n) for path, n in states[4].opt_state.stood.items()} == {'simclr': 1, 'mae': 3}


def part(state, tree: str, name: str):
  return state.params[name] if tree == 'params' else getattr(state.opt_state.inner[1][0], tree)[name]


def test_of_a_part_in_turns_the_step_is_its_own():
  made = alternate(parts=(('dino', freezing('dino'), 1), ('mae', PARTS['mae'], 3)))
  assert made.hold
  held = [bool(made.hold(step)['dino/head/prototypes']) for step in range(10)]
  assert held == [True, True, True, True, True, True, True, True, False, True]  # its third turn is step 8
  assert [bool(made.hold(step)['mae']) for step in range(5)] == [True, False, False, False, True]
  assert not alternate(parts=(('mae', PARTS['mae'], 3),)).hold


@pytest.mark.parametrize('kind', ['hold', 'rate'])
def test_a_path_that_no_parameter_has_is_told_before_the_compiler_runs(kind):
  made = freezing('dino')._replace(**{kind: lambda step: {'head/prototype': step < 2}})
  with pytest.raises(ValueError, match=f"Objective.{kind} names the parameter 'head/prototype'; wanted one of"):
    stepped(made, CASES['dino'].views, CASES['dino'].batch)


# Prototypes -----------------------------------------------------------------------------------------------------------

def test_prototypes_begin_with_the_length_of_the_authors_and_their_gains_decay():
  """PyTorch's nn.Linear draws weights uniformly within 1 / sqrt(in); weight_norm's weight_g is a matrix [out, 1]."""
  net = functional(lambda rngs: PrototypeHead(16, 2000, bottleneck=256, hidden=8, normalize_last=False, rngs=rngs))
  params, _ = net.init(jax.random.key(0))
  lengths = np.linalg.norm(params['prototypes'], axis=0)
  assert abs(lengths.mean() - 3 ** -.5) < 2e-3 and np.abs(params['prototypes']).max() <= 1 / 16
  turned = jax.tree_util.tree_map_with_path(lambda path, _: optim.decays(
      net.spec[jax.tree_util.keystr(path, simple=True, separator='/')]), params)
  assert params['gain'].shape == (1, 2000) and turned['gain'] and turned['prototypes']
  assert not turned['mlp']['layers'][0]['bias']
