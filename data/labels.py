"""Labels of a whole source that a model gave: a folder of Parquet, part after part, never half a file.

  STORE/parts/part-00003-of-00010.parquet   index i64, label i32, confidence f32, perhaps probabilities f32[k]
  STORE/labels.json                         last: all parts are there; whose labels they are, and how many of each class

`STORE/parts` alone is what pandas, polars and DuckDB read as a folder of Parquet. Every part repeats, in its metadata
under 'labels', which model labeled which source.
"""
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.shuffle import permutation
from pretrain.config import Natural
from pretrain.files import Broken, read_json, write_bytes, write_json

FORMAT = 'labels 2'  # 1 had neither the data's identity nor the classes' names


class About(NamedTuple):
  """What a store is: two parts belong together exactly if all of this but `source` is equal.

  model:      of the config and the checkpoint's arrays, see `pretrain.programs.label.identity`.
  source:     words for the source that was labeled, its `origin`.
  data:       `data.identity.Identity.digest` of that source without its labels.
  examples:   its length.
  classes:    k.
  names:      of the classes, as the model was taught them; None where they have none, as clusters.
  generation: which round of a program this is; 0 where there is none.
  """
  model: str
  source: str
  data: str
  examples: int
  classes: int
  names: tuple[str, ...] | None
  generation: int


class Labels(NamedTuple):
  """A store's rows, in the order of the source.

  about:         `About`.
  index:         i64[n], the examples' global indices.
  label:         i32[n], -1 where an image was broken.
  confidence:    f32[n], the highest probability, 0 where an image was broken.
  probabilities: f32[n, k], or None where they were not kept.
  """
  about: About
  index: np.ndarray
  label: np.ndarray
  confidence: np.ndarray
  probabilities: np.ndarray | None


def part_path(store: str | Path, part: int, parts: int) -> Path:
  return Path(store) / 'parts' / f'part-{part:05d}-of-{parts:05d}.parquet'


def write_part(store: str | Path, part: int, parts: int, rows: Labels) -> None:
  """Writes one part by rename."""
  columns = {'index': pa.array(rows.index, pa.int64()), 'label': pa.array(rows.label, pa.int32()),
             'confidence': pa.array(rows.confidence, pa.float32())}
  if rows.probabilities is not None:
    flat = pa.array(rows.probabilities.reshape(-1), pa.float32())
    columns['probabilities'] = pa.FixedSizeListArray.from_arrays(flat, rows.about.classes)
  about = {'format': FORMAT, **rows.about._asdict(), 'part': part, 'parts': parts}
  table = pa.table(columns).replace_schema_metadata({'labels': json.dumps(about)})
  file = io.BytesIO()
  pq.write_table(table, file)
  target = part_path(store, part, parts)
  # The name of the unfinished file begins with a dot, in the folder above: nobody takes it for a part.
  unfinished = Path(store) / f'.{target.name}'
  write_bytes(unfinished, file.getvalue())
  target.parent.mkdir(exist_ok=True)
  unfinished.replace(target)


def about_part(path: Path) -> tuple[About, int]:
  """(what the file says of itself, number of parts).

  Raises:
    ValueError: it is no part of a store.
  """
  try:
    found = json.loads((pq.read_schema(path).metadata or {})[b'labels'])
    if found['format'] != FORMAT:
      raise ValueError(f'format {found["format"]!r}, wanted {FORMAT!r}')
    about = About(**{name: found[name] for name in About._fields})
    if about.names is not None and len(about.names) != about.classes:
      raise ValueError(f'{about.classes} classes with {len(about.names)} names')
    return about._replace(names=about.names and tuple(about.names)), found['parts']
  except (KeyError, TypeError, ValueError, OSError) as error:  # pyarrow's errors are ValueErrors and OSErrors
    raise ValueError(f'{path} is not a part of a label store: {error}') from error


def parts_there(store: str | Path, parts: int, about: About) -> list[int]:
  """The parts that are written already, ascending.

  Raises:
    ValueError: a file of the store is of another model, source or number of parts; names what differs.
  """
  there = []
  for path in sorted((Path(store) / 'parts').glob('*.parquet')):
    found, count = about_part(path)
    differing = [f'{name} {mine!r}, wanted {wanted!r}' for name, mine, wanted in
                 zip(About._fields, found, about, strict=True) if name not in ('source', 'data') and mine != wanted]
    if found.data != about.data:
      differing.append(f'data {found.data} of {found.source!r}, wanted {about.data} of {about.source!r}')
    if count != parts:
      differing.append(f'{count} parts, wanted {parts}')
    if differing:
      raise ValueError(f'{path} holds other labels: {"; ".join(differing)}. Choose another --out, or remove this one')
    there.append(int(path.name.split('-')[1]))
  return there


def finish(store: str | Path, parts: int, about: About) -> dict:
  """Writes labels.json, once all parts are there: `About`, parts, and the number of labels of each class."""
  for unfinished in Path(store).glob('.*part*'):  # of attempts that were killed
    unfinished.unlink()
  labels = pq.read_table(Path(store) / 'parts', columns=['label']).column('label').to_numpy()
  broken = int(np.sum(labels < 0))
  summary = {'format': FORMAT, **about._asdict(), 'parts': parts, 'broken': broken,
             'labels': np.bincount(labels[labels >= 0], minlength=about.classes).tolist()}
  write_json(Path(store) / 'labels.json', summary)
  return summary


def finished(store: str | Path) -> bool:
  """Whether labels.json is there and whole; a damaged one is written again by `finish`."""
  path = Path(store) / 'labels.json'
  try:
    return path.exists() and bool(read_json(path, format=str, labels=list, parts=Natural))
  except Broken:
    return False


def read(store: str | Path) -> Labels:
  """All rows of a finished store.

  Raises:
    FileNotFoundError: nothing there.
    ValueError: it is not finished, or is no store.
  """
  root = Path(store)
  files = sorted((root / 'parts').glob('*.parquet'))
  if not files:
    raise FileNotFoundError(f'no label store in {store}; `python -m pretrain label --out={store}` makes one')
  about, parts = about_part(files[0])
  if not finished(root):
    raise ValueError(f'the label store {store} is not finished: {len(files)} of {parts} parts are there, and its '
                     f'labels.json is {"damaged" if (root / "labels.json").exists() else "not"}; run '
                     '`python -m pretrain label` again')
  if parts_there(root, parts, about) != list(range(parts)):
    raise ValueError(f'the label store {store} was finished, but has {len(files)} of {parts} parts')
  table = pa.concat_tables([pq.read_table(file) for file in files]).combine_chunks()
  probabilities = None
  if 'probabilities' in table.column_names:
    flat = table.column('probabilities').combine_chunks().flatten()
    probabilities = flat.to_numpy(zero_copy_only=False).reshape(-1, about.classes)
  index, label, confidence = (table.column(name).to_numpy() for name in ('index', 'label', 'confidence'))
  if label.min(initial=0) < -1 or label.max(initial=-1) >= about.classes:
    raise ValueError(f'the label store {store} is damaged: wanted labels from -1 to {about.classes - 1}, got '
                     f'{label.min(initial=0)} to {label.max(initial=-1)}')
  return Labels(about, index, label, confidence, probabilities)


def admitted(labels: Labels, candidates: np.ndarray, *, threshold: float | None = None,
             percentile: float | None = None, margin: float | None = None, per_class: int | None = None,
             repeat: bool = False) -> np.ndarray:
  """Which of the candidates are trained on: those that pass every criterion given.

  Ranks are those of the confidence; equal ones are in an order that is drawn once and for all, the same for any
  percentile: so what a higher percentile admits, a lower one admits too.

  Args:
    candidates: i64[m] rows of `labels`.
    threshold: the confidence is at least this, in [0, 1].
    percentile: the ceil((1 - percentile / 100) m) most confident ones, percentile in [0, 100).
    margin: the highest probability is above the second by at least this, in [0, 1].
    per_class: at most this many of each label, the most confident of them.
    repeat: a label that has fewer, but some, is repeated until it has per_class (arXiv:1911.04252v4, section 3.1).
  Returns:
    i64[admitted] rows of `labels`, ascending.
  Raises:
    ValueError: a criterion out of its range, or a margin where there are no probabilities.
  """
  limits = dict(threshold=(threshold, 1), margin=(margin, 1), percentile=(percentile, 100))
  for name, (value, most) in limits.items():
    if value is not None and not 0 <= value <= most or (name == 'percentile' and value == 100):
      raise ValueError(f'{name}: wanted {"at least 0 and less than 100" if most == 100 else "[0, 1]"}, got {value}')
  if per_class is not None and per_class < 1 or (repeat and per_class is None):
    raise ValueError(f'per_class: wanted at least 1{", as repeat fills up to it" if repeat else ""}, got {per_class}')
  if margin is not None and labels.probabilities is None:
    raise ValueError('margin: the label store holds no probabilities; label again with --config.probabilities=True')
  candidates = candidates[labels.label[candidates] >= 0]
  drawn = permutation(len(labels.label), 0)[candidates]
  ranked = candidates[np.lexsort((drawn, -labels.confidence[candidates]))]
  if percentile is not None:
    ranked = ranked[:math.ceil(round((100 - percentile) * len(ranked) / 100, 6))]
  if threshold is not None:
    ranked = ranked[labels.confidence[ranked] >= threshold]
  if margin is not None:
    assert labels.probabilities is not None
    highest = np.sort(labels.probabilities[ranked], 1)
    ranked = ranked[highest[:, -1] - highest[:, -2] >= margin]
  if per_class is not None:
    each = [ranked[labels.label[ranked] == c] for c in range(labels.about.classes)]
    each = [np.resize(rows, per_class) if repeat and len(rows) else rows[:per_class] for rows in each]
    ranked = np.concatenate(each)
  return np.sort(ranked)
