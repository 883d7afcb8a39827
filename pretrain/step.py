"""Objective -> one jitted, sharded, donated training step: views, loss, gradients, optimizer, update."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pretrain import sharding
from pretrain.config import ConfigError
from pretrain.objective import Objective, check_batch


class TrainState(NamedTuple):
  """All that a run carries from one step to the next; a plain pytree of arrays.

  step:      i32[], steps done.
  params:    what the optimizer trains.
  memory:    what else the objective keeps.
  opt_state: the optimizer's.
  nonfinite: i32[], the first step whose loss or gradient was not finite, -1 while there is none.
  """
  step: Any
  params: Any
  memory: Any
  opt_state: Any
  nonfinite: Any


class Training(NamedTuple):
  """What `compile_step` returns.

  init:     () -> TrainState, born sharded.
  step:     (state, batch) -> (state, metrics); the state given is donated.
  layout:   a TrainState of shardings.
  abstract: a TrainState of shapes, dtypes and shardings.
  """
  init: Callable
  step: Callable
  layout: TrainState
  abstract: TrainState


def init_state(objective: Objective, views: Callable, tx: optax.GradientTransformation, seed: int, batch) -> TrainState:
  """The state at step 0, a function of the seed alone; `batch` gives shapes only."""
  init_key, step_key = jax.random.split(jax.random.key(seed))
  batch = jax.eval_shape(views, batch, step_key)
  check_batch(objective, batch)
  params, memory = objective.init(init_key)
  return TrainState(jnp.int32(0), params, memory, tx.init(params), jnp.int32(-1))


def train_step(state: TrainState, batch, *, objective: Objective, views: Callable, tx: optax.GradientTransformation,
               schedule: Callable, seed: int, accumulate: int = 1) -> tuple[TrainState, dict]:
  """One step. Randomness is a function of (seed, step) and, in the views, of each example's index and epoch.

  Args:
    batch: raw global batch, {'image': u8[b, h, w, c], 'index': i32[b], 'epoch': i32[b], ...} or a dict of such.
    accumulate: into how many parts to split the batch, one after the other; gradients and carries are averaged.
  Returns:
    the next state, and f32 scalars: loss (the number minimised), lr, grad_norm and the objective's own; and i32
    nonfinite, as in the state.
  """
  key = jax.random.fold_in(jax.random.split(jax.random.key(seed))[1], state.step)
  views_key, loss_key = jax.random.split(key)

  def gradient(part):
    loss = lambda params: objective.loss(params, state.memory, views(part, views_key), loss_key, state.step)
    return jax.value_and_grad(loss, has_aux=True)(state.params)

  if accumulate == 1:
    (loss, (carry, metrics)), grads = gradient(batch)
  else:  # rows i, i + accumulate, ... are part i: every device keeps the rows it has
    parts = jax.tree.map(lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch)
    shapes = jax.eval_shape(gradient, jax.tree.map(lambda x: x[0], parts))
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(lambda total, part: (jax.tree.map(jnp.add, total, gradient(part)), None), total, parts)
    (loss, (carry, metrics)), grads = jax.tree.map(lambda x: x / accumulate, total)

  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  params, memory = objective.update(params, state.memory, carry, state.step)
  norm = optax.tree.norm(grads)
  bad = ~jnp.isfinite(loss) | ~jnp.isfinite(norm)
  nonfinite = jnp.where(bad & (state.nonfinite < 0), state.step, state.nonfinite)
  metrics = {'loss': loss, 'lr': schedule(state.step), 'grad_norm': norm, **metrics}
  metrics = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()} | {'nonfinite': nonfinite}
  return TrainState(state.step + 1, params, memory, opt_state, nonfinite), metrics


def compile_step(objective: Objective, views: Callable, tx: optax.GradientTransformation, schedule: Callable, *,
                 seed: int, batch, mesh, accumulate: int = 1, rules: sharding.Rules = ()) -> Training:
  """Lays the state out on the mesh and jits init and step; nothing is computed or compiled yet.

  Args:
    batch: abstract raw global batch.
    rules: see `sharding.shardings`.
  Raises:
    ConfigError: accumulation of an objective whose examples depend on each other, or a batch it does not divide.
    ValueError: the views do not deliver what the objective wants.
  """
  if accumulate > 1 and objective.couples_batch:
    raise ConfigError(f'config.accumulate: {accumulate} parts would change this objective, in which the loss of an '
                      'example depends on the others in the batch (its loss or batch normalisation); wanted 1')
  if any(len(x.shape) and x.shape[0] % accumulate for x in jax.tree.leaves(batch)):
    shapes = jax.tree.map(lambda x: x.shape, batch)
    raise ConfigError(f'config.accumulate: {accumulate} does not divide the batch {shapes}')

  def init():
    return init_state(objective, views, tx, seed, batch)

  def step(state, batch):
    return train_step(state, batch, objective=objective, views=views, tx=tx, schedule=schedule, seed=seed,
                      accumulate=accumulate)

  shapes = jax.eval_shape(init)
  layout = sharding.shardings(shapes, mesh, rules)
  everywhere = sharding.replicated(mesh)
  return Training(
      jax.jit(init, out_shardings=layout),
      jax.jit(step, in_shardings=(layout, sharding.batch_sharding(mesh)), out_shardings=(layout, everywhere),
              donate_argnums=0),
      layout, sharding.abstract(shapes, layout))
