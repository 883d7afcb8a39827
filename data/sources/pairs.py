"""Images with a text each."""
import dataclasses
import os
from pathlib import Path
from typing import Literal

from data.encoded import Encoded, encoded
from data.files import inside
from data.lines import json_lines
from data.names import known
from data.source import Source
from data.sources.folder import Files, options
from data.sources.huggingface import huggingface
from data.sources.webdataset import webdataset
from data.text import captions
from data.text import tokenizer as load_tokenizer
from pretrain.config import Count


def pairs(*, path: str, split: str | None = None, size: Count, channels: Literal[1, 3] = 3, tokenizer: str,
          length: Count, text_column: str = 'text', image_column: str | None = None,
          decoding: dict | None = None) -> Source:
  """Pairs of an image and a text, from JSON lines, Parquet or tar files; 'tokens' are i32[b, length].

  All texts are turned into ids when the source is opened: 2 * length bytes a pair (4 with more than 65,536 ids).

  Args:
    path: a file of lines such as {"image": "a/1.jpg", "text": "a red cube"}, images relative to its folder; or a folder
      in the layouts of `huggingface`; or tar files as of `webdataset`, whose texts are the `.txt` beside the images.
    split: of the folder; a file has none.
    size, channels, decoding: as for `folder`.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end; longer ones are cut off.
    text_column, image_column: names in the lines or columns; None: 'image' in a file, else the first column of images.
      Of tar files image_column is what the name of the image ends with, see `webdataset`.
  Raises:
    FileNotFoundError: nothing at `path`, no tokeniser.
    ValueError: no pair, pairs without a text or an image (counted, the first named), an image outside the file's
      folder, what `huggingface` and `webdataset` raise.
  """
  by, root = load_tokenizer(tokenizer), Path(path)
  if root.is_dir():
    if split is None:
      raise ValueError(f'{path}: a folder of pairs needs a split')
    source = huggingface(path=path, split=split, size=size, channels=channels, image_column=image_column,
                         decoding=decoding).unlabeled()
    table = encoded(source).reader.table
    known(f'text column of {path}', text_column, table.schemas[0].names)
    texts = [text for file in range(len(table.files)) for text in table.column(file, text_column).to_pylist()]
  elif path.endswith('.tar'):
    if split is not None:
      raise ValueError(f'{path}: tar files have no splits, got split={split!r}; their names say it')
    source = webdataset(path=path, size=size, channels=channels, image=image_column, decoding=decoding).unlabeled()
    texts = encoded(source).reader.texts
  else:
    if split is not None:
      raise ValueError(f'{path}: a file of pairs has no splits, got split={split!r}; one file is one split')
    column = image_column or 'image'
    lines = json_lines(path, f'{{"{column}": …, "{text_column}": …}}')
    names, texts = ([row.get(key, '') for _, row in lines] for key in (column, text_column))
    _all_there(path, column, names)
    for (number, _), name in zip(lines, names, strict=True):
      try:
        os.fsencode(inside(root.parent, name))
      except ValueError as error:
        raise ValueError(f'{path}, line {number}: {error}') from error
    source = Source(Encoded(Files(root.parent, names), size, channels, options(decoding)), f'pairs of {path}')
  if not texts:
    raise ValueError(f'{path}: no pair in it')
  _all_there(path, text_column, texts)
  return dataclasses.replace(source, beside={'tokens': captions(texts, by, length).tokens}, tokenizer=by)


def _all_there(path: str, name: str, values: list) -> None:
  missing = [number for number, value in enumerate(values, 1) if not (isinstance(value, str) and value.strip())]
  if missing:
    raise ValueError(f'{path}: {len(missing)} of {len(values)} pairs have no {name!r}, the first is number '
                     f'{missing[0]}; leave them out or give them one')
