"""One kind of input, one file: what the rest knows of images, clips, texts and rows of tables.

A file has MODALITY, the record that the spine asks, and, where a Transformer reads the input in cells, a function of
the file's name that gives `Cells`. The files are the list: nothing else names the kinds of input.
"""
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from data.source import Source
from pretrain import config as configs


def unchanged(x):
  """The view of what an encoder reads as it is stored."""
  return x


def flattened(x):
  """The encoder to beat: [b, ...] -> [b, n], the numbers of an example."""
  return x.reshape(len(x), -1)


class Modality(NamedTuple):
  """A kind of input. Shapes are those of one example.

  key:       of the raw array [b, ...] in the batches of a source.
  dims:      letters of its dimensions after b, 'h w c'.
  dtype:     of the raw array.
  reads:     key of what views make of it, of the same dimensions, which objectives read.
  baselines: source -> {name: the encoder to beat}, of what `view` gives.
  planned:   (spec of a source, spec of a backbone) -> shape of an example of a source that is not here; None where they
    are of another kind.
  view:      side -> (raw array -> what an encoder reads, unaugmented); None: no example is resized. The same function
    for the same side, so that it is compiled once.
  side:      shape -> side of an example, where no other is wanted; None for what has none.
  pictures:  an array of a batch, raw or a view -> [b, v, h, w, c], u8 or f32 in [0, 1]: v pictures an example, which
    the report draws; None where the array has none. None: the kind has none.
  labeled:   whether a source that is not here is taken to be labeled.
  tokens:    whether the first dimension counts tokens, of which the metrics say how many are read per second.
  """
  key: str
  dims: str
  dtype: type
  reads: str
  baselines: Callable[[Source], dict[str, Partial]]
  planned: Callable[[dict, dict], tuple[int, ...] | None]
  view: Callable[[int | None], Callable] = lambda _: unchanged
  side: Callable[[tuple[int, ...]], int | None] = lambda _: None
  pictures: Callable[[Any], Any] | None = None
  labeled: bool = True
  tokens: bool = False

  @property
  def batch(self) -> dict[str, str]:
    """What an objective that reads it wants of a batch, {'image': 'b h w c'}."""
    return {self.reads: f'b {self.dims}'}


class Cells(NamedTuple):
  """How a Transformer reads a kind of input: in cells on a grid, each of which becomes a token.

  grid:      of an example of the native size, (rows, columns).
  size:      numbers of a cell, p.
  normalize: what views give, float[b, ...] -> f32[b, ...], standardised.
  grid_of:   shape [b, ...] of what `normalize` gives -> its grid.
  cut:       [b, ...] of the shape that `normalize` gives -> cells [b, n, p] in the order of the grid.
  positions: (grid, width) -> fixed positions f32[n, width].
  resample:  (learned positions f32[n, width] of the native grid, grid) -> those of that grid.
  """
  grid: tuple[int, ...]
  size: int
  normalize: Callable
  grid_of: Callable[[tuple[int, ...]], tuple[int, ...]]
  cut: Callable
  positions: Callable[[tuple[int, ...], int], np.ndarray]
  resample: Callable[[jnp.ndarray, tuple[int, ...]], jnp.ndarray]


def modalities() -> dict[str, Modality]:
  """All, by the names of their files."""
  return {name: importlib.import_module(f'{__name__}.{name}').MODALITY for name in configs.files(sys.modules[__name__])}


def found(batch: Mapping) -> list[Modality]:
  """Those of which a batch has the raw array, in the order of the batch."""
  kinds = modalities().values()
  return [kind for key, x in batch.items() for kind in kinds
          if kind.key == key and len(kind.dims.split()) == len(x.shape) - 1]


def of(batch: Mapping) -> Modality:
  """That of the first array that has one: of what a source reads, not of what stands beside it.

  Raises:
    ValueError: no array has one.
  """
  if kinds := found(batch):
    return kinds[0]
  wanted = ', '.join(f'{kind.key!r} [b {kind.dims}]' for kind in modalities().values())
  got = ', '.join(f'{key!r} {list(x.shape)}' for key, x in batch.items())
  raise ValueError(f'wanted an array of a kind of pretrain/frontends: {wanted}; got {got or "none"}')


def of_source(source: Source) -> Modality:
  """That of a source's examples; reads the first one."""
  return of(source.examples.read(np.zeros(1, np.int64))[0])


def planned(source: dict, backbone: dict) -> list[tuple[Modality, tuple[int, ...]]]:
  """What a source that is not here has, and the shape of an example of it; arguments as those of `Modality.planned`."""
  shapes = [(kind, kind.planned(source, backbone)) for kind in modalities().values()]
  return [(kind, shape) for kind, shape in shapes if shape is not None]
