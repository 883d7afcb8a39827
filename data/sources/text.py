"""Text packed into sequences of one length."""
from pathlib import Path

from data.files import walk
from data.source import Arrays, Source
from data.text import documents, packed
from data.text import tokenizer as load_tokenizer
from pretrain.config import Count

SUFFIXES = ('.txt', '.md')


def text(*, path: str, tokenizer: str, length: Count) -> Source:
  """The text of files as packed sequences: documents one after the other, cut every `length` ids, nothing padded.

  Args:
    path: a UTF-8 file, which is one document, or a folder, in which each .txt and .md file is one, at any depth and in
      the order of their paths.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a sequence, see `data.text.packed`.
  Raises:
    FileNotFoundError: nothing at `path`.
    ValueError: no file or no text in it, less than one sequence.
  """
  by = load_tokenizer(tokenizer)
  files, notes = text_files(path)
  try:
    tokens = packed(documents(files), by, length)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return Source(Arrays({'tokens': tokens}, path), f'text of {path}', tokenizer=by, notes=notes)


def text_files(path: str) -> tuple[list[Path], tuple[str, ...]]:
  """The file, or those of a folder, and what was passed over there; errors as `text`."""
  root = Path(path)
  if root.is_dir():
    names, notes = walk(root, SUFFIXES)
    if not names:
      raise ValueError(f'no {" or ".join(SUFFIXES)} file in {path}')
    return [root / name for name in names], notes
  if not root.exists():
    raise FileNotFoundError(f'no file or folder {path}')
  if not root.is_file():
    raise ValueError(f'{path} is a pipe or a device; wanted a file or a folder')
  return [root], ()
