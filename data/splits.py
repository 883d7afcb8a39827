"""Which examples keep their labels, as a fixed file: indices, and hashes of the labels and of the file itself.

  {"format": "split 1", "made": {...}, "source": "train of fashion_mnist", "examples": 10000, "data": "5f…",
   "indices": [3, 17, …], "hash": "c0…"}
"""
import hashlib
import json
from pathlib import Path

import numpy as np

from pretrain.files import write_bytes

FORMAT = 'split 1'


def identity(source) -> dict[str, str | None]:
  """Of a labeled set, where no image is read, so that it may lie elsewhere, in another size or in another format.

  Returns:
    'data': 24 hexadecimal digits of the indices, the labels and the classes' names; 'names': of the examples' names,
    None where they have none.
  """
  labels, classes = source.truth()
  found = hashlib.sha256(json.dumps(list(classes)).encode())
  found.update(source.index.astype('<i8').tobytes())
  found.update(labels.astype('<i4').tobytes())
  names = source.examples.names()
  return {'data': found.hexdigest()[:24], 'names': hashlib.sha256(names).hexdigest()[:24] if names else None}


def differences(split: dict, source) -> str:
  """What differs between the set that a split is of and a labeled source; '' for nothing."""
  here = identity(source)
  differing = ['indices, labels or classes'] * (here['data'] != split['data'])
  if here['names'] and split.get('names') and here['names'] != split['names']:
    differing.append('names of the examples')
  return ' and '.join(differing)


def write(path: str | Path, indices: np.ndarray, *, source, made: dict) -> str:
  """Writes a split by rename; returns its hash.

  Args:
    indices: i64[k], global.
    source: the whole set.
    made: how the indices were drawn.
  Raises:
    FileExistsError: the file is there, with another split.
  """
  content = {'format': FORMAT, 'made': made, 'source': source.origin, 'examples': len(source), **identity(source),
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
