"""What a data set is: whether two sets are the same one, wherever they lie, and in what they differ."""
import hashlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrain.files import write_bytes

ALL, SOME = 4096, 64  # examples whose contents are looked at: of a set up to ALL of them all, of a larger one SOME


class Identity(NamedTuple):
  """What is looked at of a set; two are the same exactly if all but `looked` is equal.

  examples: number of positions.
  names:    digest of the examples' names; '' where they have none.
  contents: digest of the contents of `looked` examples, and of the sizes or checksums of all, where these are known.
  labels:   digest of the class of each position, and of other things that stand beside; '' without.
  order:    digest of which examples are used, in which order; '' for all.
  classes:  names of the classes, or None.
  looked:   of how many examples the contents were looked at.
  """
  examples: int
  names: str
  contents: str
  labels: str
  order: str
  classes: list[str] | None
  looked: int

  @property
  def digest(self) -> str:
    """12 hexadecimal digits that two sets share exactly if they are the same."""
    return _digest(repr(self[:-1]).encode())[:12]

  def unseen(self) -> str:
    """What a comparison cannot see; '' where only the middle of large files is not looked at."""
    if self.looked == self.examples:
      return ''
    return (f'of the {self.examples} examples the contents of {self.looked} are compared'
            + (', and the names of all' if self.names else ''))


class Seen(NamedTuple):
  """`Identity`, and the arrays behind it, by which two sets are compared: `names` bytes; the examples `looked` at
  i64[k], their `contents` u8[k, 16]; the class of each position, `label` i32[n] or empty; `rows` i64[n] or empty."""
  identity: Identity
  names: bytes
  looked: np.ndarray
  contents: np.ndarray
  label: np.ndarray
  rows: np.ndarray


def look(source) -> Seen:
  """Looks at a source: the names of all examples, the contents of some, the labels.

  Of a set of more than ALL examples the contents of SOME are looked at, at even distances, which takes some
  milliseconds; files are judged by their size, beginning and end.
  """
  examples, n = source.examples, len(source.examples)
  names = examples.names() or b''
  looked = np.arange(n) if n <= ALL else np.linspace(0, n - 1, SOME).astype(np.int64)
  found = [_contents(examples, int(i)) for i in looked]
  looked = looked[[each is not None for each in found]]
  contents = np.array([list(_short(each)) for each in found if each is not None], np.uint8).reshape(-1, 16)
  label = source.labels if source.labeled else np.empty(0, np.int32)
  rows = source.index if len(source) != n or (source.index != np.arange(n)).any() else np.empty(0, np.int64)
  beside = b''.join(_short(np.ascontiguousarray(source.column(name)).data) for name in sorted(source.beside)
                    if name != 'label')
  identity = Identity(
      len(source), _digest(names) if names else '', _digest(contents.tobytes() + examples.whole()),
      _digest(label.astype('<i4').tobytes() + beside) if source.beside else '',
      _digest(rows.astype('<i8').tobytes()) if len(rows) else '',
      list(source.classes) if source.classes is not None else None, len(looked))
  return Seen(identity, names, looked, contents, label, rows)


def differences(old: Identity, new: Identity, before: Seen | None = None, now: Seen | None = None) -> list[str]:
  """Sentences about what differs; [] for the same set.

  Args:
    before, now: the arrays behind the two, which say of which examples; None: only the kinds of differences are known.
  """
  if old[:-1] == new[:-1]:
    return []
  found = []
  if before and now:
    found = _in_examples(before, now)
  elif old.examples != new.examples:
    found = [f'{abs(new.examples - old.examples)} examples {"more" if new.examples > old.examples else "fewer"}']
  if old.classes != new.classes:
    gone, come = (sorted(set(a or ()) - set(b or ())) for a, b in ((old.classes, new.classes),
                                                                   (new.classes, old.classes)))
    words = [f'without {", ".join(gone)}' if gone else '', f'with {", ".join(come)}' if come else '',
             '' if gone or come else 'in another order']
    found.append(f'other classes: {" and ".join(filter(None, words))}')
  kinds = {'names': 'other names of examples', 'contents': 'other contents',
           'labels': 'other labels, or what else stands beside, as texts',
           'order': 'other examples of the set are used, or in another order'}
  if not found:
    found = [words for name, words in kinds.items() if getattr(old, name) != getattr(new, name)]
  return [f'{old.examples} examples were, {new.examples} are'] + found if old.examples != new.examples else found


def _in_examples(before: Seen, now: Seen) -> list[str]:
  """Added, removed, changed, relabelled, reordered, by names, or by contents where there are none."""
  sides = [_keyed(seen) for seen in (before, now)]
  if None in sides:
    return []
  (old, was), (new, named) = sides  # pyrefly: ignore[not-iterable]
  found = []
  for words, gone in (('added', [key for key in new if key not in old]), ('removed', [k for k in old if k not in new])):
    if gone:
      found.append(f'{len(gone)} {words}' + (f', such as {named(gone[0]) if words == "added" else was(gone[0])}'))
  both = [key for key in old if key in new]
  contents = [dict(zip(seen.looked.tolist(), map(bytes, seen.contents), strict=True)) for seen in (before, now)]
  if before.names and now.names:
    changed = [key for key in both if contents[0].get(old[key], 0) != contents[1].get(new[key], 0)
               and old[key] in contents[0] and new[key] in contents[1]]
    if changed:
      found.append(f'{len(changed)} changed, such as {named(changed[0])}')
  labels = [_classes(seen) for seen in (before, now)]
  if labels[0] is not None and labels[1] is not None:
    moved = [key for key in both if old[key] in labels[0] and new[key] in labels[1]
             and labels[0][old[key]] != labels[1][new[key]]]
    if moved:
      key = moved[0]
      found.append(f'{len(moved)} relabelled, such as {named(key)}: {labels[0].get(old[key])} -> '
                   f'{labels[1].get(new[key])}')
  if both != [key for key in new if key in old]:
    found.append('the others are in another order' if found else 'reordered')
  return found


def _keyed(seen: Seen):
  """({name or contents of each example: its index}, key -> words for it); None where neither tells them apart."""
  if seen.names:
    return {name: i for i, name in enumerate(seen.names.split(b'\0'))}, lambda key: key.decode(errors='replace')
  if seen.identity.looked < seen.identity.examples or len(seen.rows):
    return None
  index = {bytes(contents): i for i, contents in enumerate(seen.contents)}
  return index, lambda key: f'example {index[key]}'


def _classes(seen: Seen) -> dict[int, str] | None:
  """{index of an example: name of its class}."""
  if seen.identity.classes is None:
    return None
  index = seen.rows if len(seen.rows) else np.arange(len(seen.label))
  return {i: (seen.identity.classes[k] if k >= 0 else 'none') for i, k in zip(index.tolist(), seen.label.tolist(),
                                                                             strict=True)}


def write(path: str | Path, seen: dict[str, Seen]) -> None:
  """Keeps what was seen of the sets of a run, by rename."""
  file, arrays = io.BytesIO(), {}
  for name, each in seen.items():
    arrays |= {f'{name}/identity': np.array(json.dumps(each.identity._asdict())),
               f'{name}/names': np.frombuffer(each.names, np.uint8)}
    arrays |= {f'{name}/{key}': value for key, value in each._asdict().items() if isinstance(value, np.ndarray)}
  np.savez(file, **arrays)
  write_bytes(path, file.getvalue())


def read(path: str | Path, name: str) -> Seen | None:
  """What `write` kept of one set; None where the file is missing, damaged or has none of it: then the kinds of
  differences are known, and not of which examples."""
  try:
    with np.load(path) as arrays:
      found = {key: arrays[f'{name}/{key}'] for key in ('looked', 'contents', 'label', 'rows')}
      identity = Identity(**json.loads(str(arrays[f'{name}/identity'])))
      return Seen(identity, arrays[f'{name}/names'].tobytes(), **found)
  except Exception:  # NumPy and zipfile raise about ten kinds for damaged files
    return None


def _contents(examples, i: int) -> bytes | None:
  try:
    return examples.digest(i)
  except Exception as error:  # what cannot be read is a broken example, which reading it says
    return type(error).__name__.encode()


def _short(data) -> bytes:
  return hashlib.blake2b(data, digest_size=16).digest()


def _digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()[:24]
