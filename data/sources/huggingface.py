"""Hugging Face image data sets: Parquet files, or folders of save_to_disk, read with pyarrow alone."""
import bisect
import collections
import json
import re
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from data.classes import read_labels, renumbered, shown
from data.encoded import Encoded, digest
from data.files import check_once, check_whole, contents, ends, inside
from data.names import known
from data.source import Source
from data.sources.folder import options
from pretrain.config import Count

CACHE = 4 << 30   # bytes of row groups kept in memory by each process
LOOKED = 64 << 20  # bytes of a set whose rows are looked at for its identity; the footers of a larger one have to do
STREAM_END = b'\xff\xff\xff\xff\0\0\0\0'  # of an Arrow stream


def huggingface(*, path: str, split: str, size: Count | None, channels: Literal[1, 3] = 3,
                image_column: str | None = None, label_column: str | None = None,
                classes: tuple[str, ...] | None = None, decoding: dict | None = None) -> Source:
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
    label_column: as `data.classes.read_labels` reads it; None: the first ClassLabel column, else 'label', else none.
    classes: names of the classes; None: those of the files, which meet by name where they differ in their order.
    decoding: `data.encoded.Decoding`.
  Raises:
    FileNotFoundError: no such folder, no Parquet or Arrow file in it.
    ValueError: unknown split or column, files that are not what they are named, that are missing or there twice, labels
      that are none.
  """
  root = Path(path)
  files = _splits(root)
  files = files[known(f'split of {path}', split, files)]
  check_groups(files, f'split {split} of {path}', root)
  table = (_Arrow if files[0].suffix == '.arrow' else _Parquet)(files)
  schema = table.schemas[0]
  of_features = [features(schema, file) for schema, file in zip(table.schemas, files, strict=True)]
  images = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index('bytes') >= 0]
  image = known(f'image column of {path}', image_column or next(iter(images), 'image'), images)
  if label_column is None:
    named = [k for k, f in of_features[0].items() if isinstance(f, dict) and f.get('_type') == 'ClassLabel']
    label = next((k for k in [*named, 'label'] if k in schema.names), None)
  else:
    label = known(f'label column of {path}', label_column, schema.names)
  for file, other in zip(files, table.schemas, strict=True):
    if lacking := [name for name in (image, label) if name and name not in other.names]:
      raise ValueError(f'{file} has no column {lacking[0]!r}, which {files[0]} has; files of two sets?')
  examples = Encoded(Rows(table, image, root), size, channels, options(decoding))
  if label is None:
    return Source(examples, f'{split} of {path}')
  numbers, names = labels_of(table, files, label, of_features, classes)
  return Source(examples, f'{split} of {path}', {'label': numbers}, names)


def labels_of(table, files: list[Path], column: str, of_features: list[dict], classes) -> tuple[np.ndarray, tuple]:
  """Labels of all files in the numbers of one list of classes; files meet by name."""
  parts = []
  for k, file in enumerate(files):
    feature = of_features[k].get(column)
    names = classes or (feature.get('names') if isinstance(feature, dict) else None)
    values = table.column(k, column)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    words = names is not None or not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))
    parts.append((file, words, names is not None, *read_labels(values, f'{file}: {column}', names)))
  if odd := [file for file, words, *_ in parts if words != parts[0][1]]:
    raise ValueError(f'{odd[0]}: {column} has {"numbers" if parts[0][1] else "names"}, that of {parts[0][0]} '
                     f'{"names" if parts[0][1] else "numbers"}; give classes=(...)')
  if parts[0][2]:  # ClassLabel: the first file's names in their order
    union = parts[0][4]
    for file, _, _, _, names in parts:
      if set(names) != set(union):
        raise ValueError(f'{file}: the classes of {column} are {shown(names)}, those of {parts[0][0]} {shown(union)}; '
                         'give classes=(...)')
  else:
    union = tuple(sorted({name for part in parts for name in part[4]}, key=lambda n: (n if parts[0][1] else int(n))))
    union = union if parts[0][1] else tuple(map(str, range(len(max((part[4] for part in parts), key=len)))))
  return np.concatenate([renumbered(label, names, union) for *_, label, names in parts]), union


def features(schema, file: Path) -> dict:
  """What `datasets` says of the columns in the metadata of a file."""
  try:
    found = json.loads((schema.metadata or {}).get(b'huggingface', b'{}'))
    found = (found.get('info') or {}).get('features') or {}
    for feature in found.values():
      names = feature.get('names') if isinstance(feature, dict) else None
      if not (names is None or isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f'names of classes that are none: {str(names)[:80]}')
    return found
  except (ValueError, AttributeError, RecursionError) as error:
    raise ValueError(f'{file}: its metadata of `datasets` cannot be read: {error}') from error


def splits(path: str) -> list[str]:
  """Names of the splits below `path`; errors as `huggingface`."""
  return list(_splits(Path(path)))


def _splits(root: Path) -> dict[str, list[Path]]:
  if not root.is_dir():
    raise FileNotFoundError(f'no folder {root}')
  found = collections.defaultdict(list)
  for file in sorted(p for p in root.rglob('*') if p.suffix in ('.parquet', '.arrow') and p.is_file()):
    if any(part.startswith('.') for part in file.relative_to(root).parts):
      continue
    stem = re.sub(r'-\d{5}-of-\d{5}.*$', '', file.stem)
    # save_to_disk and the Hub's converted sets name the split by the folder, files are called data-… or 0000
    named = stem != 'data' and not stem.isdigit()
    found[stem if named else file.parent.name].append(file)
  if not found:
    raise FileNotFoundError(f'no .parquet or .arrow file in {root}')
  return dict(found)


def check_groups(files: list[Path], what: str, root: Path) -> None:
  """Raises ValueError where a split is not whole, or there twice: in two folders or under two names."""
  number = re.compile(r'\d+(-of-\d+)(-[0-9a-f]{8,})?(?=\.)|\d+')  # some names of shards end in a fingerprint
  groups = sorted({(str(file.parent.relative_to(root)), number.sub(r'0\1', file.name)) for file in files})
  if len(groups) > 1:
    shown = ' and '.join(f'{"" if folder == "." else f"{folder}/"}{name}' for folder, name in groups)
    raise ValueError(f'{what} is there {len(groups)} times, as {shown}: its examples would come several times, or are '
                     'of several sets; give the path of one of them')
  check_whole(files, what)
  check_once([ends(file) for file in files], what, lambda place: str(files[place]))
  numbers = [int(file.stem) for file in files if file.stem.isdigit()]
  if missing := set(range(max(numbers, default=-1) + 1)) - set(numbers):
    raise ValueError(f'{what} is not whole: {min(missing):04d}{files[0].suffix} is missing; copy it again')


class Rows:
  """`data.encoded.Reader` over the image column of a table."""

  def __init__(self, table, image: str, root: Path):
    self.table, self.image, self.root = table, image, root

  def __len__(self):
    return len(self.table)

  def read(self, i):
    """Bytes of the image (of the file at 'path' where 'bytes' is null)."""
    cell = self.table.cell(self.image, i)
    if cell and cell['bytes'] is not None:
      return cell['bytes']
    if not cell or not cell.get('path'):
      raise ValueError('no image: neither bytes nor a path')
    return contents(inside(self.root, cell['path']))

  def file(self, i):
    """File and row."""
    return self.table.place(i)

  def names(self):
    return None

  def digest(self, i):
    return None if self.table.size > LOOKED else digest(self.read(i))

  def whole(self):
    return self.table.whole()


class _Parquet:
  """Cells of Parquet files; row groups are read when needed, the last used are kept."""

  def __init__(self, files: list[Path]):
    self.files, self.metadata, self.schemas = files, [], []
    for file in files:
      try:
        self.metadata.append(pq.read_metadata(file))
        self.schemas.append(self.metadata[-1].schema.to_arrow_schema())
      except (pa.ArrowException, OSError) as error:
        raise ValueError(f'{file} cannot be read: {error}; wanted a whole Parquet file') from error
    self.groups = [(f, g) for f, m in enumerate(self.metadata) for g in range(m.num_row_groups)]
    self.ends = np.cumsum([self.metadata[f].row_group(g).num_rows for f, g in self.groups]).tolist()
    self.size = sum(self.metadata[f].row_group(g).total_byte_size for f, g in self.groups)
    self._start_cache()

  def __getstate__(self):
    return {k: v for k, v in self.__dict__.items() if k not in ('_lock', '_cache')}

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._start_cache()

  def __len__(self):
    return self.ends[-1] if self.ends else 0

  def column(self, file: int, name: str):
    try:
      return pq.ParquetFile(self.files[file], metadata=self.metadata[file]).read(columns=[name]).column(0)
    except (pa.ArrowException, OSError) as error:
      raise ValueError(f'{self.files[file]}: the column {name!r} cannot be read: {error}') from error

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

  def whole(self) -> bytes:
    """Rows and sizes of all columns of all row groups, without the files' names."""
    return repr([[(group.column(c).path_in_schema, group.column(c).total_compressed_size, group.num_rows)
                  for c in range(group.num_columns)] for f, g in self.groups
                 for group in [self.metadata[f].row_group(g)]]).encode()

  def _start_cache(self):
    self._cache, self._lock = collections.OrderedDict(), threading.Lock()


class _Arrow:
  """Cells of Arrow stream files, mapped into memory."""

  def __init__(self, files: list[Path]):
    self.files, self.tables = files, []
    for file in files:
      try:
        with file.open('rb') as f:
          f.seek(max(0, file.stat().st_size - len(STREAM_END)))
          if f.read() != STREAM_END:
            raise ValueError('it ends early; copy it again')
        with pa.memory_map(str(file)) as stream:
          self.tables.append(pa.ipc.open_stream(stream).read_all())
          if stream.tell() != stream.size():
            raise ValueError(f'what follows byte {stream.tell()} is not read: the file is damaged, or there is another '
                             'one behind it')
      except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f'{file} cannot be read: {error}') from error
    self.schemas = [table.schema for table in self.tables]
    self.ends = np.cumsum([table.num_rows for table in self.tables]).tolist()
    self.size = 0  # nothing of it has to be read for one row

  def __getstate__(self):
    return {'files': self.files}

  def __setstate__(self, state):
    self.__init__(state['files'])

  def __len__(self):
    return self.ends[-1]

  def column(self, file: int, name: str) -> Any:
    return self.tables[file].column(name)

  def cell(self, name, i):
    k = bisect.bisect_right(self.ends, i)
    return self.tables[k].column(name)[i - (self.ends[k - 1] if k else 0)].as_py()

  def place(self, i):
    k = bisect.bisect_right(self.ends, i)
    return f'{self.files[k]}#{i - (self.ends[k - 1] if k else 0)}'

  def whole(self) -> bytes:
    return repr([(table.num_rows, table.nbytes) for table in self.tables]).encode()
