"""A folder of JPEG, PNG and WebP files."""
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from data.decode import SUFFIXES
from data.encoded import Decoding, Encoded, check_decoding
from data.files import contents, ends, folders, walk
from data.names import known
from data.source import Source
from pretrain.config import Count

SPLITS = ('train', 'training', 'val', 'valid', 'validation', 'dev', 'eval', 'evaluation', 'test', 'testing')
DRESSED = re.compile(rf'({"|".join(SPLITS)})[-_. ]?(set|split|data|images|imgs)?[-_. ]?\d*', re.IGNORECASE)


def folder(*, path: str, split: str | None = None, size: Count, channels: Literal[1, 3] = 3,
           decoding: dict | None = None) -> Source:
  """Images of a folder, with one folder per class (at any depth below) or, without class folders, unlabeled.

  Classes are the folders' names in sorted order, over all splits beside this one, so that a label means the same in
  each and an empty class keeps its number. Images in the folder itself make the whole set unlabeled. Files are sorted
  by path. What is passed over is in the source's `notes`: other suffixes than .jpg, .jpeg, .png, .webp, pipes, links
  that lead back.

  Args:
    path: the folder.
    split: folder inside it, such as 'train'; None when the class folders lie in `path` itself.
    size: the shorter side is resized to it and the centre size x size kept.
    channels: 3 (RGB) or 1 (grey).
    decoding: `data.encoded.Decoding`: bits of 16-bit images, the largest image.
  Raises:
    FileNotFoundError: no such folder.
    ValueError: unknown split, no image, `split` left out where there are splits.
  """
  return files_of(Path(path), split, size, channels, decoding)


def files_of(path: Path, split: str | None, size: int | None, channels: int, decoding: dict | None,
             key: Callable = str) -> Source:
  """`folder`, with the files in the order of `key`; `size` may be None."""
  if not path.is_dir():
    raise FileNotFoundError(f'no folder {path}')
  found = splits_of(path)
  if split is None and found:
    raise ValueError(f'{path} holds the splits {", ".join(found)}: give split=')
  root = path if split is None else path / known(f'split of {path}', split, folders(path))
  files, notes = walk(root, SUFFIXES, key)
  if not files:
    raise ValueError(f'no image in {root} (looked for {", ".join(SUFFIXES)} at any depth)'
                     + ''.join(f'; {note}' for note in notes))
  tops = [name.partition('/')[0] for name in files]
  origin = f'folder {root}'
  examples = Encoded(Files(root, files), size, channels, options(decoding))
  if any(name == top for name, top in zip(files, tops, strict=True)):
    return Source(examples, origin, notes=notes)
  siblings = [root] if split is None else [root, *(path / s for s in found)]
  classes = sorted({name for sibling in siblings for name in folders(sibling)})
  number = {name: k for k, name in enumerate(classes)}
  return Source(examples, origin, {'label': np.array([number[top] for top in tops], np.int32)}, tuple(classes),
                notes=notes)


def splits_of(path: Path) -> list[str]:
  """Which folders in a folder are splits, sorted: by their names, in whatever case, also 'val2017' or 'training_set'.

  One such name among others may be a class (a train among buses): it is a split if there are folders in it and no
  image.
  """
  names = folders(path)
  found = [name for name in names if DRESSED.fullmatch(name)]
  if len(found) == 1 and len(names) > 1:
    only = path / found[0]
    holds = any(entry.name.lower().endswith(SUFFIXES) for entry in os.scandir(only))
    return found if folders(only) and not holds else []
  return found


def options(decoding: dict | None) -> Decoding:
  """`Decoding` of a config's dict; raises ConfigError or ValueError."""
  from pretrain import config as configs
  return check_decoding(configs.call(Decoding, decoding or {}, 'config.source.decoding'))


class Files:
  """`data.encoded.Reader` over files below a folder, whose paths are kept as one array of bytes: a worker process gets
  them as that."""

  def __init__(self, root: Path, paths: list[str]):
    self.root, self.paths = str(root), '\0'.join(paths).encode('utf-8', 'surrogateescape')
    self.ends = np.append(np.flatnonzero(np.frombuffer(self.paths, np.uint8) == 0), len(self.paths))

  def __len__(self):
    return len(self.ends)

  def read(self, i):
    """Bytes of the file."""
    return contents(self.file(i))

  def file(self, i):
    """Path of the file."""
    path = self.paths[self.ends[i - 1] + 1 if i else 0:self.ends[i]]
    return f'{self.root}/{path.decode("utf-8", "surrogateescape")}'

  def names(self):
    return self.paths

  def digest(self, i):
    return ends(self.file(i))

  def whole(self):
    return b''
