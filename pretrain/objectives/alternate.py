"""Objectives that take turns over one backbone."""
from itertools import accumulate

import jax
import jax.numpy as jnp

from pretrain.method.combine import checked, over_one_backbone, parameters_of, turns, updated
from pretrain.method.objective import Objective

PAPER = None  # a combination of objectives


def alternate(*, parts: tuple) -> Objective:
  """Several objectives of one backbone and heads of their own, so many steps each by turns: only one is computed.

  The step that a part knows counts its own turns alone (and `run.objective_of` tells it as many as the length of the
  run): queues fill, and schedules end, as they do without the others. The views of all parts are made in every step;
  the heads of the others stand still, and what the optimizer knows of them. 'part' is the place of the part
  whose step it is; metrics of a part, and its loss, are '<part>/<metric>', 0 in the steps of others: let
  log_every_steps and the period have no common divisor. The features are those of the first part's `encode`. One part
  is that objective.

  Args:
    parts: (name, objective, steps of its turn) of each, in the order of the turns.
  Raises:
    ValueError: what is no such triple, turns of no step; what `combine.over_one_backbone` raises.
  """
  methods, lengths = checked('alternate', 'steps', parts, int)
  if min(lengths, default=1) < 1:
    raise ValueError(f'alternate wants turns of at least one step, got {lengths}')

  def active(step):  # i32[], the place of the part whose turn it is
    return jnp.sum(step % sum(lengths) >= jnp.array(list(accumulate(lengths))))

  def loss(params, memory, batch, key, step):
    def run(place):
      name, part = list(methods.items())[place]
      own = parameters_of(params, name)
      value, (carry, found) = part.loss(own, memory[name], batch, key, turns(lengths, place, step))
      metrics = {f'{name}/{metric}': jnp.asarray(number, jnp.float32)
                 for metric, number in {'loss': value, **found}.items()}
      return value, jax.tree.map(jnp.asarray, carry), metrics

    shapes = {name: jax.eval_shape(lambda place=place: run(place)[1:]) for place, name in enumerate(methods)}
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def turn(place):
      def branch():
        value, carry, metrics = run(place)
        carries = {name: given for name, (given, _) in nothing.items()}
        others = {metric: zero for _, found in nothing.values() for metric, zero in found.items()}
        return value, (carries | {list(methods)[place]: carry}, others | metrics)
      return branch

    which = active(step)
    value, (carries, metrics) = jax.lax.switch(which, [turn(place) for place in range(len(methods))])
    return value, (carries, {'part': which, **metrics})

  def update(params, memory, carry, step):
    def turn(place, name, part):
      return lambda: updated(part, name, params, memory, carry[name], turns(lengths, place, step))

    return jax.lax.switch(active(step), [turn(place, *each) for place, each in enumerate(methods.items())])

  def at(name, step):
    return turns(lengths, list(methods).index(name), step)

  shared = over_one_backbone('alternate', methods, at)
  held_by_part = shared['hold']

  def hold(step):  # a head stands still while it is not its turn, besides when its part holds it
    idle = {name: active(step) != place for place, name in enumerate(methods)}
    own = held_by_part(step) if held_by_part else {}
    return {path: held | idle[path.split('/')[0]] for path, held in own.items()} | idle

  if len(methods) > 1:
    shared['hold'] = hold
  return Objective(loss=loss, update=update, **shared)
