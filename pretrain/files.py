"""Small files: strict JSON, written by rename, read with a check of what is in them."""
import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain.config import fits, wanted


def strict(value, where: str = '') -> tuple[Any, list[str]]:
  """Turns a value into what strict JSON can hold.

  Args:
    value: dicts, lists, tuples, paths, strings, numbers, and scalars or arrays of NumPy or JAX, nested at will.
    where: dotted path of `value`, the prefix of the paths returned.

  Returns:
    (the value with every NaN and infinity replaced by None, the dotted paths where one was).

  Raises:
    TypeError: for an object that has no JSON form; the message names its path and type.
  """
  if isinstance(value, Mapping | list | tuple):
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    parts = {str(key): strict(part, f'{where}.{key}' if where else str(key)) for key, part in pairs}
    clean = {key: part for key, (part, _) in parts.items()}
    bad = [path for _, paths in parts.values() for path in paths]
    return (clean if isinstance(value, Mapping) else list(clean.values())), bad
  if hasattr(value, 'tolist'):  # NumPy and JAX, without importing either
    return strict(value.tolist(), where)
  if isinstance(value, float) and not math.isfinite(value):
    return None, [where]
  if value is None or isinstance(value, bool | int | float | str):
    return value, []
  if isinstance(value, os.PathLike):
    return os.fspath(value), []
  raise TypeError(f'{where or "value"} is a {type(value).__name__}; JSON holds numbers, strings, lists and dicts')


def json_line(fields: Mapping) -> str:
  clean, bad = strict(fields)
  return json.dumps(clean | ({'nonfinite': bad} if bad else {}), allow_nan=False, ensure_ascii=False) + '\n'


def encoded(text: str) -> bytes:
  """JSON as UTF-8; bytes of a file's name that are none become JSON's own escapes."""
  return text.encode('utf-8', 'backslashreplace')


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a file by rename: a reader, or a kill at any moment, sees the old content or the new, never a part."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.{os.getpid()}.part')
  try:
    with part.open('wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, obj) -> None:
  """Writes `obj` as strict, indented JSON by rename; NaN and infinity become null, listed under "nonfinite"."""
  clean, bad = strict(obj)
  if bad and isinstance(clean, dict):
    clean['nonfinite'] = bad
  write_bytes(path, encoded(json.dumps(clean, allow_nan=False, ensure_ascii=False, indent=2) + '\n'))


class Broken(ValueError):
  """A small file of a run directory is not what was written; its text names the file, and what was wanted and got."""


def read_json(path: str | os.PathLike, **keys: Any) -> dict:
  """The JSON object of a small file.

  Args:
    keys: types of keys that it must have, as `config.fits` takes them; numbers are finite.
  Raises:
    Broken: it cannot be read, was cut, is no object, or lacks a key of such a type.
  """
  path = Path(path)
  try:
    found = _parse(path.read_bytes())
  except (OSError, ValueError, RecursionError) as error:
    raise Broken(f'{path} is damaged: wanted a JSON object, got what is none ({error})') from error
  if not isinstance(found, dict):
    raise Broken(f'{path} is damaged: wanted a JSON object, got {type(found).__name__}')
  for key, kind in keys.items():
    if key not in found or not fits(found[key], kind):
      got = f'{found[key]!r:.60}' if key in found else 'no such key'
      raise Broken(f'{path} is damaged: wanted {key!r} to be {wanted(kind)}, got {got}')
  return found


def _parse(data: bytes) -> Any:
  """Strict JSON whose numbers are finite as floats."""
  def number(kind):
    def parse(text):
      if math.isfinite(float(text)):
        return kind(text)
      raise ValueError(f'{text:.20} is no finite number')
    return parse
  return json.loads(data, parse_int=number(int), parse_float=number(float), parse_constant=number(float))


def read_rows(path: str | os.PathLike, **keys: Any) -> list[dict]:
  """Rows of a .jsonl file, oldest first; a line that is no row was cut by a kill, or damaged, and is left out.

  Args:
    keys: types of keys that a row must have, as `read_json` takes them.
  Returns:
    [] where there is no file: a run killed before its first row is a run without rows.
  """
  path, rows = Path(path), []
  for line in path.read_bytes().splitlines() if path.is_file() else []:
    with contextlib.suppress(ValueError, RecursionError):  # bad JSON, or a character cut in half
      row = _parse(line)
      if isinstance(row, dict) and all(key in row and fits(row[key], kind) for key, kind in keys.items()):
        rows.append(row)
  return rows
