"""ArrayRecord sets written by `python -m data prepare`."""
import json
from pathlib import Path

import numpy as np

from data.encoded import Encoded
from data.names import known

FORMAT = 'images in array_record 1'


def array_record(*, path: str, split: str, size: int | None = None, channels: int = 3) -> Encoded:
  """Images of a set that `python -m data prepare` wrote: a record is an encoded image, labels lie beside.

  The folder holds metadata.json ({'format', 'classes', 'size', 'splits': {split: {'count', 'shards'}}}), the shards
  `{split}-00000-of-00004.array_record` (group_size:1) and, if labeled, `{split}-labels.npy` i32[n].

  Args:
    path: the folder.
    split: such as 'train'.
    size: height and width of the images; None: that of `prepare --size`, else as stored, all alike.
    channels: 3 (RGB) or 1 (grey).
  Raises:
    FileNotFoundError: no prepared set there, a shard is missing.
    ValueError: unknown split, another format, fewer records than metadata.json says, a damaged list of records.
  """
  root = Path(path)
  if not (root / 'metadata.json').is_file():
    raise FileNotFoundError(f'no prepared set in {path} (no metadata.json); `python -m data prepare` makes one')
  metadata = json.loads((root / 'metadata.json').read_text())
  if metadata.get('format') != FORMAT:
    raise ValueError(f'{path}: wanted format {FORMAT!r}, got {metadata.get("format")!r}')
  entry = metadata['splits'][known(f'split of {path}', split, metadata['splits'])]
  missing = [s for s in entry['shards'] if not (root / s).is_file()]
  if missing:
    raise FileNotFoundError(f'{path}: {len(missing)} of {len(entry["shards"])} shards are missing: {missing[0]} …')
  classes = metadata['classes']
  labels = None if classes is None else np.load(root / f'{split}-labels.npy')
  reader = Records([str(root / s) for s in entry['shards']], labels)
  if len(reader) != entry['count'] or (labels is not None and len(labels) != entry['count']):
    raise ValueError(f'{path}: metadata.json says {entry["count"]} images in {split}, the shards hold {len(reader)}')
  return Encoded(reader, f'{split} of {path}', None if classes is None else tuple(classes), size or metadata['size'],
                 channels)


class Records:
  """`data.encoded.Reader` over the shards of an ArrayRecord set."""

  def __init__(self, shards: list[str], labels: np.ndarray | None):
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    self.name, self._labels = Path(shards[0]).parent, labels
    try:
      self.records = ArrayRecordDataSource(shards)
    except RuntimeError as error:
      raise ValueError(f'{self.name}: a shard cannot be opened ({error}); wanted it as it was prepared') from error

  def __len__(self):
    return len(self.records)

  def read(self, i):
    """The record and its label."""
    return self.records[i], None if self._labels is None else int(self._labels[i])

  def labels(self):
    """Labels i32[n], or None."""
    return self._labels

  def file(self, i):
    """Folder and record number."""
    return f'{self.name}#{i}'
