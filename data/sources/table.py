"""Rows of a table: a CSV file, or one of scikit-learn's."""
import dataclasses
from pathlib import Path

import numpy as np

from data.classes import read_labels
from data.csv_table import Cells, read_csv
from data.names import known
from data.shuffle import permutation
from data.source import Arrays, Source

SETS = ('breast_cancer', 'digits', 'iris', 'wine')  # of scikit-learn, in the package


@dataclasses.dataclass(frozen=True, eq=False)
class Rows(Arrays):
  """`Arrays` of rows f32[n, f]: numbers first, of mean 0 and variance 1 over the training rows, then categories from 0.

  categories: how many values each of the columns of categories has.
  """
  categories: tuple[int, ...] = ()


def table(*, path: str, split: str, label: str | None = None, categories: tuple[str, ...] = ()) -> Source:
  """Rows of a CSV file with a header, or of scikit-learn's 'breast_cancer', 'digits', 'iris' or 'wine', all labeled.

  A column all of whose cells are numbers is one of numbers; one that has none is of categories, in sorted order. Four
  fifths of the rows, at random but always the same ones, are 'train'. Columns of numbers come first, each of mean 0 and
  variance 1 over 'train'. One model reads the splits of one table: another table has other columns, values or scales.

  Args:
    path: the file, UTF-8, or the name.
    split: 'train' or 'test'.
    label: the file's column of classes, or None.
    categories: columns that are of categories although there are numbers in them.
  Raises:
    FileNotFoundError: no such file.
    ValueError: another split, no row, rows of another length than the header, cells that are empty or no numbers beside
      others that are (named by line and column), no such column, numbers that float64 cannot tell apart.
  """
  known(f'split of {path}', split, ('train', 'test'))
  if path in SETS:
    if label is not None or categories:
      raise ValueError(f'{path}: label and categories are columns of CSV files; this table has its own')
    import sklearn.datasets
    found = vars(sklearn.datasets)[f'load_{path}']()
    cells = Cells(np.asarray(found.data, np.float64), np.empty((len(found.data), 0)), (), None,
                  tuple(map(str, found.feature_names)), ())
    y, classes = read_labels(found.target, path, tuple(map(str, found.target_names)))
  elif not Path(path).exists():
    raise FileNotFoundError(f'no file {path}; tables that need none: {", ".join(SETS)}')
  else:
    cells = read_csv(path, label, categories)
    y, classes = (None, None) if cells.labels is None else read_labels(cells.labels, f'{path}: {label}')
  order = permutation(len(cells.numbers), 0)
  train = np.sort(order[:len(order) * 4 // 5])
  chosen = train if split == 'train' else np.sort(order[len(order) * 4 // 5:])
  if not len(chosen):
    raise ValueError(f'{path}: {len(order)} rows leave none for {split!r}')
  numbers, mean, std = standardized(cells.numbers, train)
  values = np.concatenate([numbers, cells.codes], 1).astype(np.float32)
  if len(odd := np.flatnonzero(~np.isfinite(values).all(0))):
    raise ValueError(f'{path}: the column {cells.number_names[odd[0]]!r} has rows so far from the training rows that '
                     'float32 cannot hold them')
  encoding = dict(columns=[*cells.number_names, *cells.code_names], categories=list(cells.values), mean=mean.tolist(),
                  std=std.tolist())
  rows = Rows({'row': values}, path, encoding=encoding, categories=cells.sizes)
  return Source(rows, f'{split} of {path}', {} if y is None else {'label': y}, classes, rows=chosen)


def standardized(numbers: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Columns f64[n, f] of mean 0 and variance 1 over the rows `train`, and mean and standard deviation f64[f].

  A column whose numbers differ by rounding alone stays as it is but for its mean.
  """
  scale = np.abs(numbers[train]).max(0, initial=0)
  scale = np.where(scale > 0, scale, 1)  # so that no square is too large or too small
  mean, std = (numbers[train] / scale).mean(0), (numbers[train] / scale).std(0)
  std = np.where(std > 1e-12, std, 1)
  return (numbers / scale - mean) / std, mean * scale, std * scale
