"""A table's spec, its cells, and what their run directories say: nothing else is kept of a table."""
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pretrain import config as configs
from pretrain.config import ConfigError, fits, nearest
from pretrain.files import Broken, read_json
from pretrain.machine.metrics import read_events, read_metrics
from pretrain.machine.rundir import begun, finished, running
from pretrain.programs.stages import lasting
from pretrain.train import fingerprint

DONE, FAILED, RUNNING, STOPPED = 'done', 'failed', 'running', 'stopped'
DAMAGED, MISSING, OTHER = 'damaged', 'missing', 'another config'


class Spec(NamedTuple):
  """What `get_table()` of a spec's file returns, as a dict.

  title, differs: what the table is, and how its setting differs from the paper's.
  rows:      {name: {'config': file, 'overrides': {key: value}, 'command': 'train' or 'program', 'prefix': 'train.' or
             what stands before the keys of shared, columns and seeds in this row's config, or several of them,
             'metrics': its own paths}}.
  metrics:   {name: path in result.json}, such as 'evaluation/pretrained backbone/knn', or in that of a program's stage:
             'student:evaluation/pretrained backbone/knn'; shares are shown in percent.
  columns:   {name: {key: value}}, overrides; one without a name when absent.
  seeds:     of each cell.
  seed_keys: keys of the config that the seed is written to.
  shared:    overrides of all cells.
  paper:     {row: {column: {metric: number}}}; `source` says where from, `tolerance` how far off is no deviation.
  """
  title: str
  differs: str
  rows: dict
  metrics: dict
  columns: dict = {'': {}}  # noqa: RUF012
  seeds: tuple[int, ...] = (0, 1, 2)
  seed_keys: tuple[str, ...] = ('seed',)
  shared: dict = {}  # noqa: RUF012
  paper: dict = {}  # noqa: RUF012
  source: str = ''
  tolerance: float | None = None


ROW = {'config', 'overrides', 'command', 'prefix', 'metrics'}


class Cell(NamedTuple):
  """One run of a table."""
  row: str
  column: str
  seed: int
  argv: tuple[str, ...]  # after `python`
  workdir: Path
  config: dict
  metrics: dict[str, str]


def read(path: str, runs: Path, python: str = sys.executable, overrides: tuple[str, ...] = (),
         only: tuple[str, ...] = ()) -> tuple[Spec, list[Cell]]:
  """A spec and its cells.

  Raises:
    ConfigError: the file is no spec; a config that does not exist; a key that no spec has; two cells that are the same
      run; a paper's number for a cell or metric that is not there; no seeds, no rows.
  """
  if not callable(get_table := configs.from_file(path).get('get_table')):
    raise ConfigError(f'{path}: a table needs get_table()')
  given = configs.attempt(path, get_table)
  for key in given:
    if key not in Spec._fields:
      raise ConfigError(f'{path}: no {key!r} in a table{nearest(key, Spec._fields)}')
  if lacking := {'title', 'differs', 'rows', 'metrics'} - given.keys():
    raise ConfigError(f'{path}: a table needs {", ".join(sorted(lacking))}')
  spec = Spec(**given)
  for key in ('rows', 'metrics', 'columns', 'seeds'):
    if not getattr(spec, key):
      raise ConfigError(f'{path}: {key} is empty')
  for name in only:
    if name not in spec.rows:
      raise ConfigError(f'--only: no row {name!r}{nearest(name, spec.rows)}')
  for row, columns in spec.paper.items():
    for column, numbers in columns.items():
      for word, known in ((row, spec.rows), (column, spec.columns), *((metric, spec.metrics) for metric in numbers)):
        if word not in known:
          raise ConfigError(f'{path}: paper has a number for {word!r}, which the table has not'
                            f'{nearest(word, known)}')
  cells = [cell_of(spec, row, column, seed, runs, python, overrides)
           for row in (only or spec.rows) for column in spec.columns for seed in spec.seeds]
  seen: dict[Any, Cell] = {}
  for cell in cells:
    for same in (str(cell.workdir), fingerprint(cell.config)):
      if same in seen:
        twin = seen[same]
        raise ConfigError(f'{path}: {twin.row} {twin.column} seed {twin.seed} and {cell.row} {cell.column} seed '
                          f'{cell.seed} are one cell: {"the same directory" if "/" in same else "the same config"}')
      seen[same] = cell
  return spec, cells


def cell_of(spec: Spec, row: str, column: str, seed: int, runs: Path, python: str, overrides: tuple[str, ...]) -> Cell:
  about = spec.rows[row]
  if 'config' not in about or about.keys() - ROW or about.get('metrics', {}).keys() - spec.metrics.keys():
    raise ConfigError(f'row {row!r}: wanted config, and perhaps some of {sorted(ROW - {"config"})}; got {about}')
  prefixes = about.get('prefix', '')
  prefixes = (prefixes,) if isinstance(prefixes, str) else prefixes
  prefixed = lambda values: {prefix + key: value for prefix in prefixes for key, value in values.items()}
  merged = prefixed(spec.shared) | about.get('overrides', {}) | \
      prefixed(spec.columns[column] | dict.fromkeys(spec.seed_keys, seed))
  keys = [f'{key}={value!r}' for key, value in merged.items()] + list(overrides)
  workdir = runs.joinpath(*(slug(name) for name in (row, column) if name), f'seed{seed}')
  argv = (python, '-m', 'pretrain', about.get('command', 'train'), f'--config={about["config"]}',
          f'--workdir={workdir}', '--quiet', *(f'--config.{key}' for key in keys))
  config = configs.load(about['config'], keys)
  return Cell(row, column, seed, argv, workdir, lasting(config) if 'program' in config else config,
              spec.metrics | about.get('metrics', {}))


def slug(name: str) -> str:
  return re.sub(r'[^a-z0-9.]+', '_', name.lower()).strip('_')


def state(cell: Cell) -> tuple[str, str]:
  """DONE, FAILED, ... of a cell, and a word about it: its step, or why it failed."""
  if not cell.workdir.is_dir():
    return MISSING, ''
  try:
    config, about = begun(cell.workdir)
  except ConfigError as error:  # of a later version
    return OTHER, str(error)
  if config is None:
    return (DAMAGED, about) if about else (MISSING, '')
  mine, theirs = fingerprint(cell.config), fingerprint(config)
  if mine != theirs:
    return OTHER, f'{theirs}, wanted {mine}'
  over, about = finished(cell.workdir)
  if over or about:
    return (DAMAGED, about) if about else (DONE, '')
  rows = read_metrics(cell.workdir)
  step = f'step {rows[-1]["step"]}' if rows else 'starting'
  if running(cell.workdir):
    return RUNNING, step
  last = (read_events(cell.workdir) or [{}])[-1]
  if last.get('event') == 'error' or 'not finite' in str(last.get('reason')):
    return FAILED, str(last.get('reason'))
  return STOPPED, step


def made_with(cell: Cell) -> dict[str, str]:
  """What a cell that is done was made with; see `pretrain.machine.rundir.made`."""
  made = read_json(cell.workdir / 'result.json').get('made')
  return {key: str(word) for key, word in made.items()} if isinstance(made, dict) else {}


def value(cell: Cell, name: str) -> float:
  """A metric of a cell that is done.

  Raises:
    ConfigError: its result has no such number; names those that it has.
  """
  stage, _, path = cell.metrics[name].rpartition(':')
  try:
    node: Any = read_json(cell.workdir / stage / 'result.json')
  except Broken as error:
    raise ConfigError(f'metric {name!r}: {error}') from error
  for part in path.split('/'):
    if isinstance(node, list):
      rows = [(n, row) for n, row in enumerate(node) if isinstance(row, dict)]
      node = {str(row.get('features', row.get('stage', n))): row for n, row in rows}
    if not isinstance(node, dict) or part not in node:
      known = sorted(node) if isinstance(node, dict) else []
      raise ConfigError(f'metric {name!r}: no {part!r} of {path!r} in {cell.workdir / stage}/result.json'
                        f'{nearest(part, known)}')
    node = node[part]
  if not fits(node, float):
    raise ConfigError(f'metric {name!r}: {path!r} is no number in {cell.workdir / stage}/result.json')
  return 100. * node if path.startswith(('evaluation/', 'stages/')) else float(node)


def values(cells: list[Cell], metric: str) -> list[float | None]:
  """A metric of cells that are done; None where a cell has no such number.

  Raises:
    ConfigError: none of them has; says what the first one has.
  """
  found: list[float | None] = []
  errors = []
  for cell in cells:
    try:
      found.append(value(cell, metric))
    except ConfigError as error:
      found.append(None)
      errors.append(error)
  if errors and len(errors) == len(cells):
    raise errors[0]
  return found


def refuse_others(cells: list[Cell], states: list[tuple[str, str]]) -> None:
  others = [f'{cell.workdir} ({about})' for cell, (word, about) in zip(cells, states, strict=True) if word == OTHER]
  if others:
    raise ConfigError(f'{len(others)} run directories belong to another config than the table asks for, and are not '
                      f'mixed with it: {"; ".join(others[:5])}. Choose another --runs, or remove them')


def counts(states: list[tuple[str, str]]) -> str:
  found = Counter(word for word, _ in states)
  return ', '.join(f'{found[word]} {word}' for word in (DONE, RUNNING, STOPPED, FAILED, DAMAGED, MISSING, OTHER)
                   if found[word])
