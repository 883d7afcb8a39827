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

from data.classes import numbered_as
from data.decode import shrink
from data.encoded import Decoding, check_decoding, digest, encoded
from data.source import Source
from data.sources.array_record import FORMAT
from data.sources.folder import folder, splits_of

PER_SHARD = 10_000  # images, unless the number of shards is given
WINDOW = 512  # images under way at a time


def folder_splits(path: str, test_share: float) -> dict[str, Source]:
  """The splits of an image folder: its train/, val/, … or, without these, 'train' and a share of each class as 'test'.

  Which images are in the share depends on their paths alone.

  Raises:
    FileNotFoundError, ValueError: as `folder`; a share outside [0, 1), or beside splits that exist.
  """
  if not 0 <= test_share < 1:
    raise ValueError(f'--split-fraction: wanted at least 0 and less than 1, got {test_share}')
  if not Path(path).is_dir():
    raise FileNotFoundError(f'no folder {path}')
  if found := splits_of(Path(path)):
    if test_share:
      raise ValueError(f'--split-fraction: {path} already has the splits {", ".join(found)}')
    return {s: folder(path=path, split=s, size=1) for s in found}
  whole = folder(path=path, split=None, size=1)  # images are copied as they are: the size is not used
  if not test_share:
    return {'train': whole}
  labels = np.zeros(len(whole), np.int32) if whole.labels is None else whole.labels
  names = (whole.examples.names() or b'').split(b'\0')
  order = np.argsort([hashlib.sha256(name).hexdigest() for name in names], kind='stable')
  test = np.zeros(len(whole), bool)
  for c in np.unique(labels):
    mine = order[labels[order] == c]
    test[mine[:round(len(mine) * test_share)]] = True
  if test.all() or not test.any():
    raise ValueError(f'--split-fraction: {test_share} of {len(whole)} images leaves a split empty')
  return {'train': whole.take(np.flatnonzero(~test)), 'test': whole.take(np.flatnonzero(test))}


def prepare(splits: dict[str, Source], out: str, *, size: int | None, shards: int | None,
            decoding: Decoding | None = None) -> dict:
  """Writes splits as a set that `data.sources.array_record` reads; the folder appears whole or not at all.

  Every image is decoded once; what does not decode is left out and listed in bad_records.jsonl of the set.

  Args:
    splits: sources of encoded images by the name of the split; their classes meet by name.
    out: folder to make; its parent is made too.
    size: images whose shorter side is longer are resized to it; None keeps all bytes as they are.
    shards: files per split; None: one per 10,000 images.
    decoding: of images that are resized; None: as by default.
  Returns:
    The metadata: {'format', 'classes', 'size', 'splits': {split: {'count', 'broken', 'shards', 'marks'}}}.
  Raises:
    FileExistsError: `out` is there already.
    ValueError: a split in which no image decodes, splits with other classes, with and without labels, or with images
      of no class, sizes below 1. All of it is told before the first image is written.
  """
  for flag, value in (('--size', size), ('--shards', shards)):
    if value is not None and value < 1:
      raise ValueError(f'{flag}: wanted at least 1, got {value}')
  target, decoding = Path(out), check_decoding(decoding or Decoding())
  if target.exists():
    raise FileExistsError(f'{out} exists already: remove it or give another --out')
  if len({source.labeled for source in splits.values()}) > 1:
    raise ValueError(f'of {", ".join(splits)} some have labels and some have none: prepare them one by one')
  classes = max((source.classes for source in splits.values()), key=lambda names: len(names or ()))
  if classes is not None:
    splits = {name: numbered_as(source, classes, here=name, there='the split with the most classes')
              for name, source in splits.items()}
  for source in splits.values():
    first_good(source, size, decoding)
  partial = target.parent / f'.{target.name}.partial-{os.getpid()}'
  partial.mkdir(parents=True)
  try:
    with _progress() as progress:
      entries = {split: _write(partial, split, source, size, shards, decoding, progress)
                 for split, source in splits.items()}
    metadata = {'format': FORMAT, 'classes': classes, 'size': size, 'splits': entries}
    # ASCII alone: a class may be a folder whose name is not UTF-8
    (partial / 'metadata.json').write_text(json.dumps(metadata, indent=2) + '\n')
    partial.rename(target)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise
  return metadata


def first_good(source: Source, size: int | None, decoding: Decoding) -> None:
  """Raises ValueError if no image of a source decodes, which is known after the first one that does."""
  why = ''
  for i in source.index:
    try:
      shrink(encoded(source).reader.read(int(i)), size=size, **decoding._asdict())
      return
    except Exception as error:  # Pillow raises about ten kinds for broken files
      why = why or f'{source.examples.file(int(i))}: {error}'
  raise ValueError(f'none of the {len(source)} images of {source.origin} decodes, such as {why}')


def _write(root: Path, split: str, source: Source, size: int | None, shards: int | None, decoding: Decoding, progress
           ) -> dict:
  from array_record.python import array_record_module
  n, reader = len(source), encoded(source).reader
  rows, label_of = source.index, source.column('label') if source.labeled else None
  count = min(n, shards or -(-n // PER_SHARD))
  names = [f'{split}-{k:05d}-of-{count:05d}.array_record' for k in range(count)]
  labels, broken, used, marks = [], [], [], {}
  task = progress.add_task(split, total=n)

  def convert(i: int):
    try:
      return i, shrink(reader.read(i), size=size, **decoding._asdict()), None
    except Exception as error:  # Pillow raises about ten kinds for broken files
      return i, None, f'{type(error).__name__}: {error}'

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for k, name in enumerate(names):
      mine = rows[k * n // count:(k + 1) * n // count]
      writer, before, first, last = None, len(labels), b'', b''
      try:
        for start in range(0, len(mine), WINDOW):
          for i, data, reason in pool.map(convert, map(int, mine[start:start + WINDOW])):
            progress.advance(task)
            if data is None:
              broken.append({'index': i, 'file': source.examples.file(i), 'reason': reason})
              continue
            writer = writer or array_record_module.ArrayRecordWriter(str(root / name), 'group_size:1')
            writer.write(data)
            first, last = first or data, data
            labels.append(-1 if label_of is None else int(label_of[i]))
      finally:
        if writer:
          writer.close()
      if len(labels) > before:
        used.append(name)
        marks[name] = [len(labels) - before, digest(first).hex(), digest(last).hex()]
  if source.classes is not None:
    np.save(root / f'{split}-labels.npy', np.array(labels, np.int32))
  if broken:
    with open(root / 'bad_records.jsonl', 'a') as f:
      f.writelines(json.dumps(row) + '\n' for row in broken)
  return {'count': len(labels), 'broken': len(broken), 'shards': used, 'marks': marks}


def _progress():
  columns = (rich.progress.TextColumn('{task.description}'), rich.progress.BarColumn(),
             rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn())
  return rich.progress.Progress(*columns, console=rich.console.Console(stderr=True))
