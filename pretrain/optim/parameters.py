"""Which parameters decay, and with which part of the rate they move."""
from collections.abc import Callable, Mapping

import jax

from pretrain.models.functional import Leaf

Spec = Mapping[str, Leaf] | None  # `Objective.spec`: what parameters are, by path; others have the defaults of `Leaf`


def leaf_of(spec: Spec, path: str, value) -> Leaf:
  """What `spec` says of the parameter at a path, as 'backbone/trunk/blocks/0/norm1/scale'."""
  return (spec or {}).get(f'params/{path}') or Leaf(decay=True if value.ndim > 1 else None)


def decays(leaf: Leaf, decay_1d: bool = False) -> bool:
  """Whether weight decay applies to a parameter.

  Not to biases, gains of norms and layer scales, unless `decay_1d`; never to class, register and mask tokens and
  position embeddings. Deviation: DINO's and MAE's code decays tokens and positions, whose arrays have a leading
  dimension of 1 there.
  """
  return leaf.decay is True or (decay_1d and leaf.decay is None)


def layer_multipliers(params, layer_decay: float, spec: Spec):
  """For each parameter, layer_decay ** (depth + 1 - layer), a tree of floats: what multiplies its learning rate.

  Layer-wise decay of 2106.08254v2 and 2111.06377v3 table 9: block i of `depth` of the backbone is layer i + 1, what
  makes its tokens (patch projection, stem, embeddings, tokens, positions, and the mask token that stands among them) is
  layer 0. The last norm, heads, and a decoder with its own mask token keep the full rate.

  Raises:
    ValueError: layer_decay is not in (0, 1], or nothing in `spec` has a layer.
  """
  if not 0 < layer_decay <= 1:
    raise ValueError(f'wanted layer_decay in (0, 1], got {layer_decay}')
  leaves = jax.tree_util.tree_map_with_path(lambda path, x: leaf_of(spec, path_name(path), x), params)
  layers = [leaf.layer for leaf in jax.tree.leaves(leaves, is_leaf=is_leaf) if leaf.layer is not None]
  if not layers:
    paths = parameter_names(params)
    raise ValueError('layer_decay wants a backbone that says which layer its parameters are of (a property `layers`); '
                     f'got {paths[:3]} and {max(len(paths) - 3, 0)} more; set layer_decay=None for this backbone')
  full = max(layers) + 1
  return jax.tree.map(lambda leaf: layer_decay ** (full - (full if leaf.layer is None else leaf.layer)), leaves,
                      is_leaf=is_leaf)


def is_leaf(x) -> bool:
  """Where a tree of `Leaf` ends."""
  return isinstance(x, Leaf)


def path_name(path) -> str:
  """A parameter's keys joined by '/', as in 'backbone/trunk/blocks/0/norm1/scale'."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def mask(spec: Spec, decay_1d: bool = False) -> Callable:
  """params -> which of them decay, as optax's masks are."""
  def decaying(params):
    return jax.tree_util.tree_map_with_path(lambda path, x: decays(leaf_of(spec, path_name(path), x), decay_1d), params)
  return decaying


def parameter_names(tree) -> list[str]:
  """`path_name` of each leaf."""
  return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
