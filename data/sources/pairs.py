"""Images with a text each."""
import dataclasses
import json
from pathlib import Path

import numpy as np

from data.encoded import Encoded
from data.names import known
from data.sources.folder import Files
from data.sources.huggingface import huggingface
from data.sources.webdataset import webdataset
from data.text import captions
from data.text import tokenizer as load_tokenizer


def pairs(*, path: str, split: str | None = None, size: int, channels: int = 3, tokenizer: str, length: int,
          text_column: str = 'text', image_column: str | None = None) -> Encoded:
  """Pairs of an image and a text, from JSON lines, Parquet or tar files; 'tokens' are i32[b, length].

  All texts are turned into ids when the source is opened: 2 * length bytes a pair (4 with more than 65,536 ids).

  Args:
    path: a file of lines such as {"image": "a/1.jpg", "text": "a red cube"}, images relative to its folder; or a folder
      in the layouts of `huggingface`; or tar files as of `webdataset`, whose texts are the `.txt` beside the images.
    split: of the folder; a file has none.
    size, channels: as for `folder`.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end; longer ones are cut off.
    text_column, image_column: names in the lines or columns; None: 'image' in a file, else the first column of images.
  Raises:
    FileNotFoundError: nothing at `path`, no tokeniser.
    ValueError: no pair, pairs without a text or an image (counted, the first named), what `huggingface` raises.
  """
  by = load_tokenizer(tokenizer)
  root = Path(path)
  if root.is_dir():
    if split is None:
      raise ValueError(f'{path}: a folder of pairs wants a split')
    source = huggingface(path=path, split=split, size=size, channels=channels, image_column=image_column)
    table = source.reader.table  # pyrefly: ignore[missing-attribute]
    known(f'text column of {path}', text_column, table.schema.names)
    texts = table.column(text_column).to_pylist()
    source = source.unlabeled()
  elif path.endswith('.tar'):
    if split is not None:
      raise ValueError(f'{path}: tar files have no splits, got split={split!r}; their names say it')
    source = webdataset(path=path, size=size, channels=channels).unlabeled()
    texts = source.reader.texts  # pyrefly: ignore[missing-attribute]
  else:
    if split is not None:
      raise ValueError(f'{path}: a file of pairs has no splits, got split={split!r}; one file is one split')
    rows, column = [], image_column or 'image'
    for number, line in enumerate(root.read_text(encoding='utf-8').splitlines(), 1):
      try:
        rows.append(dict(json.loads(line)))
      except (ValueError, TypeError) as error:
        raise ValueError(f'{path}, line {number}: wanted {{"{column}": …, "{text_column}": …}}, got {line[:80]!r}'
                         ) from error
    names, texts = ([row.get(key) for row in rows] for key in (column, text_column))
    _all_there(path, column, names)
    source = Encoded(Files(root.parent, names, None), f'pairs of {path}', None, size, channels)
  if not texts:
    raise ValueError(f'{path}: no pair in it')
  _all_there(path, text_column, texts)
  return dataclasses.replace(source, captions=captions(texts, by, length))


def _all_there(path: str, name: str, values: list) -> None:
  missing = np.flatnonzero([not (isinstance(value, str) and value.strip()) for value in values])
  if len(missing):
    raise ValueError(f'{path}: {len(missing)} of {len(values)} pairs have no {name!r}, the first is number '
                     f'{missing[0] + 1}; leave them out or give them one')
