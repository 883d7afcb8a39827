"""Text as token ids: tokenisers, captions of a fixed length, packed sequences. Ids are made once, when a set is opened.

Every vocabulary begins with the same four tokens, whatever numbers a tokeniser's file gives them.
"""
import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.lines import utf8

PAD, BEGIN, END, MASK, SPECIAL = range(5)  # the first SPECIAL ids are no text
# what files call them: ours and BERT's, RoBERTa's and T5's, CLIP's
NAMES = (('[PAD]', '<pad>'), ('[CLS]', '<s>', '<|startoftext|>'), ('[SEP]', '</s>', '<|endoftext|>'),
         ('[MASK]', '<mask>'))
BATCH = 10_000  # texts at a time
SURROGATE = re.compile('[\ud800-\udfff]')


class Tokenizer(NamedTuple):
  """Texts to ids.

  Args:
    vocabulary: number of ids, the four of no text included.
    file: JSON of the library `tokenizers`; None: the UTF-8 bytes, each an id.
    ids: i64[n], our id of each of the file's.
  """
  vocabulary: int
  file: str | None = None
  ids: np.ndarray | None = None

  @property
  def digest(self) -> str:
    """12 hexadecimal digits that two tokenisers share if they give the same ids, wherever their files lie."""
    content = b'bytes' if self.file is None else Path(self.file).read_bytes()
    return hashlib.sha256(content + repr(self.vocabulary).encode()).hexdigest()[:12]

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids i64[n] of each text, at least SPECIAL: without BEGIN and END, and '[PAD]' in a text is a word like others.

    Raises:
      ValueError: a text (named by its number, from 1) that is no Unicode, or that the file's tokeniser cannot encode.
    """
    for number, text in enumerate(texts, 1):
      if wrong := SURROGATE.search(text):
        raise ValueError(f'text {number} of {len(texts)}: {wrong[0]!r} at character {wrong.start() + 1} is half of a '
                         f'character; mend it, got {text[:80]!r}')
    if self.file is None:
      return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) + SPECIAL for text in texts]
    made = _for_text(self.file, '\ufdd0' * (1 + max((text.count('\ufdd0') for text in texts), default=0)))
    assert self.ids is not None  # as `tokenizer` makes them
    try:
      return [self.ids[np.asarray(found.ids, np.int64)] for start in range(0, len(texts), BATCH)
              for found in made.encode_batch(list(texts[start:start + BATCH]), add_special_tokens=False)]
    except Exception as error:  # the library raises bare Exception
      raise ValueError(f'{self.file} cannot encode one of the {len(texts)} texts: {error}') from error


def tokenizer(name: str) -> Tokenizer:
  """The tokeniser 'bytes' (260 ids, needs nothing), or that of a file, such as `python -m data tokenizer` writes.

  Raises:
    FileNotFoundError: no such file.
    ValueError: the file is no tokeniser's, or makes padding, begin, end or mask of what it does not know, or the
      library that reads it is not installed.
  """
  if name == 'bytes':
    return Tokenizer(SPECIAL + 256)
  if not Path(name).is_file():
    raise FileNotFoundError(f"no tokeniser {name}: wanted 'bytes' or a file that `python -m data tokenizer` writes")
  try:
    made = _library().from_file(name)
    _for_text(name, '\ufdd0')
  except Exception as error:  # the library raises bare Exception
    raise ValueError(f'{name} is no tokeniser that the library `tokenizers` can read: {error}') from error
  special = [next((i for n in names if (i := made.token_to_id(n)) is not None), None) for names in NAMES]
  taken = [i for i in special if i is not None]
  if (unknown := _unknown(name)) is not None and unknown in taken:
    raise ValueError(f'{name} writes {made.id_to_token(unknown)!r} for what it does not know, which is no text; '
                     f'wanted another token for that')
  used = np.array(list(made.get_vocab().values()), np.int64)  # there may be gaps
  ids, rest = np.zeros(used.max(initial=-1) + 1, np.int64), np.setdiff1d(used, taken)
  ids[rest] = SPECIAL + np.arange(len(rest))
  for ours, theirs in enumerate(special):
    if theirs is not None:
      ids[theirs] = ours
  return Tokenizer(SPECIAL + len(rest), name, ids)


def train(files: Sequence[Path], vocabulary: int, out: str) -> int:
  """Trains byte-level byte-pair encoding (arXiv:1508.07909v5; on bytes no text is unknown) and writes `out`.

  Returns:
    The size of the vocabulary, at most the one wanted: a short text has no more pairs.
  Raises:
    FileNotFoundError: no folder for `out`, no such file.
    ValueError: nothing but whitespace in the files, or a vocabulary below that of the bytes.
  """
  if vocabulary < SPECIAL + 256:
    raise ValueError(f'wanted a vocabulary of at least {SPECIAL + 256}, the bytes and four special tokens, got '
                     f'{vocabulary}')
  if not Path(out).parent.is_dir():
    raise FileNotFoundError(f'no folder {Path(out).parent} to write {out} into')
  texts = documents(files)
  _library()
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
  made = Tokenizer(models.BPE())
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  made.train_from_iterator((line for text in texts for line in text.splitlines(keepends=True)), trainers.BpeTrainer(
      vocab_size=vocabulary, special_tokens=[names[0] for names in NAMES], show_progress=False,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
  made.save(out)
  return made.get_vocab_size()


class Captions(NamedTuple):
  """Texts as tokens u16 or i32[n, length], and what made them."""
  tokens: np.ndarray
  tokenizer: Tokenizer


def prompts(by: Tokenizer, length: int, classes: Sequence[str], templates: Sequence[str]) -> np.ndarray:
  """Tokens i32[k, t, length] of each class's name in each template."""
  rows = captions([phrase(template, name) for name in classes for template in templates], by, length).tokens
  return rows.reshape(len(classes), len(templates), -1).astype(np.int32)


def captions(texts: Sequence[str], by: Tokenizer, length: int) -> Captions:
  """BEGIN, the text, END, then PAD up to `length` ids; longer texts are cut off before the END.

  Raises:
    ValueError: no room for a text.
  """
  if length < 3:
    raise ValueError(f'captions need a length of at least 3 (begin, text, end), got {length}')
  tokens = np.full((len(texts), length), PAD, _smallest(by))
  for row, ids in zip(tokens, by.encode(texts), strict=True):
    ids = ids[:length - 2]
    row[0], row[1:1 + len(ids)], row[1 + len(ids)] = BEGIN, ids, END
  return Captions(tokens, by)


def phrase(template: str, name: str) -> str:
  """The template with the class's name, lower-cased, in the place of {}.

  Raises:
    ValueError: the template has no {}.
  """
  if '{}' not in template:
    raise ValueError(f"a template wants {{}} where the class's name goes, got {template!r}")
  return template.replace('{}', name.lower().replace('_', ' '))


def packed(texts: Sequence[str], by: Tokenizer, length: int) -> np.ndarray:
  """All texts, each followed by END, one after the other, cut into rows of BEGIN and length - 1 ids: u16 or i32[n, l].

  What is left at the end and fills no row is left out.

  Raises:
    ValueError: no row.
  """
  if length < 2:
    raise ValueError(f'packed sequences want a length of at least 2, got {length}')
  lines = [text.splitlines(keepends=True) for text in texts]
  ids, parts = iter(by.encode([line for each in lines for line in each])), []
  for each in lines:
    parts += [*itertools.islice(ids, len(each)), np.array([END])]
  stream = np.concatenate(parts).astype(_smallest(by)) if parts else np.empty(0, np.int32)
  if (n := len(stream) // (length - 1)) < 1:
    raise ValueError(f'{len(stream)} tokens make no sequence of {length}; wanted at least {length - 1}')
  rows = stream[:n * (length - 1)].reshape(n, length - 1)
  return np.concatenate([np.full((n, 1), BEGIN, rows.dtype), rows], 1)


def documents(files: Sequence[Path]) -> list[str]:
  """The text of each file.

  Raises:
    FileNotFoundError: one is not there.
    ValueError: nothing but whitespace in all of them, what `data.lines.utf8` raises.
  """
  texts = [utf8(file).replace('\r\n', '\n').replace('\r', '\n') for file in files]
  if not any(text.strip() for text in texts):
    raise ValueError(f'no text in {", ".join(map(str, files[:3])) or "an empty list of files"}: nothing but whitespace')
  return texts


def _for_text(file: str, mark: str):
  """The tokeniser of the library to which special tokens in a text are words.

  The library finds them in two places: its list of added tokens, before anything else, unless they are marked special
  and `encode_special_tokens` is set; and the vocabulary of the model. In both they get names that no text has.

  Args:
    mark: begins the new names; in no text.
  """
  spec = json.loads(utf8(file))
  model, new = spec['model'], {name: mark + name for names in NAMES for name in names}
  for token in spec.get('added_tokens') or ():
    if token['content'] in new:
      token |= dict(content=new[token['content']], special=True, normalized=False)
  if isinstance(model['vocab'], dict):
    model['vocab'] = {new.get(token, token): i for token, i in model['vocab'].items()}
    if (unknown := model.get('unk_token')) in new:  # pairs of bytes need none, see `_unknown`
      model['unk_token'] = None if 'merges' in model else new[unknown]
  else:
    model['vocab'] = [[new.get(token, token), score] for token, score in model['vocab']]
  if 'merges' in model:  # pairs that make such a name, or take it further
    prefix = len(model.get('continuing_subword_prefix') or '')
    pairs = [pair.split(' ') if isinstance(pair, str) else pair for pair in model['merges']]
    model['merges'] = [[a, b] for a, b in pairs if not {a, b, a + b[prefix:]} & new.keys()]
  made = _library().from_str(json.dumps(spec))
  made.encode_special_tokens = True
  made.no_truncation()
  made.no_padding()
  return made


def _unknown(file: str) -> int | None:
  """The file's id for what its vocabulary lacks; None: it has none, or all bytes are there, so that nothing lacks."""
  from tokenizers import pre_tokenizers
  model = json.loads(utf8(file))['model']
  if not isinstance(model['vocab'], dict):
    return model.get('unk_id')
  if 'merges' in model and model['vocab'].keys() >= set(pre_tokenizers.ByteLevel.alphabet()):
    return None
  return model['vocab'].get(model.get('unk_token'))


def _smallest(by: Tokenizer):
  return np.uint16 if by.vocabulary <= 1 << 16 else np.int32


def _library():
  try:
    from tokenizers import Tokenizer
  except ImportError as error:
    raise ValueError("tokenisers other than 'bytes' need the library `tokenizers`: pip install -e .[text]") from error
  return Tokenizer
