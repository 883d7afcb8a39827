"""ArrayRecord sets written by `python -m data prepare`."""
import json
from pathlib import Path
from typing import Literal

import numpy as np

from data.classes import read_labels
from data.encoded import Encoded, digest
from data.files import regular
from data.names import known
from data.source import Source
from data.sources.folder import options
from pretrain.config import Count

FORMAT = 'images in array_record 1'


def array_record(*, path: str, split: str, size: Count | None = None, channels: Literal[1, 3] = 3,
                 decoding: dict | None = None) -> Source:
  """Images of a set that `python -m data prepare` wrote: a record is an encoded image, labels lie beside.

  The folder holds metadata.json ({'format', 'classes', 'size', 'splits': {split: {'count', 'shards', 'marks'}}}), the
  shards `{split}-00000-of-00004.array_record` (group_size:1) and, if labeled, `{split}-labels.npy` i32[n].

  Args:
    path: the folder.
    split: such as 'train'.
    size: height and width of the images; None: that of `prepare --size`, else as stored, all alike.
    channels: 3 (RGB) or 1 (grey).
    decoding: `data.encoded.Decoding`.
  Raises:
    FileNotFoundError: no prepared set there, a shard is missing.
    ValueError: unknown split, another format, fewer records than metadata.json says, a damaged list of records, labels
      that are none of the classes.
  """
  root = Path(path)
  metadata = read_metadata(root)
  entry = metadata['splits'][known(f'split of {path}', split, metadata['splits'])]
  missing = [s for s in entry['shards'] if not (root / s).is_file()]
  if missing:
    raise FileNotFoundError(f'{path}: {len(missing)} of {len(entry["shards"])} shards are missing: {missing[0]} …')
  reader = Records([str(root / s) for s in entry['shards']])
  if len(reader) != entry['count']:
    raise ValueError(f'{path}: metadata.json says {entry["count"]} images in {split}, the shards hold {len(reader)}')
  check_shards(reader, entry)
  examples = Encoded(reader, size or metadata['size'], channels, options(decoding))
  if metadata['classes'] is None:
    return Source(examples, f'{split} of {path}')
  file = root / f'{split}-labels.npy'
  try:
    with regular(file) as opened:
      stored = np.lib.format.read_array(opened, allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(f'{file} cannot be read: {error}') from error
  label, classes = read_labels(stored, str(file), metadata['classes'])
  return Source(examples, f'{split} of {path}', {'label': label}, classes)


def read_metadata(root: Path) -> dict:
  """metadata.json of a prepared set; errors as `array_record`."""
  file = root / 'metadata.json'
  if not file.is_file():
    raise FileNotFoundError(f'no prepared set in {root} (no metadata.json); `python -m data prepare` makes one')
  try:
    found = json.loads(file.read_text(encoding='utf-8'))
    if found['format'] != FORMAT:
      raise ValueError(f'wanted format {FORMAT!r}, got {found["format"]!r}')
    for entry in found['splits'].values():
      marks = entry.get('marks', {})
      if not isinstance(entry['count'], int) or not entry['shards'] or marks.keys() - set(entry['shards']):
        raise ValueError('a split without its count and shards')
      for name in entry['shards']:
        count, *digests = marks.get(name, (0, '', ''))
        if not (isinstance(name, str) and isinstance(count, int) and len(digests) == 2):
          raise ValueError(f'a shard {name!r} with the marks {marks.get(name)}')
    names, size = found['classes'], found['size']
    if not (names is None or all(isinstance(name, str) for name in names)) or not isinstance(size, int | None):
      raise ValueError('classes that are no names, or a size that is no number')
    return found
  except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
    raise ValueError(f'{file} is not that of a prepared set: {type(error).__name__}: {error}') from error


def check_shards(reader: 'Records', entry: dict) -> None:
  """Raises ValueError where a shard is another one than its name says: neither its first nor its last record is known.

  One of the two may be damaged: that costs its image and no other.
  """
  start = 0
  for shard, (count, *wanted) in entry.get('marks', {}).items():
    if not any(mark(reader, place) == digest for place, digest in zip((start, start + count - 1), wanted, strict=True)):
      raise ValueError(f'{reader.folder / shard} does not hold what was prepared under that name; copy the set again')
    start += count


def mark(reader: 'Records', i: int) -> str:
  """Digest of a record; '' of one that cannot be read."""
  try:
    return reader.digest(i).hex()
  except Exception:  # ArrayRecord raises several kinds
    return ''


class Records:
  """`data.encoded.Reader` over the shards of an ArrayRecord set."""

  def __init__(self, shards: list[str]):
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    self.shards, self.folder = shards, Path(shards[0]).parent
    try:
      self.records = ArrayRecordDataSource(shards)
    except RuntimeError as error:
      raise ValueError(f'{self.folder}: a shard cannot be opened ({error}); wanted it as it was prepared') from error

  def __len__(self):
    return len(self.records)

  def read(self, i):
    """The record."""
    return self.records[i]

  def file(self, i):
    """Folder and record number."""
    return f'{self.folder}#{i}'

  def names(self):
    return None

  def digest(self, i):
    return digest(self.read(i))

  def whole(self):
    return repr([Path(shard).stat().st_size for shard in self.shards]).encode()
