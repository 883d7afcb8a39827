"""Which examples keep their labels, as a fixed file: indices, and hashes of the labels and of the file itself.

  {"format": "split 1", "made": {...}, "source": "train of fashion_mnist", "examples": 10000, "data": "5f…",
   "indices": [3, 17, …], "hash": "c0…"}
"""
import hashlib
import json
from pathlib import Path

import numpy as np

from pretrain.metrics import write_bytes

FORMAT = 'split 1'


def identity(index: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] | None) -> str:
  """24 hexadecimal digits that two labeled sets share exactly if indices, labels, their order and names are equal.

  No pixel is read, so the same set at another place or another size has the same identity.
  """
  found = hashlib.sha256(json.dumps(list(classes) if classes else None).encode())
  found.update(np.asarray(index, '<i8').tobytes())
  found.update(np.asarray(labels, '<i4').tobytes())
  return found.hexdigest()[:24]


def write(path: str | Path, indices: np.ndarray, *, data: str, source: str, examples: int, made: dict) -> str:
  """Writes a split by rename; returns its hash.

  Args:
    indices: i64[k], global.
    data: `identity` of the whole set.
    source: words for it, its `origin`.
    examples: its length.
    made: how the indices were drawn.
  Raises:
    FileExistsError: the file is there, with another split.
  """
  content = {'format': FORMAT, 'made': made, 'source': source, 'examples': examples, 'data': data,
             'indices': np.asarray(indices).tolist()}
  content['hash'] = digest(content)
  if Path(path).exists() and read(path)['hash'] != content['hash']:
    raise FileExistsError(f'{path} holds another split; a split is never changed: choose another --out, or remove it')
  write_bytes(path, (json.dumps(content) + '\n').encode())
  return content['hash']


def read(path: str | Path) -> dict:
  """What `write` wrote, 'indices' as i64[k].

  Raises:
    FileNotFoundError: nothing there.
    ValueError: it is no split, or was changed since.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f'no split {path}; `python -m data split --out={path}` makes one')
  try:
    found = json.loads(Path(path).read_text())
    if found['format'] != FORMAT:
      raise ValueError(f'format {found["format"]!r}, wanted {FORMAT!r}')
    if digest(found) != found['hash']:
      raise ValueError('its content is not what its hash is of: it was changed after it was made')
    return found | {'indices': np.asarray(found['indices'], np.int64)}
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f'{path} is not a split of `python -m data split`: {error}') from error


def digest(content: dict) -> str:
  """24 hexadecimal digits of a split, wherever its set lies: of all but the words for that and the hash itself."""
  rest = {key: value for key, value in content.items() if key not in ('hash', 'source')}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:24]
