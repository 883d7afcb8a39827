"""What a paper claims, held against the tables of `docs/tables`.

A file of configs states it; `than` changes what of row, column and metric is another's in the comparison:

  TABLE = dict(table='labels_fashion_mnist', row='FlexMatch', column='4', metric='accuracy',
               than=dict(row='FixMatch'), claim='Thresholds per class are better than one for all.')

`lower=True` says that lower values are better; a table without columns needs no `column`.
"""
import csv
import functools
import statistics
from typing import Any, NamedTuple

from pretrain.catalog.facts import ROOT
from pretrain.config import ConfigError, nearest

HELD, NOT_SHOWN, DID_NOT_HOLD = 'held', 'not shown', 'did not hold'
CELL = ('row', 'column', 'metric')
KEYS = {'table', 'row', 'metric', 'than', 'claim'}


class Verdict(NamedTuple):
  """word: of the claim. ours, other: values by seed. low, high: 95 % interval of the mean difference, ours - other."""
  word: str
  ours: dict[str, float]
  other: dict[str, float]
  low: float
  high: float


def verdict(table: dict, file: str) -> Verdict:
  """HELD if the 95 % t interval of the difference lies on the claimed side, DID_NOT_HOLD if on the other side.

  The difference is paired by seed where both have the same seeds; Welch's where not; NOT_SHOWN with one seed.

  Args:
    table: TABLE of a file of configs.
    file: its name, for errors.
  Raises:
    ConfigError: keys, a table, or a cell of it that there are not.
  """
  if not isinstance(table, dict) or not KEYS <= table.keys() <= KEYS | {'column', 'lower'}:
    raise ConfigError(f'{file}: TABLE: wanted a dict of {sorted(KEYS)} and perhaps column, lower, got {table!r}')
  if not isinstance(table['than'], dict) or not set() < table['than'].keys() <= set(CELL):
    raise ConfigError(f"{file}: TABLE['than']: wanted what of {list(CELL)} is the other's, got {table['than']!r}")
  ours = values(table, file)
  other = values(table | table['than'], file)
  low, high = interval(ours, other)
  better, worse = (high < 0, low > 0) if table.get('lower') else (low > 0, high < 0)
  return Verdict(HELD if better else DID_NOT_HOLD if worse else NOT_SHOWN, ours, other, low, high)


def values(table: dict, file: str) -> dict[str, float]:
  """{seed: value} of a cell."""
  cells = read(table['table'], file)
  cell = tuple(table.get(key, '') for key in CELL)
  if cell not in cells:
    close = nearest(' | '.join(map(str, cell)), map(' | '.join, cells))
    raise ConfigError(f'{file}: TABLE: no row, column and metric {cell} in docs/tables/{table["table"]}.csv{close}')
  return cells[cell]


@functools.cache
def read(name: str, file: str) -> dict[tuple[str, ...], dict[str, float]]:
  """{(row, column, metric): {seed: value}} of docs/tables/NAME.csv."""
  path = ROOT / f'docs/tables/{name}.csv'
  if not path.is_file():
    tables = [each.stem for each in path.parent.glob('*.csv')]
    raise ConfigError(f'{file}: TABLE: no table {name!r}{nearest(name, tables)}')
  cells: dict[tuple[str, ...], dict[str, float]] = {}
  with path.open(newline='') as lines:
    for line in csv.DictReader(lines):
      if line['value']:
        cells.setdefault(tuple(line[key] for key in CELL), {})[line['seed']] = float(line['value'])
  return cells


def interval(ours: dict[Any, float], other: dict[Any, float]) -> tuple[float, float]:
  """The 95 % t interval of mean(ours) - mean(other); infinite with one value."""
  if min(len(ours), len(other)) < 2:
    return -float('inf'), float('inf')
  if ours.keys() == other.keys():
    differences = [ours[seed] - other[seed] for seed in ours]
    mean, error, freedom = statistics.fmean(differences), statistics.variance(differences) / len(ours), len(ours) - 1
  else:
    first, second = (statistics.variance(each.values()) / len(each) for each in (ours, other))
    mean, error = statistics.fmean(ours.values()) - statistics.fmean(other.values()), first + second
    freedom = error ** 2 / (first ** 2 / (len(ours) - 1) + second ** 2 / (len(other) - 1)) if error else 1
  from scipy.special import stdtrit  # half a second, which `list` does not need
  half = float(stdtrit(freedom, 0.975)) * error ** 0.5
  return mean - half, mean + half
