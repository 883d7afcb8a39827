"""Hugging Face image data sets: Parquet files, or folders of save_to_disk, read with pyarrow alone."""
import bisect
import collections
import json
import re
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from data.encoded import Encoded
from data.names import known

CACHE = 4 << 30  # bytes of row groups kept in memory by each process


def huggingface(*, path: str, split: str, size: int | None, channels: int = 3, image_column: str | None = None,
                label_column: str | None = None) -> Encoded:
  """Images of a data set in the layout of Hugging Face: a struct column {'bytes', 'path'} and a label column.

  Parquet has no access to a row, only to a row group: groups are read when first needed and up to 4 GiB of them kept. A
  set that is larger reads many times what it uses when shuffled; `python -m data prepare --huggingface=…` converts it.

  Args:
    path: folder with `{split}-00000-of-00002.parquet`, `{split}.parquet` or `{split}/0000.parquet` (at any depth), or
      one that `datasets` wrote with save_to_disk (`{split}/data-*.arrow`).
    split: such as 'train'.
    size: height and width, shorter side resized and the centre kept; None: as stored, all alike.
    channels: 3 (RGB) or 1 (grey).
    image_column: None: the first column of the image layout.
    label_column: integers or strings; None: the first ClassLabel column, else 'label', else none.
  Raises:
    FileNotFoundError: no such folder, no Parquet or Arrow file in it.
    ValueError: unknown split or column, files that are not what they are named.
  """
  root = Path(path)
  files = _splits(root)
  files = files[known(f'split of {path}', split, files)]
  try:
    table = (_Arrow if files[0].suffix == '.arrow' else _Parquet)(files)
  except (pa.ArrowException, OSError) as error:
    raise ValueError(f'{files[0]} cannot be read: {error}') from error
  schema = table.schema
  features = json.loads((schema.metadata or {}).get(b'huggingface', b'{}')).get('info', {}).get('features', {})
  images = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index('bytes') >= 0]
  image = known(f'image column of {path}', image_column or next(iter(images), 'image'), images)
  if label_column is None:
    named = [k for k, f in features.items() if isinstance(f, dict) and f.get('_type') == 'ClassLabel']
    label = next((k for k in [*named, 'label'] if k in schema.names), None)
  else:
    label = known(f'label column of {path}', label_column, schema.names)
  labels = classes = None
  if label is not None:
    column = table.column(label)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
      names, labels = np.unique(np.asarray(column.to_pylist()), return_inverse=True)
      classes = tuple(map(str, names))
    else:
      labels = column.to_numpy()
      names = (features.get(label) or {}).get('names')
      classes = tuple(names or map(str, range(int(labels.max(initial=-1)) + 1)))
  return Encoded(Rows(table, image, None if labels is None else labels.astype(np.int32), root), f'{split} of {path}',
                 classes, size, channels)


def splits(path: str) -> list[str]:
  """Names of the splits below `path`; errors as `huggingface`."""
  return list(_splits(Path(path)))


def _splits(root: Path) -> dict[str, list[Path]]:
  if not root.is_dir():
    raise FileNotFoundError(f'no folder {root}')
  found = collections.defaultdict(list)
  for file in sorted(p for p in root.rglob('*') if p.suffix in ('.parquet', '.arrow')):
    stem = re.sub(r'-\d{5}-of-\d{5}.*$', '', file.stem)
    # save_to_disk and the Hub's converted sets name the split by the folder, files are called data-… or 0000
    named = stem != 'data' and not stem.isdigit()
    found[stem if named else file.parent.name].append(file)
  if not found:
    raise FileNotFoundError(f'no .parquet or .arrow file in {root}')
  return dict(found)


class Rows:
  """`data.encoded.Reader` over the image column of a table."""

  def __init__(self, table, image: str, labels: np.ndarray | None, root: Path):
    self.table, self.image, self._labels, self.root = table, image, labels, root

  def __len__(self):
    return len(self.table)

  def read(self, i):
    """Bytes of the image (of the file at 'path' where 'bytes' is null) and its label."""
    cell = self.table.cell(self.image, i)
    data = cell['bytes'] if cell['bytes'] is not None else (self.root / cell['path']).read_bytes()
    return data, None if self._labels is None else int(self._labels[i])

  def labels(self):
    """Labels i32[n], or None."""
    return self._labels

  def file(self, i):
    """File and row."""
    return self.table.place(i)


class _Parquet:
  """Cells of Parquet files; row groups are read when needed, the last used are kept."""

  def __init__(self, files: list[Path]):
    self.files = files
    self.metadata = [pq.read_metadata(f) for f in files]
    self.schema = pq.read_schema(files[0])
    self.groups = [(f, g) for f, m in enumerate(self.metadata) for g in range(m.num_row_groups)]
    self.ends = np.cumsum([self.metadata[f].row_group(g).num_rows for f, g in self.groups]).tolist()
    self._start_cache()

  def __getstate__(self):
    return {k: v for k, v in self.__dict__.items() if k not in ('_lock', '_cache')}

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._start_cache()

  def __len__(self):
    return self.ends[-1] if self.ends else 0

  def column(self, name):
    return pa.chunked_array([c for f in self.files for c in pq.read_table(f, columns=[name]).column(0).chunks])

  def cell(self, name, i):
    k = bisect.bisect_right(self.ends, i)
    with self._lock:
      column = self._cache.get(k)
      if column is not None:
        self._cache.move_to_end(k)
    if column is None:
      f, g = self.groups[k]
      column = pq.ParquetFile(self.files[f], metadata=self.metadata[f]).read_row_group(g, columns=[name]).column(0)
      with self._lock:
        self._cache[k] = column
        while len(self._cache) > 1 and sum(c.nbytes for c in self._cache.values()) > CACHE:
          self._cache.popitem(last=False)
    return column[i - (self.ends[k - 1] if k else 0)].as_py()

  def place(self, i):
    f, _ = self.groups[bisect.bisect_right(self.ends, i)]
    before = sum(m.num_rows for m in self.metadata[:f])
    return f'{self.files[f]}#{i - before}'

  def _start_cache(self):
    self._cache, self._lock = collections.OrderedDict(), threading.Lock()


class _Arrow:
  """Cells of Arrow stream files, mapped into memory."""

  def __init__(self, files: list[Path]):
    self.files = files
    self.table = pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(f))).read_all() for f in files])
    self.schema = self.table.schema

  def __getstate__(self):
    return {'files': self.files}

  def __setstate__(self, state):
    self.__init__(state['files'])

  def __len__(self):
    return self.table.num_rows

  def column(self, name):
    return self.table.column(name)

  def cell(self, name, i):
    return self.table.column(name)[i].as_py()

  def place(self, i):
    return f'{self.files[0].parent}#{i}'
