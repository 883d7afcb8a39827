"""The one seam between Flax NNX modules and the pure functions of everything else.

Outside this file there are only nested dicts of arrays: `nnx.State` or `nnx.Variable` at a jit boundary costs several
times the dispatch of a plain dict, and `nnx.merge` matches leaves by sorted position, so key paths are compared here.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

nnx.set_graph_mode(False)  # modules are trees: a module shared by two parents is an error, not an alias
nnx.set_graph_updates(False)
nnx.use_eager_sharding(False)


class Net(NamedTuple):
  """A module as two pure functions.

  init:  key -> (params, mutable), nested dicts of arrays; `mutable` holds what is not trained (batch statistics).
  apply: (params, mutable, call) -> (outputs, mutable), where `call(module)` runs any of the module's methods.
  parts: the module's, by name, that have parameters.
  coupled: the parts that have batch statistics, so that outputs of one example depend on the others.
  """
  init: Callable
  apply: Callable
  parts: frozenset[str]
  coupled: frozenset[str]

  @property
  def couples_batch(self) -> bool:
    """Whether any part has batch statistics."""
    return bool(self.coupled)


def functional(build: Callable[[nnx.Rngs], nnx.Module]) -> Net:
  """Makes a module factory functional.

  Args:
    build: given `nnx.Rngs`, returns the module. Called under `jax.eval_shape` once, then under `init`'s trace.
  Returns:
    Net. `apply` raises ValueError when the given trees do not have exactly the module's paths.
  """
  def split(key):
    return nnx.split(build(nnx.Rngs(params=key)), nnx.Param, ...)

  graphdef, *abstract = jax.eval_shape(split, jax.random.key(0))
  wanted = [paths(nnx.to_pure_dict(state)) for state in abstract]

  def init(key):
    _, params, mutable = split(key)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(mutable)

  def apply(params, mutable, call):
    for name, want, tree in zip(('params', 'mutable'), wanted, (params, mutable), strict=True):
      if want != (got := paths(tree)):
        raise ValueError(f'{name} do not fit the module: missing {sorted(want - got)[:5]}, '
                         f'unexpected {sorted(got - want)[:5]}')
    module = nnx.merge(graphdef, params, mutable)
    outputs = call(module)
    _, _, mutable = nnx.split(module, nnx.Param, ...)
    return outputs, nnx.to_pure_dict(mutable)

  parts, coupled = (frozenset(path.split('/')[0] for path in tree) for tree in wanted)
  return Net(init, apply, parts, coupled)


def paths(tree: Any) -> frozenset[str]:
  """The paths of a tree's leaves, as 'backbone/blocks/0/norm1/scale'."""
  return frozenset(jax.tree_util.keystr(path, simple=True, separator='/')
                   for path, _ in jax.tree_util.tree_leaves_with_path(tree))
