"""A folder of JPEG, PNG and WebP files."""
import os
from pathlib import Path

import numpy as np

from data.decode import SUFFIXES
from data.encoded import Encoded
from data.names import known

SPLITS = ('train', 'val', 'valid', 'validation', 'test')


def folder(*, path: str, split: str | None = None, size: int, channels: int = 3) -> Encoded:
  """Images of a folder, with one folder per class (at any depth below) or, without class folders, unlabeled.

  Classes are the folders' names in sorted order, over all splits beside this one, so that a label means the same in
  each and an empty class keeps its number. Images in the folder itself make the whole set unlabeled. Files are sorted
  by path; names that begin with a dot and other suffixes than .jpg, .jpeg, .png, .webp are passed over.

  Args:
    path: the folder.
    split: folder inside it, such as 'train'; None when the class folders lie in `path` itself.
    size: the shorter side is resized to it and the centre size x size kept.
    channels: 3 (RGB) or 1 (grey).
  Raises:
    FileNotFoundError: no such folder.
    ValueError: unknown split, no image, `split` left out where there are splits.
  """
  root = Path(path)
  if not root.is_dir():
    raise FileNotFoundError(f'no folder {path}')
  folders = _folders(root)
  found = sorted(set(folders) & set(SPLITS))
  if split is None and found and len(found) == len(folders):
    raise ValueError(f'{path} holds the splits {", ".join(found)}: give split=')
  if split is not None:
    root = root / known(f'split of {path}', split, folders)
  files = _files(root)
  if not files:
    raise ValueError(f'no image in {root} (looked for {", ".join(SUFFIXES)} at any depth)')
  tops = [name.partition('/')[0] for name in files]
  origin = f'folder {root}'
  if any(name == top for name, top in zip(files, tops, strict=True)):
    return Encoded(Files(root, files, None), origin, None, size, channels)
  siblings = [root] if split is None else [root, *(Path(path) / s for s in found)]
  classes = sorted({name for sibling in siblings for name in _folders(sibling)})
  number = {name: k for k, name in enumerate(classes)}
  labels = np.array([number[top] for top in tops], np.int32)
  return Encoded(Files(root, files, labels), origin, tuple(classes), size, channels)


class Files:
  """`data.encoded.Reader` over files below a folder."""

  def __init__(self, root: Path, names: list[str], labels: np.ndarray | None):
    self.root, self.names, self._labels = str(root), names, labels

  def __len__(self):
    return len(self.names)

  def read(self, i):
    """Bytes of the file and its label."""
    with open(self.file(i), 'rb') as f:
      return f.read(), None if self._labels is None else int(self._labels[i])

  def labels(self):
    """Labels i32[n], or None."""
    return self._labels

  def file(self, i):
    """Path of the file."""
    return f'{self.root}/{self.names[i]}'


def _folders(root: Path) -> list[str]:
  return sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith('.'))


def _files(root: Path) -> list[str]:
  found = []
  for at, folders, names in os.walk(root, followlinks=True):
    folders[:] = [f for f in folders if not f.startswith('.')]
    below = Path(at).relative_to(root)
    found += [(below / name).as_posix() for name in names
              if name.lower().endswith(SUFFIXES) and not name.startswith('.')]
  return sorted(found)
