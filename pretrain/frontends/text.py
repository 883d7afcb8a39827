"""Texts: token ids, evaluated by how often each is there."""
import functools

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from data.source import Source
from pretrain.frontends import Modality


def counts(tokens, *, vocabulary: int):
  """The encoder to beat on texts: i32[b, l] -> f32[b, vocabulary], how often each id is there."""
  return jnp.zeros((len(tokens), vocabulary)).at[jnp.arange(len(tokens))[:, None], tokens].add(1.)


def baselines(source: Source) -> dict[str, Partial]:
  return {} if source.vocabulary is None else {
      'counts of the tokens': Partial(functools.partial(counts, vocabulary=source.vocabulary))}


def planned(source: dict, backbone: dict) -> tuple[int, ...] | None:
  """(l,) where the source has a length."""
  del backbone
  return (source['length'],) if 'length' in source else None


MODALITY = Modality(key='tokens', dims='l', dtype=np.int32, reads='tokens', planned=planned, baselines=baselines,
                    labeled=False, tokens=True)
