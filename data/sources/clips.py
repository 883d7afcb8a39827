"""Clips of consecutive frames, from folders of images."""
import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from data.encoded import Encoded, digest, encoded
from data.files import natural
from data.source import Source
from data.sources.folder import files_of
from pretrain.config import Count


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
  """`data.source.Examples` over frames; a clip one of whose frames does not decode is broken.

  Args:
    images: the frames.
    starts: i64[n], index of each clip's first frame.
    frames, every: of a clip, and how many frames of the video lie between two of them, plus one.
  """
  images: Encoded
  starts: np.ndarray
  frames: int
  every: int
  decodes = True

  def __len__(self):
    return len(self.starts)

  @property
  def shape(self) -> tuple[int, ...]:
    """(t, h, w, c) of every clip."""
    return (self.frames, *self.images.shape)

  def places(self, index: np.ndarray) -> np.ndarray:
    """Indices of the frames, i64[b, t]."""
    return self.starts[index][:, None] + self.every * np.arange(self.frames)

  def read(self, index):
    found, broken = self.images.read(self.places(index).reshape(-1))
    image = found['image'].reshape(len(index), *self.shape)
    clips = {place // self.frames: why for place, why in broken.items()}
    image[list(clips)] = 0
    return {'image': image}, clips

  def file(self, i):
    """The first frame."""
    return self.images.file(int(self.starts[i]))

  def names(self):
    frames = (self.images.names() or b'').split(b'\0')
    return b'\0'.join(frames[start] for start in self.starts)

  def digest(self, i):
    return digest(b''.join(self.images.digest(int(frame)) for frame in self.places(np.array([i]))[0]))

  def whole(self):
    return digest(self.starts.tobytes())


def by_video(name: str) -> tuple[list, list]:
  """A key that keeps the frames of a folder together, also where another folder lies in it."""
  folder, _, file = name.rpartition('/')
  return natural(folder), natural(file)


def clips(*, path: str, split: str | None = None, size: Count, channels: Literal[1, 3] = 3, frames: Count, every: Count,
          decoding: dict | None = None) -> Source:
  """Clips of videos that lie as folders of frames: a folder in which images lie is a video, in the order of its files.

  frame_2 comes before frame_10. A video of m frames gives m // (frames * every) clips, one after the other. Labels are
  those of `folder`.

  Args:
    path, split, size, channels, decoding: as for `folder`.
    frames, every: of a clip; 16 and 4 in arXiv:2203.12602v3 for Kinetics: every fourth of 64 frames.
  Raises:
    FileNotFoundError, ValueError: as `folder`; videos that are too short (counted).
  """
  images = files_of(Path(path), split, size, channels, decoding, by_video)
  videos = [str(Path(images.examples.file(i)).parent) for i in range(len(images))]
  _, first, count = np.unique(videos, return_index=True, return_counts=True)
  if (short := np.flatnonzero(count < frames * every)).size:
    raise ValueError(f'{len(short)} of {len(first)} videos have fewer than {frames} x {every} frames, such as '
                     f'{videos[first[short[0]]]} with {count[short[0]]}')
  starts = np.concatenate([begin + frames * every * np.arange(n // (frames * every))
                           for begin, n in sorted(zip(first, count, strict=True))])
  beside = {'label': images.labels[starts]} if images.labels is not None else {}
  return Source(Clips(encoded(images), starts, frames, every), f'clips of {images.origin}', beside, images.classes,
                notes=images.notes)
