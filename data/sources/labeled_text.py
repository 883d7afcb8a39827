"""Texts that each belong to a class, or to none that is known."""
from data.classes import read_labels
from data.lines import json_lines
from data.source import Arrays, Source
from data.text import captions
from data.text import tokenizer as load_tokenizer
from pretrain.config import Count

WANTED = '{"text": …, "label": …}'


def labeled_text(*, path: str, tokenizer: str, length: Count, classes: tuple[str, ...] | None = None) -> Source:
  """Lines such as {"text": "a fine film", "label": "good"}; 'tokens' are i32[b, length], begun, ended and padded.

  Args:
    path: a file of JSON lines; where no line has a label, the set has none.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end; longer ones are cut off.
    classes: the labels in their order; None: those of the file, sorted. Labels are read by `data.classes.read_labels`.
  Raises:
    FileNotFoundError: no file, no tokeniser.
    ValueError: a line that is no such text, a label that is none or of no class.
  """
  by = load_tokenizer(tokenizer)
  lines = json_lines(path, WANTED)
  for number, row in lines:
    if not isinstance(row.get('text'), str) or not row['text'].strip():
      raise ValueError(f'{path}, line {number}: wanted {WANTED}, got the text {row.get("text")!r}')
  tokens = Arrays({'tokens': captions([row['text'] for _, row in lines], by, length).tokens}, path)
  labels, origin = [row.get('label') for _, row in lines], f'texts of {path}'
  if all(label is None for label in labels):
    return Source(tokens, origin, tokenizer=by)
  label, names = read_labels(labels, f'{path}: label', classes, lambda row: f'line {lines[row][0]}')
  return Source(tokens, origin, {'label': label}, names, by)
