"""`method`: what a loss is given, what of it is kept, and what is refused."""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain.method.memory import Average
from pretrain.method.objective import method
from pretrain.models.heads import MLP
from pretrain.models.layers import batch_norm

BATCH = {'image': 'b d'}
IMAGES = np.random.default_rng(0).normal(2, 3, (8, 4)).astype(np.float32)
KEY = jax.random.key(0)


class Backbone(nnx.Module):
  """A linear layer, and batch normalisation."""

  def __init__(self, rngs):
    self.width, self.first, self.norm = 3, nnx.Linear(4, 3, rngs=rngs), batch_norm(3, rngs=rngs)

  def __call__(self, x, train=False):
    return self.norm(self.first(x), use_running_average=not train)


def modules(rngs):
  return nnx.Dict(backbone=Backbone(rngs), head=MLP(3, (), 2, batch_norm=False, rngs=rngs))


def plain(student, batch):
  return jnp.mean(jnp.square(student.head(student.backbone(batch['image'], train=True)))), {}


class Memory(NamedTuple):
  count: Any


def same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def differ(one, other):
  assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def run(made, steps=1):
  """Parameters and memory before and after, without an optimizer, and the last carry."""
  params, memory = first = made.init(KEY)
  carry = {}
  for step in range(steps):
    _, (carry, _) = made.loss(params, memory, {'image': IMAGES}, KEY, step)
    params, memory = made.update(params, memory, carry, step)
  return first, (params, memory), carry


@pytest.mark.parametrize('inside', ['plainly', 'in a gradient', 'in a jvp', 'in a loop', 'in a branch'])
def test_a_pass_of_other_parameters_is_dropped_in_any_trace(inside):
  def loss(student, batch):
    def other(p):
      f = student.at(p)
      return jnp.sum(f.head(f.backbone(100 + batch['image'], train=True)))

    p = jax.tree.map(lambda x: 2 * x, student.params)
    value = {'plainly': lambda: other(p), 'in a gradient': lambda: squares(jax.grad(other)(p)),
             'in a jvp': lambda: jax.jvp(lambda x: jnp.sum(student.at(p).backbone(x)), (batch['image'],),
                                         (batch['image'],))[1],
             'in a loop': lambda: jax.lax.scan(lambda c, _: (c + other(p), None), 0., None, 2)[0],
             'in a branch': lambda: jax.lax.cond(True, other, other, p)}[inside]()
    return plain(student, batch)[0] + 0 * value, {}

  _, (_, memory), carry = run(method(BATCH, modules, loss))
  _, (_, wanted), wanted_carry = run(method(BATCH, modules, plain))
  same(carry, wanted_carry)
  same(memory, wanted)


def squares(tree):
  return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree))


def test_statistics_that_a_loss_moves_are_kept_and_a_dropped_pass_begins_with_the_first_ones():
  seen = []

  def loss(student, batch):
    value, _ = plain(student, batch)
    seen.append((student.moved, student.at(student.params).moved, student.statistics))
    return value, {}

  (_, before), (_, after), _ = run(method(BATCH, modules, loss))
  moved, dropped, first = seen[-1]
  same(after['statistics'], moved)
  same(dropped, before['statistics'])
  same(first, before['statistics'])
  differ(after['statistics'], before['statistics'])


@pytest.mark.parametrize('statistics', ['shared', 'averaged', 'own'])
def test_an_average_follows_its_parts_with_its_statistics(statistics):
  def loss(student, teacher, batch):
    teacher.backbone(batch['image'] - 5, train=True)
    return plain(student, batch)

  made = method(BATCH, modules, loss, teacher=Average(lambda step: 0.5 + 0.1 * step, statistics, of=('backbone',)),
                encode='teacher')
  params, memory = made.init(KEY)
  assert set(memory['teacher']) == {'backbone'} and ('teacher_statistics' in memory) == (statistics != 'shared')
  _, (carry, _) = made.loss(params, memory, {'image': IMAGES}, KEY, 2)
  other = jax.tree.map(lambda x: x + 1, params)
  _, after = made.update(other, memory, carry, 2)
  jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old + 0.3, rtol=1e-6), after['teacher'],
               {'backbone': params['backbone']})
  new = carry['statistics']['backbone']
  wanted = {'shared': new, 'own': carry.get('teacher_statistics', {}).get('backbone'),
            'averaged': jax.tree.map(lambda n, o: 0.7 * o + 0.3 * n, new, memory['statistics']['backbone'])}[statistics]
  if statistics == 'own':
    differ(wanted, new)
  where = 'statistics' if statistics == 'shared' else 'teacher_statistics'
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after[where]['backbone'], wanted)
  made.encode(other, after, IMAGES)  # of the teacher: parts that it lacks are not asked for


def test_a_loss_may_keep_the_next_parameters_of_an_average():
  def loss(student, teacher, batch):
    return *plain(student, batch), {'teacher': jax.tree.map(lambda x: x + 5, teacher.params)}

  (_, before), (_, after), _ = run(method(BATCH, modules, loss, teacher=Average(0.9)))
  jax.tree.map(lambda old, new: np.testing.assert_allclose(new, old + 5, rtol=1e-6), before['teacher'],
               after['teacher'])


def test_fixed_parameters_are_in_memory_without_a_gradient_and_the_loss_is_the_same():
  made, free = (method(BATCH, modules, plain, fixed=fixed) for fixed in (('backbone/first', 'head'), ()))
  (params, memory), (whole, _) = made.init(KEY), free.init(KEY)
  assert set(params) == {'backbone'} and set(params['backbone']) == {'norm'}
  same(memory['fixed'], {'backbone': {'first': whole['backbone']['first']}, 'head': whole['head']})
  loss = lambda of: of.loss(*of.init(KEY), {'image': IMAGES}, KEY, 0)[0]
  assert loss(made) == loss(free)
  same(made.encode(params, memory, IMAGES), free.encode(*free.init(KEY), IMAGES))
  with pytest.raises(ValueError, match="no parameters at 'firzt'.*nearest: 'first'"):
    method(BATCH, modules, plain, fixed=('backbone/firzt',)).init(KEY)


def test_a_frozen_network_has_its_own_parameters_and_stays():
  def loss(student, guide, batch):
    return plain(student, batch)[0] + jnp.mean(guide.backbone(batch['image'])), {}

  (params, before), (_, after), _ = run(method(BATCH, modules, loss, frozen={'guide': modules}))
  same(after['guide'], before['guide'])
  differ(before['guide'], params)


def test_memory_is_what_the_loss_keeps_or_what_remember_makes_of_it():
  def loss(student, memory, batch, step):
    return *plain(student, batch), {'count': memory.count + step + 1}

  given = dict(memory=lambda key: Memory(jax.random.randint(key, (), 5, 6)))
  assert run(method(BATCH, modules, loss, **given), 3)[1][1]['count'] == 5 + 1 + 2 + 3
  doubled = method(BATCH, modules, loss, **given, remember=lambda memory, kept, step: Memory(
      memory.count + 2 * kept['count'] + step))
  assert run(doubled)[1][1]['count'] == 5 + 2 * 6


def test_after_changes_parameters_behind_the_optimizer():
  def loss(student, batch):
    return *plain(student, batch), {'change': 3.}

  made = method(BATCH, modules, loss, after=lambda params, kept, step: jax.tree.map(
      lambda x: x + kept['change'] + step, params))
  (before, _), (after, _), _ = run(made)
  jax.tree.map(lambda old, new: np.testing.assert_allclose(new, old + 3, rtol=1e-6), before, after)


def test_a_loss_in_two_is_the_loss_in_one():
  embed = lambda student, batch: student.backbone(batch['image'], train=True)
  compare = lambda student, h: (jnp.mean(jnp.square(student.head(h))), {})
  one, two = method(BATCH, modules, plain), method(BATCH, modules, embed=embed, compare=compare)
  assert two.compares and not one.compares and two.halves is None, 'the backbone has batch statistics'
  same(run(one), run(two))
  without = lambda rngs: nnx.Dict(backbone=nnx.Linear(4, 3, rngs=rngs), head=MLP(3, (), 2, batch_norm=True,
                                                                                 last_batch_norm=True, rngs=rngs))
  halves = method(BATCH, without, embed=lambda student, batch: student.backbone(batch['image']),
                  compare=lambda student, h: (jnp.mean(student.head(h, train=True) ** 3), {}))
  params, memory = halves.init(KEY)
  assert halves.halves
  h, carry = halves.halves[0](params, memory, {'image': IMAGES}, KEY, 0)
  same(halves.halves[1](params, h, carry, memory, {'image': IMAGES}, 0), halves.loss(params, memory, {'image': IMAGES},
                                                                                    KEY, 0))


def test_names_that_there_are_not_are_refused_when_the_method_is_made():
  def plane(studnet):
    return studnet, {}

  def with_teacher(student, teacher, batch):
    return student, teacher, batch

  def of_halves(student, h, key):
    return student, h, key

  for functions, said in ((dict(loss=plane), "plane names 'studnet'; nearest: 'student'"),
                          (dict(loss=with_teacher), "with_teacher names 'teacher'"),
                          (dict(embed=lambda student: student, compare=of_halves), "of_halves names 'key'")):
    with pytest.raises(ValueError, match=said):
      method(BATCH, modules, **functions)


class Taken(NamedTuple):
  teacher: Any


class Beside(NamedTuple):
  teacher_projection: Any  # as long as '_statistics'


def test_a_field_of_memory_may_begin_with_the_name_of_a_network():
  def loss(student, teacher, batch, memory):
    return *plain(student, batch), {'teacher_projection': memory.teacher_projection + len(teacher.params)}

  made = method(BATCH, modules, loss, teacher=Average(0.9), memory=lambda _: Beside(jnp.float32(1)))
  assert run(made)[1][1]['teacher_projection'] == 3


def test_what_does_not_fit_together_is_refused_when_the_method_is_made():
  average = Average(0.9, of=('backbone', 'heat'))
  for given, said in ((dict(), 'wanted a loss, or embed and compare'),
                      (dict(embed=lambda student: student), 'wanted a loss, or embed and compare'),
                      (dict(loss=plain, encode='teacher'), "encode to name a network, got 'teacher'"),
                      (dict(loss=plain, teacher=average), "an average of 'heat', which is no part; nearest: 'head'"),
                      (dict(loss=plain, teacher=Average(0.9, 'own')), "no function names 'teacher'"),
                      (dict(loss=plain, teacher=Average(0.9), memory=lambda _: Taken(jnp.zeros(()))),
                       r"other names for the fields \['teacher'\]")):
    with pytest.raises(ValueError, match=said):
      method(BATCH, modules, **given)
  forgets = method(BATCH, modules, plain, memory=lambda _: Memory(jnp.zeros(())))
  with pytest.raises(ValueError, match=r"keeps nothing for the fields \['count'\]"):
    forgets.loss(*forgets.init(KEY), {'image': IMAGES}, KEY, 0)
  alone = method(BATCH, modules, lambda student, batch: plain(student, batch)[0])
  with pytest.raises(ValueError, match='wanted .value, metrics. or .value, metrics, kept. of a loss'):
    alone.loss(*alone.init(KEY), {'image': IMAGES}, KEY, 0)


def test_what_nothing_reads_is_refused():
  made = method(BATCH, modules, lambda student, batch: (*plain(student, batch), {'z': 0.}))
  with pytest.raises(ValueError, match=r"keeps \['z'\], which nothing reads"):
    made.loss(*made.init(KEY), {'image': IMAGES}, KEY, 0)


def test_parameters_of_another_network_are_refused_by_path():
  made = method(BATCH, modules, plain)
  params, memory = made.init(KEY)
  with pytest.raises(ValueError, match=r"missing \['head/layers/0/bias'"):
    made.loss({'backbone': params['backbone']}, memory, {'image': IMAGES}, KEY, 0)


def test_the_spec_is_that_of_the_parameters_and_of_their_copies():
  made = method(BATCH, modules, plain, teacher=Average(0.9, of=('head',)), frozen={'guide': modules})
  said = made.spec()
  assert said['params/head/layers/0/kernel'].axes == (None, 'tensor')
  assert said['params/head/layers/0/bias'].decay is None
  copies = {path for path in said if path.startswith('memory/')}
  assert {'memory/teacher/head/layers/0/kernel', 'memory/guide/backbone/first/kernel'} <= copies
  assert not any(path.startswith('memory/teacher/backbone') for path in copies)
