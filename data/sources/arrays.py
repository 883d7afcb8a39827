"""Images in memory, from NumPy archives or arrays."""
import dataclasses
from pathlib import Path

import numpy as np

from data.names import known
from data.text import Captions


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
  """A source over arrays; a batch is one gather.

  Args:
    image: u8[n, h, w, c] or u8[n, h, w].
    label: integers [n], or None.
    classes: names of the classes, or None.
    origin: words for messages.
    rows: i64[k] which of the images, in order; None: all.
    captions: texts of all images, or None.
  Raises:
    ValueError: images of another dtype or rank, labels of another length or outside the classes.
  """
  image: np.ndarray
  label: np.ndarray | None = None
  classes: tuple[str, ...] | None = None
  origin: str = 'arrays'
  rows: np.ndarray | None = None
  captions: Captions | None = None

  def __post_init__(self):
    image = np.asarray(self.image)
    if image.dtype != np.uint8 or image.ndim not in (3, 4):
      raise ValueError(f'{self.origin}: wanted images u8[n, h, w] or u8[n, h, w, c], got {image.dtype}{image.shape}')
    object.__setattr__(self, 'image', image if image.ndim == 4 else image[..., None])
    if self.label is None:
      return
    label = np.asarray(self.label)
    if label.shape != image.shape[:1] or not np.issubdtype(label.dtype, np.integer):
      raise ValueError(f'{self.origin}: wanted integer labels [{len(image)}], got {label.dtype}{label.shape}')
    if self.classes is not None and len(label) and not 0 <= label.min() <= label.max() < len(self.classes):
      raise ValueError(f'{self.origin}: {len(self.classes)} classes, got labels {label.min()}..{label.max()}')
    object.__setattr__(self, 'label', label.astype(np.int32))

  def __len__(self):
    return len(self.image) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} images, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @property
  def shape(self) -> tuple[int, int, int]:
    """(h, w, c) of every image."""
    return self.image.shape[1:]

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    return self.label if self.label is None or self.rows is None else self.label[self.rows]

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'image': u8[b, h, w, c], 'label': i32[b], 'index': i32[b]}, with captions 'tokens' too."""
    rows = np.asarray(indices) if self.rows is None else self.rows[indices]
    batch = {'image': self.image[rows], 'index': rows.astype(np.int32)}
    batch |= self.captions.batch(rows) if self.captions else {}
    return batch if self.label is None else batch | {'label': self.label[rows]}

  def take(self, indices: np.ndarray) -> 'Arrays':
    """The source of these positions; `index` stays the row of the whole array."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Arrays':
    """The source without labels, classes and captions, which may say the class."""
    return dataclasses.replace(self, label=None, classes=None, captions=None)


def arrays(*, path: str, split: str) -> Arrays:
  """Images u8[n, h, w(, c)] and labels from NumPy archives, held in memory.

  Args:
    path: an .npz file with arrays `{split}_image` and, if labeled, `{split}_label`; or a folder of `{split}.npz` with
      `image` and, if labeled, `label`. An array `classes` of names may stand beside them.
    split: which; no other name is special.
  Raises:
    FileNotFoundError: nothing at `path`.
    ValueError: unknown split (the nearest is named), arrays of another dtype or shape.
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
    archive = np.load(root)
    keys = archive.files
  except Exception as error:
    raise ValueError(f'{root} is not an .npz archive of NumPy: {error}') from error
  with archive:
    if prefix:
      known(f'split of {path}', split, sorted(k.removesuffix('_image') for k in keys if k.endswith('_image')))
    elif 'image' not in keys:
      raise ValueError(f"{root}: wanted an array 'image', got {', '.join(keys)}")
    label = archive[f'{prefix}label'] if f'{prefix}label' in keys else None
    classes = tuple(map(str, archive['classes'])) if 'classes' in keys and label is not None else None
    return Arrays(archive[f'{prefix}image'], label, classes, f'{split} of {path}')
