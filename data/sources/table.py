"""Rows of a table: a CSV file, or one of scikit-learn's."""
import dataclasses
from pathlib import Path

import numpy as np

from data.classes import read_labels
from data.csv_table import read_csv
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
  variance 1 over 'train'.

  Args:
    path: the file, UTF-8, or the name.
    split: 'train' or 'test'.
    label: the file's column of classes, or None.
    categories: columns that are of categories although there are numbers in them.
  Raises:
    FileNotFoundError: no such file.
    ValueError: another split, no row, rows of another length than the header, cells that are empty or no numbers beside
      others that are (named by line and column), no such column.
  """
  known(f'split of {path}', split, ('train', 'test'))
  if path in SETS:
    if label is not None or categories:
      raise ValueError(f'{path}: label and categories are columns of CSV files; this table has its own')
    import sklearn.datasets
    found = vars(sklearn.datasets)[f'load_{path}']()
    numbers, coded, sizes = np.asarray(found.data, np.float64), np.empty((len(found.data), 0)), ()
    y, classes = read_labels(found.target, path, tuple(map(str, found.target_names)))
  elif not Path(path).exists():
    raise FileNotFoundError(f'no file {path}; tables that need none: {", ".join(SETS)}')
  else:
    numbers, coded, sizes, words, *_ = read_csv(path, label, categories)
    y, classes = (None, None) if words is None else read_labels(words, f'{path}: {label}')
  order = permutation(len(numbers), 0)
  train = np.sort(order[:len(order) * 4 // 5])
  chosen = train if split == 'train' else np.sort(order[len(order) * 4 // 5:])
  if not len(chosen):
    raise ValueError(f'{path}: {len(numbers)} rows leave none for {split!r}')
  mean, std = numbers[train].mean(0), numbers[train].std(0)
  values = np.concatenate([(numbers - mean) / np.where(std > 0, std, 1), coded], 1).astype(np.float32)
  return Source(Rows({'row': values}, path, categories=sizes), f'{split} of {path}', {} if y is None else {'label': y},
                classes, rows=chosen)
