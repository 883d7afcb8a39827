"""Shards of tar files in the layout of WebDataset, read at random."""
import re
import tarfile
from glob import glob
from pathlib import Path

import numpy as np

from data.decode import SUFFIXES
from data.encoded import Encoded


def webdataset(*, path: str, size: int, channels: int = 3, classes: tuple[str, ...] | None = None) -> Encoded:
  """Images of tar files as WebDataset and img2dataset write them: `a/1.jpg` beside `a/1.cls`, its class as a number.

  Members whose names are equal up to the first dot of the last part are one example, and stand one after the other.
  Opening reads the headers of all members and the `.cls` files, once a process; an image is then one read at its place,
  so that the order is as random as with any source, and independent of the shards.

  Args:
    path: uncompressed tar files: one, or several as `train-{000000..000146}.tar`, `train-*.tar`.
    size: the shorter side is resized to it and the centre size x size kept.
    channels: 3 (RGB) or 1 (grey).
    classes: names of the numbers; None: the numbers themselves.
  Raises:
    FileNotFoundError: no such file, or a shard of a range is missing.
    ValueError: a compressed or damaged tar file, an example without an image or with two, no image, classes for some
      images alone, a class that is no number or has no name.
  """
  files = shards(path)
  reader = Members(files)
  if not len(reader):
    raise ValueError(f'{path}: no image in it (looked for {", ".join(SUFFIXES)})')
  labels = reader.labels()
  if labels is None:
    return Encoded(reader, f'images of {path}', None, size, channels)
  least, most = labels.min(), labels.max()
  if least < 0 or classes and most >= len(classes):
    raise ValueError(f'{path}: wanted classes from 0{f" to {len(classes) - 1}" if classes else ""}, got {least} to '
                     f'{most}')
  classes = classes or tuple(map(str, range(most + 1)))
  return Encoded(reader, f'images of {path}', tuple(classes), size, channels)


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
  return files


class Members:
  """`data.encoded.Reader` over the images of tar files.

  Attributes:
    texts: what lies beside each image as `.txt`, None where there is none.
  """

  def __init__(self, files: list[str]):
    self.files, self.texts, labels, places = files, [], [], []
    for shard, file in enumerate(files):
      for key, members in examples(file):
        images = [member for suffix, member in members.items() if suffix.endswith(SUFFIXES)]
        if len(images) != 1:
          raise ValueError(f'{file}: wanted one image of {key}, got {len(images)} in {", ".join(members)}')
        places.append((shard, images[0].offset_data, images[0].size))
        beside = {suffix: self.bytes(shard, members[suffix].offset_data, members[suffix].size).decode()
                  for suffix in ('.cls', '.txt') if suffix in members}
        self.texts.append(beside.get('.txt'))
        labels.append(number(beside.get('.cls'), f'{file}: class of {key}'))
    lacking = labels.count(None)
    if 0 < lacking < len(labels):
      raise ValueError(f'{files[0]} and on: {lacking} of {len(labels)} images have no .cls beside them; wanted it of '
                       'all or of none')
    self.places = np.array(places, np.int64).reshape(-1, 3)
    self._labels = None if lacking else np.array(labels, np.int32)

  def __len__(self):
    return len(self.places)

  def bytes(self, shard: int, start: int, count: int) -> bytes:
    with open(self.files[shard], 'rb') as f:
      f.seek(start)
      return f.read(count)

  def read(self, i):
    """Bytes of the image and its label."""
    return self.bytes(*self.places[i]), None if self._labels is None else int(self._labels[i])

  def labels(self):
    """Labels i32[n], or None."""
    return self._labels

  def file(self, i):
    """The tar file, and where in it."""
    return f'{self.files[self.places[i][0]]}, byte {self.places[i][1]}'


def number(text: str | None, what: str) -> int | None:
  if text is None:
    return None
  try:
    return int(text)
  except ValueError:
    raise ValueError(f'{what}: wanted a number, got {text[:80]!r}') from None


def examples(file: str):
  """(key, {suffix: member}) of each example of a tar file; raises ValueError if it is damaged or compressed."""
  try:
    key, members, end = None, {}, Path(file).stat().st_size
    with tarfile.open(file, 'r:') as tar:
      for member in tar:
        folder, slash, name = member.name.rpartition('/')
        if not member.isfile() or name.startswith('.'):
          continue
        if member.offset_data + member.size > end:
          raise tarfile.ReadError('unexpected end of data')
        stem, dot, suffix = name.partition('.')
        if (now := folder + slash + stem) != key and members:
          yield key, members
          members = {}
        key = now
        members[(dot + suffix).lower()] = member
    if members:
      yield key, members
  except tarfile.ReadError as error:
    raise ValueError(f'{file}: wanted a whole, uncompressed tar file: {error}') from error
