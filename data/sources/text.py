"""Text packed into sequences of one length."""
import dataclasses
from pathlib import Path

import numpy as np

from data.text import documents, packed, tokenizer

SUFFIXES = ('.txt', '.md')


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
  """A source over token ids in memory; a batch is one gather. There are no images.

  Args:
    tokens: u16 or i32[n, l].
    vocabulary: of the tokeniser.
    origin: words for messages.
    rows: i64[k] which of the sequences, in order; None: all.
    label: i32[n], or None.
    classes: names of the classes, or None.
  """
  tokens: np.ndarray
  vocabulary: int
  origin: str
  rows: np.ndarray | None = None
  label: np.ndarray | None = None
  classes: tuple[str, ...] | None = None
  captions = None

  def __len__(self):
    return len(self.tokens) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} sequences, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @property
  def shape(self) -> tuple[int]:
    """(l,), the length of every sequence."""
    return self.tokens.shape[1:]

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    return self.label if self.label is None or self.rows is None else self.label[self.rows]

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'tokens': i32[b, l], 'index': i32[b]}, with labels 'label' i32[b] too."""
    rows = np.asarray(indices) if self.rows is None else self.rows[indices]
    batch = {'tokens': self.tokens[rows].astype(np.int32), 'index': rows.astype(np.int32)}
    return batch if self.label is None else batch | {'label': self.label[rows]}

  def take(self, indices: np.ndarray) -> 'Sequences':
    """The source of these positions; `index` stays the row of the whole array."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Sequences':
    """The source without labels and classes."""
    return self if self.label is None else dataclasses.replace(self, label=None, classes=None)


def text(*, path: str, tokenizer: str, length: int) -> Sequences:
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
  made = _tokenizer(tokenizer)
  try:
    return Sequences(packed(documents(text_files(path)), made, length), made.vocabulary, f'text of {path}')
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def text_files(path: str) -> list[Path]:
  """The file, or those of a folder; errors as `text`."""
  root = Path(path)
  if not root.exists():
    raise FileNotFoundError(f'no file or folder {path}')
  files = [root] if root.is_file() else sorted(p for p in root.rglob('*') if p.suffix in SUFFIXES and p.is_file())
  if not files:
    raise ValueError(f'no {" or ".join(SUFFIXES)} file in {path}')
  return files


_tokenizer = tokenizer  # the name of an argument, too
