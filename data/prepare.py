"""Conversion of image sets to ArrayRecord, which reads any example at once and copies as a few large files."""
import concurrent.futures
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import rich.console
import rich.progress

from data.decode import shrink
from data.encoded import Encoded
from data.sources.array_record import FORMAT
from data.sources.folder import SPLITS, Files, folder
from data.wrap import subset

PER_SHARD = 10_000  # images, unless the number of shards is given
WINDOW = 512  # images under way at a time


def folder_splits(path: str, test_share: float) -> dict[str, Encoded]:
  """The splits of an image folder: its train/, val/, … or, without these, 'train' and a share of each class as 'test'.

  Which images are in the share depends on their paths alone.

  Raises:
    FileNotFoundError, ValueError: as `folder`; a share outside [0, 1), or beside splits that exist.
  """
  if not 0 <= test_share < 1:
    raise ValueError(f'--split-fraction: wanted at least 0 and less than 1, got {test_share}')
  if not Path(path).is_dir():
    raise FileNotFoundError(f'no folder {path}')
  found = [s for s in SPLITS if (Path(path) / s).is_dir()]
  if found and len(found) == sum(e.is_dir() and not e.name.startswith('.') for e in os.scandir(path)):
    if test_share:
      raise ValueError(f'--split-fraction: {path} already has the splits {", ".join(found)}')
    return {s: folder(path=path, split=s, size=1) for s in found}
  whole = folder(path=path, split=None, size=1)  # images are copied as they are: the size is not used
  if not test_share:
    return {'train': whole}
  labels = np.zeros(len(whole), np.int32) if whole.labels is None else whole.labels
  assert isinstance(whole.reader, Files)
  names = whole.reader.names
  order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names], kind='stable')
  test = np.zeros(len(whole), bool)
  for c in np.unique(labels):
    mine = order[labels[order] == c]
    test[mine[:round(len(mine) * test_share)]] = True
  if test.all() or not test.any():
    raise ValueError(f'--split-fraction: {test_share} of {len(whole)} images leaves a split empty')
  return {'train': subset(whole, np.flatnonzero(~test)), 'test': subset(whole, np.flatnonzero(test))}


def prepare(splits: dict[str, Encoded], out: str, *, size: int | None, shards: int | None) -> dict:
  """Writes splits as a set that `data.sources.array_record` reads; the folder appears whole or not at all.

  Every image is decoded once; what does not decode is left out and listed in bad_records.jsonl of the set.

  Args:
    splits: sources by the name of the split, of the same classes.
    out: folder to make; its parent is made too.
    size: images whose shorter side is longer are resized to it; None keeps all bytes as they are.
    shards: files per split; None: one per 10,000 images.
  Returns:
    The metadata: {'format', 'classes', 'size', 'splits': {split: {'count', 'broken', 'shards'}}}.
  Raises:
    FileExistsError: `out` is there already.
    ValueError: a split in which no image decodes, splits of other classes, sizes below 1.
  """
  for flag, value in (('--size', size), ('--shards', shards)):
    if value is not None and value < 1:
      raise ValueError(f'{flag}: wanted at least 1, got {value}')
  target = Path(out)
  if target.exists():
    raise FileExistsError(f'{out} exists already: remove it or give another --out')
  classes = {s.classes for s in splits.values()}
  if len(classes) > 1:
    raise ValueError(f'{", ".join(splits)} differ in their classes: prepare them one by one')
  [classes] = classes
  partial = target.parent / f'.{target.name}.partial-{os.getpid()}'
  partial.mkdir(parents=True)
  try:
    with _progress() as progress:
      entries = {split: _write(partial, split, source, size, shards, progress) for split, source in splits.items()}
    metadata = {'format': FORMAT, 'classes': classes, 'size': size, 'splits': entries}
    (partial / 'metadata.json').write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + '\n')
    partial.rename(target)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise
  return metadata


def _write(root: Path, split: str, source: Encoded, size: int | None, shards: int | None, progress) -> dict:
  from array_record.python import array_record_module
  n = len(source)
  rows = np.arange(n) if source.rows is None else source.rows
  count = min(n, shards or -(-n // PER_SHARD))
  names = [f'{split}-{k:05d}-of-{count:05d}.array_record' for k in range(count)]
  labels, broken, used = [], [], []
  task = progress.add_task(split, total=n)

  def convert(i: int):
    try:
      data, label = source.reader.read(i)
      return i, shrink(data, size=size), label, None
    except Exception as error:  # Pillow raises about ten kinds for broken files
      return i, None, None, f'{type(error).__name__}: {error}'

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for k, name in enumerate(names):
      mine = rows[k * n // count:(k + 1) * n // count]
      writer, before = None, len(labels)
      try:
        for start in range(0, len(mine), WINDOW):
          for i, data, label, reason in pool.map(convert, map(int, mine[start:start + WINDOW])):
            progress.advance(task)
            if reason:
              broken.append({'index': i, 'file': source.reader.file(i), 'reason': reason})
              continue
            writer = writer or array_record_module.ArrayRecordWriter(str(root / name), 'group_size:1')
            writer.write(data)
            labels.append(label)
      finally:
        if writer:
          writer.close()
      if len(labels) > before:
        used.append(name)
  if not labels:
    raise ValueError(f'none of the {n} images of {source.origin} decodes (the first: {broken[0]["file"]}: '
                     f'{broken[0]["reason"]})')
  if source.classes is not None:
    np.save(root / f'{split}-labels.npy', np.array(labels, np.int32))
  if broken:
    with open(root / 'bad_records.jsonl', 'a') as f:
      f.writelines(json.dumps(row) + '\n' for row in broken)
  return {'count': len(labels), 'broken': len(broken), 'shards': used}


def _progress():
  columns = (rich.progress.TextColumn('{task.description}'), rich.progress.BarColumn(),
             rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn())
  return rich.progress.Progress(*columns, console=rich.console.Console(stderr=True))
