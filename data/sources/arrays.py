"""Images in memory, from NumPy archives."""
import zipfile
from pathlib import Path

import numpy as np

from data.files import regular
from data.names import known
from data.source import Source, images


def arrays(*, path: str, split: str, classes: tuple[str, ...] | None = None) -> Source:
  """Images u8[n, h, w(, c)] and labels from NumPy archives, held in memory.

  Args:
    path: an .npz file with arrays `{split}_image` and, if labeled, `{split}_label`; or a folder of `{split}.npz` with
      `image` and, if labeled, `label`. An array `classes` of names may stand beside them.
    split: which; no other name is special.
    classes: names of the classes; None: those of the archive, else the labels' numbers.
  Raises:
    FileNotFoundError: nothing at `path`.
    ValueError: unknown split (the nearest is named), arrays of another dtype or shape, an archive that is damaged,
      labels that are none of the classes.
  """
  root = Path(path)
  if not root.exists():
    raise FileNotFoundError(f'no file or folder {path}')
  if root.is_dir():
    known(f'split of {path}', split, sorted(p.stem for p in root.glob('*.npz')))
    root, prefix = root / f'{split}.npz', ''
  else:
    prefix = f'{split}_'
  try:
    with regular(root) as file, zipfile.ZipFile(file) as archive:
      checksums = {entry.filename.removesuffix('.npy'): entry.CRC for entry in archive.infolist()}
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f'{root} is not an .npz archive of NumPy: {error}') from error
  if prefix:
    known(f'split of {path}', split, sorted(k.removesuffix('_image') for k in checksums if k.endswith('_image')))
  elif 'image' not in checksums:
    raise ValueError(f"{root}: wanted an array 'image', got {', '.join(checksums)}")
  label = _array(root, f'{prefix}label') if f'{prefix}label' in checksums else None
  if label is not None and classes is None and 'classes' in checksums:
    names = _array(root, 'classes')
    if names.ndim != 1:
      raise ValueError(f'{root}: wanted names of classes [k], got the shape {names.shape}')
    classes = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
  image = f'{prefix}image'
  return images(_array(root, image), label, classes, f'{split} of {path}', checksums[image].to_bytes(4, 'little'))


def _array(file: Path, name: str) -> np.ndarray:
  try:
    with np.load(file) as archive:
      return archive[name]
  except Exception as error:  # zlib, zipfile and NumPy raise about ten kinds for damaged files
    raise ValueError(f'{file}: the array {name!r} cannot be read: {error}') from error
