"""Rows of tables, evaluated by their columns."""
import numpy as np
from jax.tree_util import Partial

from pretrain.frontends import Modality, flattened


def planned(source: dict, backbone: dict) -> tuple[int, ...] | None:
  """(f,) of a table, taken to be as wide as the backbone."""
  if source['name'] != 'table':
    return None
  return (backbone.get('numeric', 0) + len(backbone.get('categories', ())),)


MODALITY = Modality(key='row', dims='f', dtype=np.float32, reads='row', planned=planned,
                    baselines=lambda _: {'raw columns': Partial(flattened)})
