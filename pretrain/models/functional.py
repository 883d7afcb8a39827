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


class Leaf(NamedTuple):
  """What a parameter is, said where it is made: `nnx.Param(value, axes=(None, 'tensor'), decay=False)`.

  axes:  of the mesh, that its last dimensions are split over where they can be; None for one that is not.
  layer: of the backbone, for rates that fall from layer to layer: 0 for what makes the tokens, i + 1 for block i; None
         is what comes behind all blocks, with the full rate. A backbone says it of its parts: `layers`, {path: layer}.
  decay: True for matrices, None for biases and gains, which an optimizer decays if told so, False for tokens and
         positions. By default matrices are what has more than one dimension.
  """
  axes: tuple[str | None, ...] = ()
  layer: int | None = None
  decay: bool | None = True


class Net(NamedTuple):
  """A module as pure functions.

  init:    key -> (params, mutable), nested dicts of arrays; `mutable` holds what is not trained (batch statistics).
  bind:    (params, mutable) -> the module with these arrays, for the trace in which it is bound.
  mutable: module -> its `mutable` as the calls so far left it.
  apply:   (params, mutable, call) -> (outputs, mutable), where `call(module)` runs any of the module's methods.
  parts:   the module's, by name, that have parameters.
  coupled: the parts that have batch statistics, so that outputs of one example depend on the others.
  spec:    {path: Leaf} of the parameters.
  """
  init: Callable
  bind: Callable
  mutable: Callable
  apply: Callable
  parts: frozenset[str]
  coupled: frozenset[str]
  spec: dict[str, Leaf]

  @property
  def couples_batch(self) -> bool:
    """Whether any part has batch statistics."""
    return bool(self.coupled)


def functional(build: Callable[[nnx.Rngs], nnx.Module]) -> Net:
  """Makes a module factory functional.

  Args:
    build: given `nnx.Rngs`, returns the module. Called under `jax.eval_shape` once, then under `init`'s trace.
  Returns:
    Net. `bind` and `apply` raise ValueError when the given trees do not have exactly the module's paths.
  """
  def split(key):
    return nnx.split(build(nnx.Rngs(params=key)), nnx.Param, ...)

  graphdef, *abstract = jax.eval_shape(lambda: split(jax.random.key(0)))
  wanted = [paths(nnx.to_pure_dict(state)) for state in abstract]

  def init(key):
    _, params, mutable = split(key)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(mutable)

  def bind(params, mutable):
    for name, want, tree in zip(('params', 'mutable'), wanted, (params, mutable), strict=True):
      if want != (got := paths(tree)):
        raise ValueError(f'{name} do not fit the module: missing {sorted(want - got)[:5]}, '
                         f'unexpected {sorted(got - want)[:5]}')
    return nnx.merge(graphdef, params, mutable)

  def mutable_of(module):
    _, _, state = nnx.split(module, nnx.Param, ...)
    return nnx.to_pure_dict(state)

  def apply(params, mutable, call):
    module = bind(params, mutable)
    return call(module), mutable_of(module)

  parts, coupled = (frozenset(path.split('/')[0] for path in tree) for tree in wanted)
  return Net(init, bind, mutable_of, apply, parts, coupled, spec_of(nnx.merge(graphdef, *abstract), abstract[0]))


def spec_of(module: nnx.Module, params: nnx.State) -> dict[str, Leaf]:
  """{path: Leaf} of a module's parameters; layers are those of its part `backbone`."""
  layers = {f'backbone/{path}'.rstrip('/'): layer
            for path, layer in getattr(getattr(module, 'backbone', None), 'layers', {}).items()}

  def leaf(keys, variable):
    path, said = '/'.join(map(str, keys)), variable.get_metadata()
    above = max((part for part in layers if f'{path}/'.startswith(f'{part}/')), key=len, default=None)
    return path, Leaf(said.get('axes', ()), said.get('layer', layers[above] if above else None),
                      said.get('decay', True if len(variable.shape) > 1 else None))

  return dict(leaf(*each) for each in nnx.to_flat_state(params))


def paths(tree: Any) -> frozenset[str]:
  """The paths of a tree's leaves, as 'backbone/blocks/0/norm1/scale'."""
  return frozenset(jax.tree_util.keystr(path, simple=True, separator='/')
                   for path, _ in jax.tree_util.tree_leaves_with_path(tree))
