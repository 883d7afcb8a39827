"""Files of text: the whole as UTF-8, or JSON objects, one a line."""
import collections
import json
import math
from pathlib import Path

BLANK = ' \t\r'  # what JSON takes for no text in a line


def utf8(path: str | Path) -> str:
  """The text of a file without its byte order mark; ends of lines stay as they are.

  Raises:
    FileNotFoundError: no such file; a folder, a pipe.
    ValueError: a file that may not be read, bytes that are no UTF-8 (named by their line).
  """
  try:
    if not Path(path).is_file():
      raise FileNotFoundError(f'no file {path}{" but a folder or pipe" if Path(path).exists() else ""}')
    data = Path(path).read_bytes()
  except FileNotFoundError:
    raise
  except OSError as error:
    raise ValueError(f'{path} cannot be read: {error.strerror}') from error
  if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
    raise ValueError(f'{path} is not UTF-8 but UTF-16, as its first bytes {data[:2].hex(" ")} say; convert it: iconv '
                     f'-f UTF-16 -t UTF-8')
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    before = error.object[:error.start]
    raise ValueError(f'{path}, line {before.count(b"\n") + 1}, byte {len(before) - before.rfind(b"\n")}: not UTF-8 '
                     f'text, got 0x{error.object[error.start]:02x} ({error.reason}); convert it to UTF-8, such as by '
                     f'iconv -f LATIN1 -t UTF-8') from error


def json_lines(path: str | Path, wanted: str = '{"text": …}') -> list[tuple[int, dict]]:
  r"""The objects of a file of JSON lines, each with its line's number from 1.

  Lines end at \n alone, perhaps after \r; other control characters in a string are text, escaped or not. What is blank
  at the end of the file is no line; a blank line above another is refused: it may be a lost one.

  Args:
    path: UTF-8, with or without a byte order mark.
    wanted: a line as it should be, for messages.
  Raises:
    FileNotFoundError: no such file.
    ValueError: no line; a line that is no JSON object, has a key twice, NaN or an infinite number, or is nested too
      deep; what `utf8` raises.
  """
  lines = utf8(path).split('\n')
  while lines and not lines[-1].strip(BLANK):
    lines.pop()
  if not lines:
    raise ValueError(f'{path}: wanted lines such as {wanted}, got none')
  return [(number, _object(path, number, line.removesuffix('\r'), wanted)) for number, line in enumerate(lines, 1)]


def _object(path, number: int, line: str, wanted: str) -> dict:
  try:
    row = DECODER.decode(line)
    why = f'a JSON {type(row).__name__}, no object'
  except json.JSONDecodeError as error:
    where = f'{error.msg.removesuffix(" at")} at character {error.pos + 1}'
    row, why = None, where if line.strip(BLANK) else 'leave empty lines out'
  except RecursionError:
    row, why = None, 'nested too deep'
  except ValueError as error:
    row, why = None, str(error)
  if not isinstance(row, dict):
    raise ValueError(f'{path}, line {number}: wanted {wanted}, got {line[:80]!r}: {why}')
  return row


def _once(pairs: list) -> dict:
  made = dict(pairs)
  if len(made) < len(pairs):
    (key, _), = collections.Counter(key for key, _ in pairs).most_common(1)
    raise ValueError(f'the key {key!r} twice')
  return made


def _finite(number: str) -> float:
  if not math.isfinite(float(number)):
    raise ValueError(f'the number {number} is not finite')
  return float(number)


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite, strict=False)
