"""What the shared suite runs each paper with: the `CASE` of its file in tests/papers, made of what is here."""
import functools
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.text import BEGIN, END, PAD, SPECIAL
from pretrain import config, frontends, objectives
from pretrain.method.objective import Objective
from pretrain.models.layers import SPLIT, Linear, gelu
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.views.dino import dino as dino_views

B, SIZE, CLASSES = 16, 8, 4


class _Small(nnx.Module):

  def __init__(self, rngs: nnx.Rngs):
    self.width, self.dtype = 64, 'float32'
    self.first = Linear(16, 128, rngs=rngs, **SPLIT[0])
    self.last = Linear(128, 64, rngs=rngs, **SPLIT[1])

  def __call__(self, images, *, train: bool = False, key=None):
    del train, key  # the same in both
    b, side, _, c = images.shape
    cells = images.reshape(b, 4, side // 4, 4, side // 4, c).mean((2, 4, 5))
    return self.last(gelu(self.first(8 * cells.reshape(b, 16) - 4)))  # features apart


def small(rngs: nnx.Rngs) -> nnx.Module:
  """What an objective needs of a backbone, and no more: two layers that a mesh splits, quick to compile.

  Images of any side that 4 divides, f32[b, s, s, c] -> features f32[b, 64].
  """
  return _Small(rngs)


BACKBONE = small
VIT = vit(image=SIZE, channels=1, patch=4, width=64, depth=1, heads=2, mlp=128)  # kernels large enough for fsdp
TEACHER = vit(image=SIZE, channels=1, patch=4, width=32, depth=2, heads=2, mlp=64)  # a frozen one
MESHES = {'data=8': dict(data=8), 'data=2 fsdp=4': dict(data=2, fsdp=4), 'fsdp=4 tensor=2': dict(fsdp=4, tensor=2),
          'replica=2 fsdp=2 tensor=2': dict(replica=2, fsdp=2, tensor=2)}
CROPS = dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))
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


def gradient_of(state):
  """What the optimizer's momentum has added up, discounted: after the first step the gradient."""
  return getattr(state.opt_state, 'inner', state.opt_state)[0].trace


def largest_error(got, want) -> float:
  """The largest deviation of a tree, relative to the largest entry of its array (at least 1e-3 of the tree's)."""
  floor = 1e-3 * max(float(np.abs(x).max()) for x in jax.tree.leaves(want))
  each = jax.tree.map(lambda g, w: float(np.abs(g - w).max() / max(np.abs(w).max(), floor)), got, want)
  return max(jax.tree.leaves(each))


def seen(batch: dict):
  """What `encode` takes of a raw batch of one stream: the view that evaluators see, of the size that is stored."""
  modality = frontends.of(batch)
  return jnp.asarray(modality.view(None)(batch[modality.key]))


class Case(NamedTuple):
  """A paper in the shared suite.

  kwargs: of its objective.
  views: views(batch, key) -> batch.
  batch: seed -> raw batch.
  backbone: build(rngs) -> module of width 64.
  turn: steps until every parameter had a gradient.
  draws: whether the loss draws (masks, rotations, mixtures): its value depends on the step and the seed.
  """
  kwargs: dict
  views: Any
  batch: Any = raw
  backbone: Any = BACKBONE
  turn: int = 1
  draws: bool = False


@functools.cache
def of_papers() -> dict[str, Case]:
  """The cases of all papers that are objectives, by name."""
  files = sorted((Path(__file__).parent / 'papers').glob('test_*.py'))
  modules = {file.stem.removeprefix('test_'): importlib.import_module(f'tests.papers.{file.stem}') for file in files}
  return {name: module.CASE for name, module in modules.items() if hasattr(module, 'CASE')}


@functools.cache
def objective(name: str) -> Objective:
  """The objective of a paper's case, of a run of 10 steps over 100 examples."""
  case = of_papers()[name]
  return config.build(objectives, dict(name=name, **case.kwargs), 'test', backbone=case.backbone, steps=10,
                      examples=100)
