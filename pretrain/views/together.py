"""Several view sets of one batch."""
from collections.abc import Callable

import jax


def together(*, parts: dict[str, Callable]):
  """What each of several view sets delivers, in one batch; for objectives made of others.

  Args:
    parts: {name: views}. Labels and indices may come from several, images from one: objectives that want the same views
      share them, as those stand here once.

  Returns `views(batch, key) -> batch`. The first part by name draws what it would alone, the others otherwise.
  Raises: ValueError for no part, what is no view set, or, when traced, a key of two that do not hold the same array.
  """
  if not parts or not all(map(callable, parts.values())):
    raise ValueError(f"together wants parts={{name: dict(name='...', ...)}}, got {parts}")

  def views(batch, key):
    made, makers = {}, {}
    for place, name in enumerate(sorted(parts)):
      for what, value in parts[name](batch, jax.random.fold_in(key, place) if place else key).items():
        if made.setdefault(what, value) is not value:
          raise ValueError(f'together: the views {makers[what]!r} and {name!r} both make {what!r}; wanted it from one')
        makers.setdefault(what, name)
    return made

  return views
