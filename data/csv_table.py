"""Cells of a CSV file: columns of numbers, columns of categories, perhaps one of labels."""
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.lines import utf8
from data.names import known

EXACT = 2 ** 53  # up to which float64 holds every whole number


class Cells(NamedTuple):
  """A table, column by column.

  Args:
    numbers: f64[n, a], finite.
    codes: i64[n, c]: of each cell the place among its column's values, sorted.
    sizes: how many values each of the columns of codes has.
    labels: the n cells of the column of labels, or None.
    number_names, code_names: names of the a and c columns.
    values: of each column of codes its values, sorted.
  """
  numbers: np.ndarray
  codes: np.ndarray
  sizes: tuple[int, ...]
  labels: list[str] | None
  number_names: tuple[str, ...]
  code_names: tuple[str, ...]
  values: tuple[tuple[str, ...], ...] = ()


def read_csv(path: str | Path, label: str | None = None, categories: Sequence[str] = ()) -> Cells:
  """Cells of a UTF-8 file with a header.

  A column all of whose cells are finite numbers is one of numbers, one without any number is one of categories.

  Args:
    path: the file; rows without any text at its end are left out.
    label: the column of labels, whatever it holds.
    categories: columns of categories, whatever they hold.
  Raises:
    FileNotFoundError: no such file.
    ValueError: no such column, no row, no column but the label; by line and column: a name that is empty or there
      twice, a row of another length than the header, an empty cell, nan, infinity, a column of both numbers and others;
      what is no CSV, no UTF-8.
  """
  lines, (header, *rows) = _rows(path)
  if isinstance(categories, str):
    raise ValueError(f'categories of {path}: wanted several names, got {categories!r}; write ({categories!r},)')
  for column, name in enumerate(header, 1):
    if not name.strip() or header.index(name) < column - 1:
      raise ValueError(f'{path}, line {lines[0]}: wanted another name for each column, got {name!r} for column {column}'
                       f'{"" if name.strip() else "; name it, or leave out the column"}')
  for line, row in zip(lines[1:], rows, strict=True):
    if len(row) != len(header):
      raise ValueError(f'{path}, line {line}: wanted {len(header)} cells as in the header, got {len(row)}')
  empty = [(line, name) for line, row in zip(lines[1:], rows, strict=True) if not all(map(str.strip, row))
           for name, cell in zip(header, row, strict=True) if not cell.strip()]
  if empty:
    raise ValueError(f'{path}, line {empty[0][0]}, column {empty[0][1]!r}: {len(empty)} of {len(rows) * len(header)} '
                     f'cells are empty, this is the first; fill them, or leave out their rows')
  if not rows:
    raise ValueError(f'{path}: wanted rows below the header, got 0 rows')
  columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
  labels = None if label is None else columns.pop(known(f'column of {path}', label, header))
  if not columns:
    raise ValueError(f'{path}: wanted a column beside that of the labels, {label!r}')
  if label is not None and label in categories:
    raise ValueError(f'{path}: the column {label!r} is the label, leave it out of categories={tuple(categories)}')
  chosen = {known(f'column of {path}', name, columns) for name in categories}
  numbers = {name: found for name, cells in columns.items()
             if name not in chosen and (found := _numbers(path, lines[1:], name, cells)) is not None}
  codes = {name: cells for name, cells in columns.items() if name not in numbers}
  places = [{value: place for place, value in enumerate(sorted(set(cells)))} for cells in codes.values()]
  coded = [[place[cell] for cell in cells] for place, cells in zip(places, codes.values(), strict=True)]
  return Cells(np.reshape(np.array(list(numbers.values()), np.float64), (len(numbers), len(rows))).T,
               np.reshape(np.array(coded, np.int64), (len(codes), len(rows))).T,
               tuple(map(len, places)), labels, tuple(numbers), tuple(codes), tuple(map(tuple, places)))


def _rows(path) -> tuple[list[int], list[list[str]]]:
  """The line on which each row begins, and its cells; the header first."""
  text = utf8(path)
  if '\0' in text:
    raise ValueError(f'{path}, line {text[:text.index("\0")].count("\n") + 1}: a NUL is no text; if the file is '
                     f'UTF-16, convert it: iconv -f UTF-16 -t UTF-8')
  reader, lines, rows = csv.reader(io.StringIO(text, newline=''), strict=True), [], []
  begin = 1
  try:
    for row in reader:
      lines.append(begin)
      rows.append(row)
      begin = reader.line_num + 1
  except csv.Error as error:
    raise ValueError(f'{path}, line {begin}: no row of CSV: {error}; a quote may be missing there') from error
  while rows and not any(cell.strip() for cell in rows[-1]):
    lines.pop()
    rows.pop()
  if not rows or not rows[0]:
    raise ValueError(f'{path}: wanted a header on the first line, got nothing')
  return lines, rows


def _numbers(path, lines: list[int], name: str, cells: list[str]) -> list[float] | None:
  """The column as finite numbers, or None where no cell is a number."""
  values = [_number(cell) for cell in cells]
  numbers = [value for value in values if value is not None]
  for place, (cell, value) in enumerate(zip(cells, values, strict=True)):
    if value is not None and abs(value) >= EXACT and cell.strip().lstrip('+-').isdigit() and (
        math.isinf(value) or abs(int(cell)) > EXACT):
      raise ValueError(f'{path}, line {lines[place]}, column {name!r}: {cell[:80]!r} is above 2**53, where float64 '
                       f'cannot tell whole numbers apart; subtract an offset, or take it as categories=({name!r},)')
  finite = sum(map(math.isfinite, numbers))
  if finite == len(cells):
    return numbers
  if not numbers:
    return None
  if finite < len(numbers):
    odd = next(place for place, value in enumerate(values) if value is not None and not math.isfinite(value))
  else:  # the rarer kind
    words = 2 * finite >= len(cells)
    odd = next(place for place, value in enumerate(values) if (value is None) == words)
  raise ValueError(f'{path}, line {lines[odd]}, column {name!r}: wanted a finite number in every cell or in none '
                   f'({finite} of {len(cells)} are), got {cells[odd][:80]!r}; mend the cell, or take the column as '
                   f'categories, whatever it holds: categories=({name!r},)')


def _number(cell: str) -> float | None:
  try:
    return None if '_' in cell else float(cell)
  except ValueError:
    return None
