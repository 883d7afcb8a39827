"""Rows of a table: a CSV file, or one of scikit-learn's."""
import csv
import dataclasses
from pathlib import Path

import numpy as np

from data.names import known
from data.shuffle import permutation

SETS = ('breast_cancer', 'digits', 'iris', 'wine')  # of scikit-learn, in the package


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
  """A source of rows in memory; a batch is one gather. There are no images.

  Args:
    values: f32[n, f]; numbers first, of mean 0 and variance 1 over the training rows, then categories from 0.
    label: i32[n], or None.
    classes: names of the classes, or None.
    categories: how many values each of the columns of categories has.
    origin: words for messages.
    rows: i64[k] which of the rows, in order; None: all.
  """
  values: np.ndarray
  label: np.ndarray | None
  classes: tuple[str, ...] | None
  categories: tuple[int, ...]
  origin: str
  rows: np.ndarray | None = None

  def __len__(self):
    return len(self.values) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} rows, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @property
  def shape(self) -> tuple[int]:
    """(f,), the number of columns."""
    return self.values.shape[1:]

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    return self.label if self.label is None or self.rows is None else self.label[self.rows]

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'row': f32[b, f], 'label': i32[b], 'index': i32[b]}."""
    rows = np.asarray(indices) if self.rows is None else self.rows[indices]
    batch = {'row': self.values[rows], 'index': rows.astype(np.int32)}
    return batch if self.label is None else batch | {'label': self.label[rows]}

  def take(self, indices: np.ndarray) -> 'Rows':
    """The source of these positions; `index` stays the row of the whole table."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Rows':
    """The source without labels and classes."""
    return dataclasses.replace(self, label=None, classes=None)


def table(*, path: str, split: str, label: str | None = None) -> Rows:
  """Rows of a CSV file with a header, or of scikit-learn's 'breast_cancer', 'digits', 'iris' or 'wine', all labeled.

  A column all of whose cells are numbers is one of numbers; others are categories, in sorted order. Four fifths of the
  rows, at random but always the same ones, are 'train'. Columns of numbers come first, each of mean 0 and variance 1
  over 'train'.

  Args:
    path: the file, or the name.
    split: 'train' or 'test'.
    label: the file's column of classes, or None.
  Raises:
    FileNotFoundError: no such file.
    ValueError: another split, no row, rows of another length than the header, empty cells (counted), no such column.
  """
  known(f'split of {path}', split, ('train', 'test'))
  if path in SETS:
    import sklearn.datasets
    found = getattr(sklearn.datasets, f'load_{path}')()
    numbers, coded, sizes = np.asarray(found.data, np.float64), np.empty((len(found.data), 0)), ()
    y, classes = found.target.astype(np.int32), tuple(map(str, found.target_names))
  else:
    numbers, coded, sizes, y, classes = _read(Path(path), label)
  order = permutation(len(numbers), 0)
  train = np.sort(order[:len(order) * 4 // 5])
  chosen = train if split == 'train' else np.sort(order[len(order) * 4 // 5:])
  mean, std = numbers[train].mean(0), numbers[train].std(0)
  values = np.concatenate([(numbers - mean) / np.where(std > 0, std, 1), coded], 1).astype(np.float32)
  return Rows(values, y, classes, sizes, f'{split} of {path}', chosen)


def _read(file: Path, label: str | None):
  if not file.is_file():
    raise FileNotFoundError(f'no file {file}; tables that need none: {", ".join(SETS)}')
  with open(file, encoding='utf-8', newline='') as lines:
    header, *cells = csv.reader(lines)
  if not cells or any(len(row) != len(header) for row in cells):
    raise ValueError(f'{file}: wanted rows of {len(header)} cells below the header, got {len(cells)} rows of '
                     f'{sorted({len(row) for row in cells})}')
  if empty := sum(not cell.strip() for row in cells for cell in row):
    raise ValueError(f'{file}: {empty} of {len(cells) * len(header)} cells are empty; fill or leave them out')
  columns = dict(zip(header, zip(*cells, strict=True), strict=True))
  y = classes = None
  if label is not None:
    classes, y = np.unique(columns.pop(known(f'column of {file}', label, header)), return_inverse=True)
    y, classes = y.astype(np.int32), tuple(map(str, classes))
  numbers, coded, sizes = [], [], []
  for values in columns.values():
    try:
      numbers.append([float(value) for value in values])
    except ValueError:
      names, codes = np.unique(values, return_inverse=True)
      coded.append(codes)
      sizes.append(len(names))
  n = len(cells)
  return (np.reshape(numbers, (len(numbers), n)).T, np.reshape(coded, (len(coded), n)).T, tuple(sizes), y, classes)
