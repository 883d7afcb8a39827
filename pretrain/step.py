"""Objective -> one jitted, sharded, donated training step: views, loss, gradients, optimizer, update."""
import ctypes
import functools
import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pretrain import optim
from pretrain.config import ConfigError
from pretrain.machine import hardware, sharding
from pretrain.method.objective import Objective, check_batch


class TrainState(NamedTuple):
  """All that a run carries from one step to the next; a plain pytree of arrays.

  step:      i32[], steps done.
  params:    what the optimizer trains.
  memory:    what else the objective keeps.
  opt_state: the optimizer's.
  nonfinite: i32[], the first step whose loss or gradient was not finite, -1 while there is none; steps that were left
             out because of that are counted from there downwards.
  seed:      u32[], of all randomness: here rather than in the program, which is compiled once for all seeds.
  """
  step: Any
  params: Any
  memory: Any
  opt_state: Any
  nonfinite: Any
  seed: Any


class Training(NamedTuple):
  """What `compile_step` returns.

  init:     () -> TrainState, born sharded; compiled once for all seeds.
  step:     jitted (state, batch) -> (state, metrics); the state given is donated.
  layout:   a TrainState of shardings.
  abstract: a TrainState of shapes, dtypes and shardings.
  spec:     what the parameters are, `Objective.spec`.
  """
  init: Any
  step: Any
  layout: TrainState
  abstract: TrainState
  spec: dict


def init_state(objective: Objective, views: Callable, tx: optax.GradientTransformation, seed, batch) -> TrainState:
  """The state at step 0, a function of the seed u32[] alone; `batch` gives shapes only."""
  init_key, step_key = jax.random.split(jax.random.key(seed))
  batch = jax.eval_shape(views, batch, step_key)
  check_batch(objective, batch)
  params, memory = objective.init(init_key)
  for kind in ('hold', 'rate'):
    if given := getattr(objective, kind):
      optim.check_paths(params, given(0), f'Objective.{kind}')
  return TrainState(jnp.int32(0), params, memory, tx.init(params), jnp.int32(-1), seed)


class StepOptions(NamedTuple):
  """How a step is computed.

  accumulate:       into how many parts to split the batch, one after the other; gradients and carries are averaged.
  grad_cache:       the same for objectives that compare examples: embeddings part by part, compared all together.
  skip:             so many steps whose loss or gradient is not finite change nothing but the count of steps.
  gather_once:      whether each parameter is gathered over fsdp once, at the start of the step, and its gradient
                    scattered again; otherwise where it is used.
  rules:            how arrays are split over the mesh, see `sharding.shardings`.
  compiler_options: XLA's, in place of or beside those of `hardware.CHIPS`; None for a value: XLA's own default.
  """
  accumulate: int = 1
  grad_cache: int = 1
  skip: int = 0
  gather_once: bool = False
  rules: sharding.Rules = ()
  compiler_options: dict | None = None


DEFAULT_OPTIONS = StepOptions()


def train_step(state: TrainState, batch, *, objective: Objective, views: Callable,
               tx: optax.GradientTransformationExtraArgs, schedule: Callable, options: StepOptions = DEFAULT_OPTIONS,
               gathered: Any = None) -> tuple[TrainState, dict]:
  """One step. Randomness is a function of (seed, step) and, in the views, of each example's index and epoch.

  Args:
    batch: raw global batch, {'image': u8[b, h, w, c], 'index': i32[b], 'epoch': i32[b], ...} or a dict of such.
    tx: of `optim.holding`.
    gathered: the layout of the parameters, where options say `gather_once`.
  Returns:
    the next state, and f32 scalars: loss (the number minimised), lr, grad_norm, skipped (steps so far, if they may be)
    and the objective's own; and i32 nonfinite, as in the state.
  Raises:
    ValueError: when traced, a metric of the objective with one of the step's names.
  """
  (loss, (carry, metrics)), grads = loss_and_gradient(objective, state, batch, views, options, gathered)

  held = objective.hold(state.step) if objective.hold else {}
  rates = objective.rate(state.step) if objective.rate else {}
  grads = optim.by_path(held, lambda held, g: jnp.where(held, 0, g), grads)  # part of no norm
  if sharding.platform() == 'cpu':  # XLA would copy what it might update before the last product that reads it
    grads = jax.lax.optimization_barrier(grads)
  with jax.named_scope('update'):
    updates, opt_state = tx.update(grads, state.opt_state, state.params, held=held)
    params = optax.apply_updates(state.params, optim.by_path(rates, jnp.multiply, updates))
    params = optim.by_path(held, lambda held, new, old: jnp.where(held, old, new), params, state.params)
    params, memory = objective.update(params, state.memory, carry, state.step)
  norm = optax.tree.norm(grads)
  bad = ~jnp.isfinite(loss) | ~jnp.isfinite(norm)
  nonfinite = jnp.where(bad & (state.nonfinite < 0), state.step, state.nonfinite)
  if taken := sorted(metrics.keys() & {'loss', 'lr', 'grad_norm', 'skipped', 'nonfinite'}):
    raise ValueError(f'wanted other names for the metrics {taken} of the objective: the step has its own of these')
  metrics = {'loss': loss, 'lr': schedule(state.step), 'grad_norm': norm, **metrics}
  if options.skip:
    params, memory, opt_state = jax.tree.map(lambda new, old: jnp.where(bad, old, new), (params, memory, opt_state),
                                             (state.params, state.memory, state.opt_state))
    skipped = -1 - state.nonfinite
    nonfinite = jnp.where(bad & (skipped >= 0) & (skipped < options.skip), state.nonfinite - 1, nonfinite)
    metrics['skipped'] = -1 - nonfinite
  metrics = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()} | {'nonfinite': nonfinite}
  return TrainState(state.step + 1, params, memory, opt_state, nonfinite, state.seed), metrics


def loss_and_gradient(objective: Objective, state: TrainState, batch, views: Callable, options: StepOptions,
                      gathered: Any):
  """((loss, (carry, metrics)), gradient) of the whole batch, computed in the parts that options say; see `train_step`.
  """
  key = jax.random.fold_in(jax.random.split(jax.random.key(state.seed))[1], state.step)
  views_key, loss_key = jax.random.split(key)
  used = state.params if gathered is None else sharding.gathered(state.params, gathered)
  scatter = lambda grads: grads if gathered is None else jax.lax.with_sharding_constraint(grads, gathered)

  def of_part(part):
    loss = lambda params: objective.loss(params, state.memory, views(part, views_key), loss_key, state.step)
    value, grads = jax.value_and_grad(loss, has_aux=True)(used)
    return value, scatter(grads)

  if options.grad_cache > 1:
    value, grads = cached_gradient(objective, state._replace(params=used), batch, views, views_key, loss_key,
                                   options.grad_cache)
    return value, scatter(grads)
  if options.accumulate > 1:
    parts = split(batch, options.accumulate)
    shapes = jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], parts))
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = loop(lambda total, part: (jax.tree.map(jnp.add, total, of_part(part)), None), total, parts)
    return jax.tree.map(lambda x: x / options.accumulate, total)
  return of_part(batch)


def loop(body: Callable, start, parts):
  """`jax.lax.scan`, on CPUs unrolled, part after part: convolutions in a loop take several times as long there."""
  cpu = sharding.platform() == 'cpu'
  after = lambda carry, part: body(*jax.lax.optimization_barrier((carry, part)))
  return jax.lax.scan(after if cpu else body, start, parts, unroll=cpu)


def split(batch, parts: int):
  """[b, ...] -> [parts, b / parts, ...]: rows i, i + parts, ... are part i, so that every device keeps its rows."""
  return jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)


def join(parts):
  """The inverse of `split`."""
  return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), parts)


def cached_gradient(objective: Objective, state: TrainState, batch, views: Callable, views_key, loss_key, parts: int):
  """Loss and gradient of the whole batch with the memory of a part: GradCache (arXiv:2101.06983v2, section 3.3).

  Embeds part by part without keeping what the backward pass would need, takes the loss and its gradient in all the
  embeddings, then embeds again part by part to carry that gradient into the parameters. One forward pass more.
  """
  assert objective.halves  # `check_parts` sees to that
  embed, compare = objective.halves

  def represent(params, part):
    return embed(params, state.memory, views(part, views_key), loss_key, state.step)

  chunks = split(batch, parts)
  _, (h, carry) = loop(lambda _, part: (None, represent(state.params, part)), None, chunks)
  carry = jax.tree.map(lambda x: jnp.mean(x, 0), carry)
  whole = views(batch, views_key)  # labels and indices: what `compare` does not use, the compiler does not make
  (loss, aux), (grads, dh) = jax.value_and_grad(compare, argnums=(0, 1), has_aux=True)(
      state.params, join(h), carry, state.memory, whole, state.step)

  def backward(total, part_and_dh):
    part, dh = part_and_dh
    _, pull, _ = jax.vjp(lambda params: represent(params, part), state.params, has_aux=True)
    return jax.tree.map(jnp.add, total, pull(dh)[0]), None

  grads, _ = loop(backward, grads, (chunks, split(dh, parts)))
  return (loss, aux), grads


def compile_step(objective: Objective, views: Callable, tx: optax.GradientTransformation, schedule: Callable, *,
                 seed: int, batch, mesh, options: StepOptions = DEFAULT_OPTIONS) -> Training:
  """Lays the state out on the mesh and jits init and step; nothing is computed or compiled yet.

  Args:
    batch: abstract raw global batch.
  Raises:
    ConfigError: a batch that cannot be split like this without changing the gradient, or that the parts do not divide.
    ValueError: the views do not deliver what the objective wants.
  """
  check_parts(objective, batch, options)
  tx = optim.holding(tx, objective.hold)
  views = jax.named_call(views, name='views')  # a part of its own in profiles

  def init(seed):
    with sharding.laid_on(mesh):
      return init_state(objective, views, tx, seed, batch)

  def step(state, batch):
    with sharding.laid_on(mesh):
      return train_step(state, batch, objective=objective, views=views, tx=tx, schedule=schedule, options=options,
                        gathered=layout.params if options.gather_once else None)

  given = np.uint32(seed % 2**32)
  shapes = jax.eval_shape(init, given)
  spec = objective.spec()
  layout = sharding.shardings(shapes, mesh, spec, options.rules)
  everywhere = sharding.replicated(mesh)
  return Training(
      functools.partial(jax.jit(init, out_shardings=layout), given),
      jax.jit(step, in_shardings=(layout, sharding.batch_sharding(mesh)), out_shardings=(layout, everywhere),
              donate_argnums=0, compiler_options=hardware.compiler_options(mesh, options.compiler_options or {})),
      layout, sharding.abstract(shapes, layout), spec)


def check_parts(objective: Objective, batch, options: StepOptions) -> None:
  """Raises ConfigError unless the batch can be computed in these parts without changing the gradient."""
  accumulate, grad_cache = options.accumulate, options.grad_cache
  if accumulate > 1 and grad_cache > 1:
    raise ConfigError(f'config: wanted one of accumulate and grad_cache, got {accumulate} and {grad_cache}')
  if accumulate > 1 and objective.couples_batch:
    advice = f'grad_cache={accumulate} computes the gradient of the whole batch in as many parts' if objective.halves \
        else 'wanted 1'
    raise ConfigError(f'config.accumulate: {accumulate} parts would change this objective, in which the loss of an '
                      f'example depends on the others in the batch (its loss or batch normalisation); {advice}')
  if grad_cache > 1 and not objective.halves:
    advice = ('this one does not say how (Objective.halves), or its backbone has batch normalisation; wanted 1, or a '
              'backbone with another norm' if objective.couples_batch else f'wanted accumulate={grad_cache}')
    raise ConfigError(f'config.grad_cache: {grad_cache} parts need an objective that compares examples after '
                      f'embedding each alone; {advice}')
  for name, parts in (('accumulate', accumulate), ('grad_cache', grad_cache)):
    if parts < 1 or any(len(x.shape) and x.shape[0] % parts for x in jax.tree.leaves(batch)):
      shapes = jax.tree.map(lambda x: x.shape, batch)
      raise ConfigError(f'config.{name}: {parts} does not divide the batch {shapes}')


def compile_ahead(training: Training, batch) -> Callable:
  """The step for such a batch, compiled before there is one; the memory that this took is free for the first step.

  Left to itself the C library keeps what was freed (`benchmarks/peers.py` has what a whole process takes).
  """
  step = training.step.lower(training.abstract, batch).compile()
  gc.collect()
  if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):  # of glibc
    trim(0)
  return step
