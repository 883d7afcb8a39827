"""What the shared suite runs each paper with: the `CASE` of its file in tests/papers, made of what is here."""
import functools
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.text import BEGIN, END, PAD, SPECIAL
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.objectives.mae import mae
from pretrain.objectives.simclr import simclr
from pretrain.views.dino import dino as dino_views
from pretrain.views.mae import mae as mae_views
from pretrain.views.simclr import simclr as simclr_views
from pretrain.views.together import together

B, SIZE, CLASSES = 16, 8, 4
BACKBONE = vit(image=SIZE, channels=1, patch=4, width=64, depth=1, heads=2, mlp=128)  # kernels large enough for fsdp
TEACHER = vit(image=SIZE, channels=1, patch=4, width=32, depth=2, heads=2, mlp=64)  # a frozen one
WORDS, LENGTH = 96, 12
TEXT = text(vocabulary=WORDS, length=LENGTH, width=32, depth=1, heads=2, mlp=64, causal=True, pool='last')


def raw(seed: int, labels: bool = True) -> dict[str, np.ndarray]:
  """A raw batch; images have structure, so that no view is constant."""
  rng = np.random.default_rng(seed)
  batch = {'image': rng.integers(0, 256, (B, SIZE, SIZE, 1), np.uint8),
           'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}
  return batch | ({'label': rng.integers(0, CLASSES, B, np.int32)} if labels else {})


def streams(seed: int) -> dict:
  return {'labeled': raw(seed), 'unlabeled': raw(seed + 1, labels=False)}


def words(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of texts, full of words."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(SPECIAL, WORDS, (B, LENGTH), np.int32)
  tokens[:, 0] = BEGIN
  return {'tokens': tokens, 'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}


def pairs(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of images with texts of several lengths."""
  batch = raw(seed, labels=False) | {'tokens': words(seed)['tokens']}
  for row, end in zip(batch['tokens'], np.arange(B) % (LENGTH - 3) + 2, strict=True):
    row[end], row[end + 1:] = END, PAD
  return batch


def rows(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of a table: six columns of numbers, two of categories."""
  rng = np.random.default_rng(seed)
  codes = np.stack([rng.integers(0, n, B) for n in (4, 3)], 1)
  return {'row': np.concatenate([rng.normal(size=(B, 6)), codes], 1).astype(np.float32),
          'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}


def unchanged(batch, key):
  del key
  return batch


def with_probabilities(seed: int) -> dict[str, np.ndarray]:
  """A raw batch with a teacher's probabilities instead of labels."""
  probabilities = np.random.default_rng(seed).dirichlet(np.ones(CLASSES), B).astype(np.float32)
  return raw(seed, labels=False) | {'probabilities': probabilities}


def either(views):
  """Views of two streams that take a single one for both."""
  return lambda batch, key: views(batch if 'unlabeled' in batch else {'labeled': batch, 'unlabeled': batch}, key)


class Case(NamedTuple):
  """A paper in the shared suite.

  kwargs: of its objective.
  views: views(batch, key) -> batch.
  batch: seed -> raw batch.
  backbone: build(rngs) -> module of width 64.
  input: the key of the raw batch that `encode` takes.
  turn: steps until every parameter had a gradient.
  draws: whether the loss draws (masks, rotations, mixtures): its value depends on the step and the seed.
  """
  kwargs: dict
  views: Any
  batch: Any = raw
  backbone: Any = BACKBONE
  input: str = 'image'
  turn: int = 1
  draws: bool = False


@functools.cache
def of_papers() -> dict[str, Case]:
  """The cases of all papers that are objectives, by name."""
  files = sorted((Path(__file__).parent / 'papers').glob('test_*.py'))
  modules = {file.stem.removeprefix('test_'): importlib.import_module(f'tests.papers.{file.stem}') for file in files}
  return {name: module.CASE for name, module in modules.items() if hasattr(module, 'CASE')}


CROPS = dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))
PARTS = {'simclr': simclr(BACKBONE, hidden=(64,), dim=16, temperature=0.2),
         'mae': mae(BACKBONE, mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True)}
VIEWS_OF_PARTS = together(parts={'simclr': simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5),
                                 'mae': mae_views(size=SIZE, scale=(0.2, 1.))})
