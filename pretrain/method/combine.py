"""What objectives made of objectives share: one backbone, a part of the parameters and of the memory for each."""
import math
from collections.abc import Callable
from typing import Any

import jax

from pretrain.method.objective import Objective
from pretrain.models.functional import Leaf


def over_one_backbone(method: str, parts: dict[str, Objective], at: Callable | None = None) -> dict[str, Any]:
  """What `weighted` and `alternate` have in common, as keyword arguments of `Objective`.

  Parameters are {'backbone': ..., name: the other parameters of this part, ...}, memory is {name: the memory of this
  part, ...}; so the backbone's batch statistics are a part's own, as its views are. `encode`, `predict`, `project` and
  `towers` are those of the first part. The batch has what any part wants; letters agree across the parts.

  All parts start from one key, so that a teacher that starts as a copy of a part's parameters is one of the shared
  backbone too.

  Args:
    method: for messages.
    parts: at least one; each has its backbone under the key 'backbone' of its parameters.
    at: (name, step) -> the step that a part knows; None: that of the run.
  Raises:
    ValueError: no part, or one named 'backbone'; two that want another shape under one key of the batch; when traced,
      a part without a backbone, or with another one, or one that holds it.
  """
  if not parts or 'backbone' in parts:
    raise ValueError(f"{method} wants at least one part, and none of the name 'backbone', got {sorted(parts)}")
  batch: dict[str, tuple[str, str]] = {}
  for name, part in parts.items():
    for key, shape in part.batch.items():
      first, other = batch.setdefault(key, (name, shape))
      if other != shape:
        raise ValueError(f"{method}: the parts {first!r} and {name!r} want batch[{key!r}] of the shapes '{other}' and "
                         f"'{shape}'; wanted one")
  head, *_ = parts

  def init(key):
    params, memory, backbone = {}, {}, None
    for name, part in parts.items():
      heads, memory[name] = part.init(key)
      if 'backbone' not in heads:
        raise ValueError(f'{method}: the part {name!r} has no backbone to share, only {sorted(heads)}')
      found = jax.tree.map(lambda x: (x.shape, x.dtype), heads['backbone'])
      if backbone is None:
        backbone = found
        params['backbone'] = heads['backbone']
      elif found != backbone:
        raise ValueError(f'{method}: the parts {head!r} and {name!r} have different backbones')
      params[name] = {key: value for key, value in heads.items() if key != 'backbone'}
    return params, memory

  def of_first(function: Callable | None) -> Callable | None:
    return function and (lambda params, memory, inputs: function(parameters_of(params, head), memory[head], inputs))

  first = parts[head]
  def of_all(kind: str) -> Callable | None:
    functions = {name: getattr(part, kind) for name, part in parts.items() if getattr(part, kind)}

    def renamed(step):
      found = {(name, path): value for name, function in functions.items()
               for path, value in function(at(name, step) if at else step).items()}
      if of_backbone := [place for place in found if place[1].split('/')[0] == 'backbone']:
        raise ValueError(f'{method}: the {kind} of a part may be of its own heads, not of what all share, got '
                         f'{of_backbone[0]}')
      return {f'{name}/{path}': value for (name, path), value in found.items()}

    return renamed if functions else None

  def spec():
    said: dict[str, Leaf] = {}
    for name, part in parts.items():
      for path, leaf in part.spec().items():
        where, below = path.split('/', 1)
        shared = where == 'params' and below.startswith('backbone/')
        at = path if shared else f'{where}/{name}/{below}'
        if said.setdefault(at, leaf) != leaf:
          raise ValueError(f'{method}: the parts {head!r} and {name!r} differ in what {below!r} is: '
                           f'{said[at]} and {leaf}')
    return said

  image, text = map(of_first, first.towers or (None, None))
  return dict(batch={key: shape for key, (_, shape) in batch.items()}, init=init, encode=of_first(first.encode),
              predict=of_first(first.predict), project=of_first(first.project),
              towers=(image, text) if image and text else None,
              couples_batch=any(part.couples_batch for part in parts.values()),
              compares=any(part.compares for part in parts.values()), hold=of_all('hold'), rate=of_all('rate'),
              spec=spec)


def parameters_of(params: dict, name: str) -> dict:
  """The parameters of a part, as it knows them."""
  return {'backbone': params['backbone'], **params[name]}


def updated(part: Objective, name: str, params: dict, memory: dict, carry, step) -> tuple[dict, dict]:
  """Parameters and memory of all parts after the `update` of one."""
  new, kept = part.update(parameters_of(params, name), memory[name], carry, step)
  heads = {key: value for key, value in new.items() if key != 'backbone'}
  return params | {'backbone': new['backbone'], name: heads}, memory | {name: kept}


def checked(method: str, what: str, parts: tuple, kind: type) -> tuple[dict[str, Objective], list]:
  """{name: objective} and the numbers of parts (name, objective, number), in their order.

  Args:
    method, what: of the numbers, for messages.
    kind: of the numbers, int or float.
  Raises:
    ValueError: a part is no such triple, its number is not of that kind or below 0, or two have one name.
  """
  for part in parts:
    triple = isinstance(part, tuple | list) and len(part) == 3 and isinstance(part[0], str) and \
        isinstance(part[1], Objective) and isinstance(part[2], int | kind) and not isinstance(part[2], bool)
    if not triple or not 0 <= part[2] < math.inf:
      got = (part[0], '...', part[2]) if triple else part
      raise ValueError(f'{method} wants parts=((name, objective, {what}), ...) with {what} {kind.__name__} of at least '
                       f'0, got {got!r}')
  methods = {name: objective for name, objective, _ in parts}
  if len(methods) < len(parts):
    raise ValueError(f'{method} wants a name of its own for each part, got {[name for name, *_ in parts]}')
  return methods, [number for *_, number in parts]


def turns(counts: list[int], which: int, step):
  """How many of the first `step` steps are those of a part, where the parts take turns of so many steps each.

  Args:
    counts: steps of a turn of each part, at least 1.
    which: the part's place among them.
    step: int, or i32[].
  """
  period, before, own = sum(counts), sum(counts[:which]), counts[which]
  past = step % period - before
  clip = (lambda x: min(max(x, 0), own)) if isinstance(step, int) else (lambda x: x.clip(0, own))
  return step // period * own + clip(past)
