"""Texts that each belong to a class, or to none that is known."""
import json
from pathlib import Path

import numpy as np

from data.sources.text import Sequences
from data.text import captions
from data.text import tokenizer as load_tokenizer


def labeled_text(*, path: str, tokenizer: str, length: int, classes: tuple[str, ...] | None = None) -> Sequences:
  """Lines such as {"text": "a fine film", "label": "good"}; 'tokens' are i32[b, length], begun, ended and padded.

  Args:
    path: a file of JSON lines; where no line has a label, the set has none.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end; longer ones are cut off.
    classes: the labels in their order; None: those of the file, sorted.
  Raises:
    FileNotFoundError: no file, no tokeniser.
    ValueError: a line that is no such text, labels in some lines alone or of no class (named by their line).
  """
  root, by = Path(path), load_tokenizer(tokenizer)
  if not root.is_file():
    raise FileNotFoundError(f'no file {path}')
  texts, names = [], []
  for number, line in enumerate(root.read_text(encoding='utf-8').splitlines(), 1):
    try:
      row = json.loads(line)
      texts.append(row['text'])
      names.append(None if row.get('label') is None else str(row['label']))
      if not (isinstance(row['text'], str) and row['text'].strip()):
        raise ValueError('no text')
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise ValueError(f'{path}, line {number}: wanted {{"text": …, "label": …}}, got {line[:80]!r}') from error
  if not texts:
    raise ValueError(f'{path}: no text in it')
  made = Sequences(captions(texts, by, length).tokens, by.vocabulary, f'texts of {path}')
  if not any(names):
    return made
  known = tuple(classes or sorted({name for name in names if name is not None}))
  if wrong := [number for number, name in enumerate(names, 1) if name not in known]:
    raise ValueError(f'{path}: {len(wrong)} of {len(names)} lines have no label of {known}, the first is line '
                     f'{wrong[0]}')
  label = np.array([known.index(name) for name in names], np.int32)
  return Sequences(made.tokens, made.vocabulary, made.origin, None, label, known)
