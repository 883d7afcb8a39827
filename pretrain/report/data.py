"""report_data.npz: the pictures and features of an evaluation, which the page draws."""
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pretrain.files import write_bytes


def save_report_data(
  workdir: str | os.PathLike,
  *,
  originals=None,
  views=None,
  queries=None,
  neighbors=None,
  query_labels=None,
  neighbor_labels=None,
  features: Mapping | None = None,
  labels=None,
  classes: Sequence[str] | None = None,
) -> Path:
  """Writes workdir/report_data.npz, the arrays that `report` draws; any group may be left out.

  Args:
    workdir: the run directory, made if absent.
    originals: u8[m, h, w, c], a few training images.
    views: f32[m, v, h, w, c] in [0, 1], their augmented views; a list of such arrays where crops differ in size.
    queries: u8[q, h, w, c], a few test images.
    neighbors: u8[q, k, h, w, c], their nearest training images, nearest first.
    query_labels: i32[q].
    neighbor_labels: i32[q, k].
    features: {name of the backbone: f32[n, d]}, the same n test examples for each; above 2,000 a sorted random subset
      (seed 0) is kept.
    labels: i32[n], the classes of these examples.
    classes: names of the classes, in the order of the labels.

  Returns:
    The path of the file, written by rename.

  Raises:
    ValueError: where two arrays that go together differ in length.
  """
  groups = {'views': (originals, views), 'neighbors': (queries, neighbors)}
  for name, pair in groups.items():
    if (pair[0] is None) != (pair[1] is None):
      raise ValueError(f'{name} come with their {"originals" if name == "views" else "queries"}; got one of the two')
  arrays, features = {}, {name: np.asarray(value) for name, value in (features or {}).items()}
  if originals is not None and views is not None:
    arrays['originals'] = np.asarray(originals)
    for i, crop in enumerate(views if isinstance(views, list | tuple) else [views]):
      crop = np.asarray(crop, np.float32)
      _same_length('views', len(crop), 'originals', len(originals))
      arrays[f'views_{i}'] = np.round(np.nan_to_num(crop).clip(0, 1) * 255).astype(np.uint8)
  if queries is not None and neighbors is not None:
    _same_length('neighbors', len(neighbors), 'queries', len(queries))
    arrays |= {'queries': np.asarray(queries), 'neighbors': np.asarray(neighbors)}
    if query_labels is not None and neighbor_labels is not None:
      arrays |= {'query_labels': np.asarray(query_labels), 'neighbor_labels': np.asarray(neighbor_labels)}
  if features:
    n = len(next(iter(features.values())))
    for name, value in features.items():
      _same_length(f'features of {name}', len(value), 'the first features', n)
    keep = np.sort(np.random.default_rng(0).permutation(n)[:2000])
    arrays['feature_names'] = np.array(list(features), str)
    arrays |= {f'features_{i}': value[keep].astype(np.float32) for i, value in enumerate(features.values())}
    if labels is not None:
      _same_length('labels', len(labels), 'features', n)
      arrays['labels'] = np.asarray(labels)[keep]
  if classes is not None:
    arrays['classes'] = np.array([str(name) for name in classes], str)
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  path = Path(workdir) / 'report_data.npz'
  write_bytes(path, file.getvalue())
  return path


def _same_length(name: str, got: int, other: str, wanted: int) -> None:
  if got != wanted:
    raise ValueError(f'{name}: {got} rows, but {other}: {wanted}; they describe the same examples')
