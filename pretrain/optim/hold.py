"""Optimizers of parameters that stand still for a while."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pretrain.optim.parameters import parameter_names, path_name


class Holding(NamedTuple):
  """An optimizer's state, and i32[] of each parameter that may stand still, by its path: the steps in which it did."""
  inner: Any
  stood: dict


def holding(tx: optax.GradientTransformation, hold: Callable | None) -> optax.GradientTransformationExtraArgs:
  """`tx`, whose state of a parameter, moments and count of its steps, stands still as long as the parameter does.

  `holding(tx, objective.hold)`; its `update` takes `held`, what `hold` gives for this step, besides. The learning
  rate's schedule and the decay's go on. The updates of held parameters mean nothing.

  Args:
    hold: step -> {path: bool[]}, see `Objective.hold`; None if nothing ever stands still.
  """
  tx = optax.with_extra_args_support(tx)
  if hold is None:
    return tx

  def init(params):
    held = hold(0)
    names = [name for name in parameter_names(params) if _entry(held, name) is not None]
    return Holding(tx.init(params), {name: jnp.int32(0) for name in names})

  def update(updates, state, params=None, *, held, **more):
    names = sorted(parameter_names(updates), key=len, reverse=True)
    stood = {name: n + _entry(held, name) for name, n in state.stood.items()}
    updates, inner = tx.update(updates, state.inner, params, stood=stood, **more)

    def kept(path, new, old):
      path = f'/{path_name(path)}'
      still = _entry(held, next((name for name in names if path.endswith(f'/{name}')), ''))
      return new if still is None else jnp.where(still, old, new)

    return updates, Holding(jax.tree_util.tree_map_with_path(kept, inner, state.inner), stood)

  return optax.GradientTransformationExtraArgs(init, update)  # pyrefly: ignore[bad-argument-type]


def by_path(given: dict[str, Any], change: Callable, tree, *rest):
  """`tree`; leaves at a path in `given` or below, the first that fits: change(given[path], leaf, *those of `rest`)."""
  def one(path, leaf, *others):
    value = _entry(given, path_name(path))
    return leaf if value is None else change(value, leaf, *others)

  return jax.tree_util.tree_map_with_path(one, tree, *rest) if given else tree


def check_paths(params, given: dict[str, Any], what: str) -> None:
  """Raises ValueError unless each path in `given` is a parameter's, or leads to some; `what` gave it, for messages."""
  names = parameter_names(params)
  if lost := [path for path in given if not any(_entry({path: path}, name) for name in names)]:
    raise ValueError(f'{what} names the parameter {lost[0]!r}; wanted one of {sorted(names)[:5]} and '
                     f'{max(len(names) - 5, 0)} more')


def _entry(given: dict[str, Any], name: str):
  return next((value for path, value in given.items() if f'{name}/'.startswith(f'{path}/')), None)
