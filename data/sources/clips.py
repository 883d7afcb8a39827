"""Clips of consecutive frames, from folders of images."""
import dataclasses
from pathlib import Path

import numpy as np

from data.encoded import Encoded
from data.sources.folder import folder


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
  """A source of clips over one of frames. A frame that does not decode is replaced by the next one.

  Args:
    sources: (the frames',).
    starts: i64[n], index of each clip's first frame.
    frames, every: of a clip, and how many frames of the video lie between two of them, plus one.
    rows: i64[k] which of the clips, in order; None: all.
  """
  sources: tuple[Encoded, ...]
  starts: np.ndarray
  frames: int
  every: int
  rows: np.ndarray | None = None

  def __len__(self):
    return len(self.starts) if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin} has {len(self)} clips, got index {i}')
    row = {k: v[0] for k, v in self.batch(np.array([i % len(self)])).items()}
    return row | {'index': int(row['index'])}

  @property
  def images(self) -> Encoded:
    """The source of the frames."""
    return self.sources[0]

  @property
  def origin(self) -> str:
    """Words for messages."""
    return f'clips of {self.images.origin}'

  @property
  def classes(self):
    """Names of the classes, or None."""
    return self.images.classes

  @property
  def shape(self) -> tuple[int, ...]:
    """(t, h, w, c) of every clip."""
    return (self.frames, *self.images.shape)

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    labels = self.images.labels
    return labels if labels is None else labels[self.starts if self.rows is None else self.starts[self.rows]]

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'image': u8[b, t, h, w, c], 'label': i32[b], 'index': i32[b]}."""
    rows = np.asarray(indices) if self.rows is None else self.rows[indices]
    frames = self.starts[rows][:, None] + self.every * np.arange(self.frames)  # [b, t]
    found = self.images.batch(frames.reshape(-1))
    batch = {'image': found['image'].reshape(*frames.shape, *self.images.shape), 'index': rows.astype(np.int32)}
    labels = self.images.labels
    return batch if labels is None else batch | {'label': labels[self.starts[rows]]}

  def take(self, indices: np.ndarray) -> 'Clips':
    """The source of these positions; `index` stays that of all clips."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Clips':
    """The source without labels and classes."""
    return dataclasses.replace(self, sources=(self.images.unlabeled(),))


def clips(*, path: str, split: str | None = None, size: int, channels: int = 3, frames: int, every: int) -> Clips:
  """Clips of videos that lie as folders of frames: a folder in which images lie is a video, in the order of its files.

  A video of m frames gives m // (frames * every) clips, one after the other. Labels are those of `folder`.

  Args:
    path, split, size, channels: as for `folder`.
    frames, every: of a clip; 16 and 4 in arXiv:2203.12602v3 for Kinetics: every fourth of 64 frames.
  Raises:
    FileNotFoundError, ValueError: as `folder`; frames or every below 1; videos that are too short (counted).
  """
  images = folder(path=path, split=split, size=size, channels=channels)
  if frames < 1 or every < 1:
    raise ValueError(f'clips want at least 1 frame, every 1; got frames={frames}, every={every}')
  videos = [str(Path(images.reader.file(i)).parent) for i in range(len(images))]
  _, first, count = np.unique(videos, return_index=True, return_counts=True)
  if (short := np.flatnonzero(count < frames * every)).size:
    raise ValueError(f'{len(short)} of {len(first)} videos have fewer than {frames} x {every} frames, such as '
                     f'{videos[first[short[0]]]} with {count[short[0]]}')
  starts = np.concatenate([begin + frames * every * np.arange(n // (frames * every))
                           for begin, n in sorted(zip(first, count, strict=True))])
  return Clips((images,), starts, frames, every)
