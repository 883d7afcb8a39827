"""Labels and classes: one reader of labels, and sets that meet by the names of their classes."""
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

MOST = 1 << 22  # classes without names
PERHAPS = 'null or -1 where none is known'


def read_labels(values, where: str, names: Sequence[str] | None = None, place: Callable[[int], str] = 'row {}'.format
                ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Labels of whatever type as numbers of classes.

    read_labels(['b', None, 'a'], 'label')              # [1, -1, 0], ('a', 'b')
    read_labels([2., 0.], 'label')                      # [2, 0], ('0', '1', '2')
    read_labels([1, 0], 'label', names=('cat', 'dog'))  # [1, 0], ('cat', 'dog')

  Args:
    values: list, NumPy array, or Arrow array of strings (perhaps as a dictionary), whole numbers (also as floats),
      booleans; null, NaN and the number -1 mean that no label is known.
    where: file and column, for messages.
    names: of the classes; strings are among them, numbers count them. None: the strings themselves, sorted; the numbers
      from 0 to the highest.
    place: what a row is called, counted from 0, for messages.
  Returns:
    i32[n], -1 where none is known, and the names.
  Raises:
    ValueError: of another type or shape, several of an example, a number with a fraction, below -1 or beyond the
      classes, a string that is no class; names the first row.
  """
  if names is not None:
    check_names(names, where)
  column = _arrow(values, where, place)
  kind = column.type
  if pa.types.is_dictionary(kind):
    column = column.cast(kind.value_type)
    kind = column.type
  if pa.types.is_null(kind):
    return np.full(len(column), -1, np.int32), tuple(names or ())
  if pa.types.is_boolean(kind):
    column = pa.array([None if x is None else str(x) for x in column.to_pylist()] if names is None else
                      column.cast(pa.int8()))
    kind = column.type
  if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
    found = column.to_pylist()
    classes = tuple(map(str, names)) if names is not None else tuple(sorted({x for x in found if x is not None}))
    number = {None: -1, **{name: k for k, name in enumerate(classes)}}
    if wrong := [row for row, x in enumerate(found) if x not in number]:
      raise ValueError(f'{where}, {place(wrong[0])}: {found[wrong[0]]!r} is none of the classes {shown(classes)}'
                       + (f', and {len(wrong) - 1} more are none' if len(wrong) > 1 else ''))
    return np.array([number[x] for x in found], np.int32), classes
  if pa.types.is_integer(kind) or pa.types.is_floating(kind):
    return _numbers(column, where, names, place)
  what = 'several labels an example' if pa.types.is_nested(kind) else f'labels of type {kind}'
  row = next((row for row, value in enumerate(column) if value.is_valid), 0)
  raise ValueError(f'{where}, {place(row)}: wanted one label an example, a string or a whole number ({PERHAPS}); got '
                   f'{what}, such as {column[row].as_py()!r}')


def _arrow(values, where: str, place: Callable[[int], str]) -> Any:
  if isinstance(values, pa.ChunkedArray):
    return values.unify_dictionaries().combine_chunks() if len(values.chunks) != 1 else values.chunk(0)
  if isinstance(values, pa.Array):
    return values
  if isinstance(values, np.ndarray):
    if values.ndim != 1:
      raise ValueError(f'{where}: wanted one label an example, [n], got the shape {values.shape}')
    if values.dtype.kind == 'S':
      values = np.char.decode(values)
    values = values.tolist() if values.dtype.kind in 'UO' else values.astype(values.dtype.newbyteorder('='))
  if isinstance(values, list | tuple):
    kinds = [type(value).__name__ for value in values]
    first = next((row for row, kind in enumerate(kinds) if kind != 'NoneType'), 0)
    for row, kind in enumerate(kinds):
      if kind not in ('NoneType', kinds[first]) and {kind, kinds[first]} != {'int', 'float'}:
        raise ValueError(f'{where}, {place(row)}: wanted labels of one kind, strings or whole numbers; got '
                         f'{values[row]!r} ({kind}) behind {values[first]!r} ({kinds[first]})')
      if kind == 'int' and abs(values[row]) >= 2 ** 63:
        raise ValueError(f'{where}, {place(row)}: {values[row]!r} is no label; wanted a whole number from 0 to '
                         f'{MOST - 1}')
  try:
    return pa.array(values)
  except (pa.ArrowException, OverflowError, UnicodeError, TypeError) as error:
    raise ValueError(f'{where}: wanted labels of one kind, strings or whole numbers: {error}') from error


def _numbers(column, where: str, names: Sequence[str] | None, place: Callable[[int], str]
             ) -> tuple[np.ndarray, tuple[str, ...]]:
  missing = column.is_null(nan_is_null=pa.types.is_floating(column.type)).to_numpy(zero_copy_only=False)
  found = column.fill_null(0).to_numpy(zero_copy_only=False)
  found = np.where(missing, 0, found)
  most = len(names) if names is not None else MOST
  with np.errstate(invalid='ignore'):
    wrong = ~missing & ((found != np.floor(found)) | (found < -1) | (found >= most))
  if wrong.any():
    row, count = int(np.argmax(wrong)), int(wrong.sum())
    hint = f'one of the {most} classes {shown(names)}' if names is not None else (
        f'a whole number from 0 to {MOST - 1}; larger ones are names: store them as strings')
    raise ValueError(f'{where}, {place(row)}: {found[row].item()!r} is no label'
                     + (f', and {count - 1} more are none' if count > 1 else '') + f'; wanted {hint} ({PERHAPS})')
  label = np.where(missing, -1, found.astype(np.int64)).astype(np.int32)
  classes = tuple(map(str, names)) if names is not None else tuple(map(str, range(int(label.max(initial=-1)) + 1)))
  return label, classes


def check_names(names: Sequence[str], where: str) -> None:
  """Raises ValueError if a class has no name of its own."""
  if len(set(names)) < len(names):
    twice = next(name for place, name in enumerate(names) if name in names[:place])
    raise ValueError(f'{where}: the class {twice!r} is there twice among {len(names)} names of classes; each needs a '
                     'name of its own')


def shown(names: Sequence[str] | None, most: int = 12) -> str:
  """Names for a message, the first ones of many."""
  names = list(map(str, names or ()))
  return f'[{", ".join(names[:most])}{f", … {len(names)} in all" if len(names) > most else ""}]'


def renumbered(label: np.ndarray, old: Sequence[str], new: Sequence[str]) -> np.ndarray:
  """Numbers of the classes `old` as those of `new`, i32[n], by name; -2 for a class that is not there, -1 stays."""
  number = {unicodedata.normalize('NFC', name): k for k, name in enumerate(new)}  # file systems differ in this
  found = [number.get(unicodedata.normalize('NFC', name), -2) for name in old]
  return np.array([*found, -1], np.int32)[label]  # the last is that of -1


def numbered_as(source, classes: Sequence[str], *, here: str, there: str):
  """A labeled source whose labels are the numbers of `classes`: classes meet by name.

    numbered_as(test, train.classes, here='config.evaluate.test', there='config.evaluate.train')

  Args:
    source: labeled.
    classes: names that the numbers are to count; those of which the source has no example may be among them.
    here, there: what the source and the classes are called, for messages.
  Raises:
    ValueError: the source has examples of a class that is not there; shows both lists.
  """
  classes = tuple(classes)
  if source.classes == classes:
    return source
  labels, names = source.truth()
  label = renumbered(labels, names, classes)
  if foreign := [names[k] for k in np.unique(labels[label == -2])]:
    numbers = all(name.isdigit() for name in names) != all(name.isdigit() for name in classes)
    hint = ('one of them has numbers in place of names: give its source classes=(...)' if numbers else
            'rename them, or leave them out with the source of_classes')
    raise ValueError(f'{here}: classes meet by name, and {there} has no {shown(foreign)}. {here} has '
                     f'{shown(names)}, {there} has {shown(classes)}; {hint}')
  return source.relabeled(label, classes, source.origin)
