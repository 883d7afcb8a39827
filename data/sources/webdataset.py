"""Shards of tar files in the layout of WebDataset, read at random."""
import re
import tarfile
from glob import glob
from pathlib import Path
from typing import Literal

import numpy as np

from data.classes import read_labels
from data.decode import SUFFIXES
from data.encoded import Encoded, digest
from data.files import check_once, check_whole, ends
from data.source import Source
from data.sources.folder import options
from pretrain.config import Count

END = 1024  # bytes of zeros with which a tar file ends, at least


def webdataset(*, path: str, size: Count, channels: Literal[1, 3] = 3, classes: tuple[str, ...] | None = None,
               image: str | None = None, decoding: dict | None = None) -> Source:
  """Images of tar files as WebDataset and img2dataset write them: `a/1.jpg` beside `a/1.cls`, its class as a number.

  Members whose names are equal up to the first dot of the last part are one example, and stand one after the other.
  Opening reads the headers of all members and the `.cls` files, once a process; an image is then one read at its place,
  so that the order is as random as with any source, and independent of the shards.

  Args:
    path: uncompressed tar files: one, or several as `train-{000000..000146}.tar`, `train-*.tar`.
    size: the shorter side is resized to it and the centre size x size kept.
    channels: 3 (RGB) or 1 (grey).
    classes: names of the numbers; None: the numbers themselves.
    image: what the name of the image ends with, such as '.jpg', where others stand beside it: '0.jpg', '0.seg.png'.
    decoding: `data.encoded.Decoding`.
  Raises:
    FileNotFoundError: no such file, or a shard of a range is missing.
    ValueError: a compressed or damaged tar file or one that ends early, an example without an image, with two, or that
      comes twice, no image, classes for some images alone, a class that is no number or has no name.
  """
  return of_members(Members(shards(path), image), path, size, channels, classes, decoding)


def of_members(reader: 'Members', path: str, size: int, channels: int, classes, decoding: dict | None) -> Source:
  """`webdataset` of tar files that are open."""
  if not len(reader):
    raise ValueError(f'{path}: no image in it (looked for {", ".join(SUFFIXES)})')
  examples, origin = Encoded(reader, size, channels, options(decoding)), f'images of {path}'
  if all(text is None for text in reader.classes):
    return Source(examples, origin, notes=reader.notes)
  if lacking := reader.classes.count(None):
    raise ValueError(f'{reader.files[0]} and on: {lacking} of {len(reader)} images have no .cls beside them, such as '
                     f'{reader.keys[reader.classes.index(None)]}; wanted it of all or of none')
  numbers = np.array([number(text, f'{path}: class of {key}')
                      for text, key in zip(reader.classes, reader.keys, strict=True)])
  label, names = read_labels(numbers, f'{path}: .cls', classes)
  return Source(examples, origin, {'label': label}, names, notes=reader.notes)


def shards(path: str) -> list[str]:
  """The files that a path with a range in braces or with asterisks names, in order; raises FileNotFoundError."""
  if span := re.search(r'\{(\d+)\.\.(\d+)\}', path):
    first, last = span.groups()
    files = [f'{path[:span.start()]}{i:0{len(first)}d}{path[span.end():]}' for i in range(int(first), int(last) + 1)]
  else:
    files = sorted(glob(path)) or [path]
  missing = [file for file in files if not Path(file).is_file()]
  if missing:
    raise FileNotFoundError(f'{path}: {len(missing)} of {len(files)} tar files are missing: {missing[0]}')
  check_whole(files, path)
  return files


class Members:
  """`data.encoded.Reader` over the images of tar files.

  Attributes:
    keys: of the examples.
    texts, classes: what lies beside each image as `.txt` and `.cls`, None where there is none.
    notes: sentences about what was passed over.
  """

  def __init__(self, files: list[str], image: str | None = None):
    self.files, self.keys, self.texts, self.classes, places, seen = files, [], [], [], [], {}
    suffix = None if image is None else f'.{image.removeprefix(".").lower()}'
    for shard, file in enumerate(files):
      keys = []
      for key, members in examples(file):
        images = [member for name, member in members.items()
                  if (name == suffix if suffix else name.endswith(SUFFIXES))]
        if len(images) != 1:
          hint = f"; give image='{next(n for n in members if n.endswith(SUFFIXES))}', say" if len(images) > 1 else ''
          raise ValueError(f'{file}: wanted one image of {key}, got {len(images)} in {", ".join(members)}{hint}')
        keys.append(key)
        places.append((shard, images[0].offset_data, images[0].size))
        for name, found in (('.txt', self.texts), ('.cls', self.classes)):
          found.append(self.text(shard, key, members[name]) if name in members else None)
      check_once(keys, file, lambda place, keys=keys: f'number {place + 1}, {keys[place]}')
      for key, (_, start, size) in zip(keys, places[len(self.keys):], strict=True):
        other, its_start = seen.setdefault((key, size), (file, start))
        if other != file and ends(other, its_start, size) == ends(file, start, size):
          raise ValueError(f'{key} in {file} is also in {other}: examples would come twice; leave one of the files out')
      self.keys += keys
    self.places = np.array(places, np.int64).reshape(-1, 3)
    self.notes = gaps(files)

  def __len__(self):
    return len(self.places)

  def bytes(self, shard: int, start: int, count: int) -> bytes:
    with open(self.files[shard], 'rb') as f:
      f.seek(start)
      return f.read(count)

  def text(self, shard: int, key: str, member) -> str:
    try:
      return self.bytes(shard, member.offset_data, member.size).decode('utf-8-sig')
    except UnicodeDecodeError as error:
      raise ValueError(f'{self.files[shard]}: {member.name} of {key} is no UTF-8 text: {error}') from error

  def read(self, i):
    """Bytes of the image."""
    return self.bytes(*self.places[i])

  def file(self, i):
    """The tar file, and where in it."""
    return f'{self.files[self.places[i][0]]}, byte {self.places[i][1]}'

  def names(self):
    names = (f'{shard}/{key}' for (shard, *_), key in zip(self.places.tolist(), self.keys, strict=True))
    return '\0'.join(names).encode('utf-8', 'surrogateescape')

  def digest(self, i):
    shard, start, size = map(int, self.places[i])
    return ends(self.files[shard], start, size)

  def whole(self):
    return digest(self.places[:, 2].tobytes())


def gaps(files: list[str]) -> tuple[str, ...]:
  """A sentence where numbered files of a pattern have gaps: some may have been lost."""
  numbered = [found for file in files if (found := re.fullmatch(r'(.*?)(\d+)(\D*)', file))]
  numbers = {int(found[2]) for found in numbered}
  if len(numbered) < len(files) or len({(found[1], found[3]) for found in numbered}) != 1:
    return ()
  if missing := sorted(set(range(min(numbers), max(numbers))) - numbers):
    example = numbered[0]
    return (f'{len(missing)} numbers between those of the {len(files)} tar files are missing, such as '
            f'{example[1]}{missing[0]:0{len(example[2])}d}{example[3]}',)
  return ()


def number(text: str, what: str) -> int:
  if not re.fullmatch(r'\s*[+-]?[0-9]{1,18}\s*', text):
    raise ValueError(f'{what}: wanted a number, got {text[:80]!r}')
  return int(text)


def examples(file: str):
  """(key, {suffix: member}) of each example of a tar file; raises ValueError if it is damaged, compressed or cut."""
  try:
    key, members, end = '', {}, Path(file).stat().st_size
    with tarfile.open(file, 'r:') as tar:
      for member in tar:
        folder, slash, name = member.name.rpartition('/')
        if member.isdir() or name.startswith('.'):
          continue
        if not member.isfile():
          raise ValueError(f'{file}: {member.name} is a link or a device; wanted files alone')
        if member.offset_data + member.size > end:
          raise tarfile.ReadError('unexpected end of data')
        stem, dot, suffix = name.partition('.')
        if (now := folder + slash + stem) != key and members:
          yield key, members
          members = {}
        key = now
        if (suffix := (dot + suffix).lower()) in members:
          raise ValueError(f'{file}: examples come twice: {member.name} is there again; leave one out')
        members[suffix] = member
    if members:
      yield key, members
    with open(file, 'rb') as f:  # tarfile takes a damaged header for the end
      f.seek(tar.offset)
      if end - tar.offset < END:
        raise tarfile.ReadError('it ends early, without the empty blocks at its end')
      while block := f.read(1 << 20):
        if block.strip(b'\0'):
          raise tarfile.ReadError(f'what follows byte {tar.offset} is no member: the file is damaged, or there is '
                                  'another one behind it')
  except tarfile.ReadError as error:
    raise ValueError(f'{file}: wanted a whole, uncompressed tar file: {error}') from error
