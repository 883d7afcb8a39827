"""Kinds of input: the record of each agrees with its sources and with plans, and a new kind is one new file."""
import json
import math
import re

import jax
import numpy as np
import pytest
from PIL import Image

import data.sources
import pretrain.objectives
from data.loader import loader
from data.sources.clips import clips
from data.sources.fashion_mnist import fashion_mnist
from data.sources.labeled_text import labeled_text
from data.sources.table import table
from pretrain import config as configs
from pretrain import frontends
from pretrain.frontends import image, video
from pretrain.frontends import table as tables
from pretrain.frontends import text as texts
from pretrain.machine import sharding
from pretrain.method.masked_autoencoder import masked_autoencoder
from pretrain.method.masks import random_mask
from pretrain.models.vit import vit
from pretrain.objectives.mae import mae, pixels_of
from pretrain.plan import plan as plans
from pretrain.train import train
from tests.checks import assert_close
from tests.tiny import get_config

pytestmark = pytest.mark.suite('frontends')

KEY = jax.random.key(5)
VIT = dict(name='vit', channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)


def videos(path):
  """Two classes of 12 videos of four frames, 12 x 6 pixels."""
  rng = np.random.default_rng(0)
  for i in range(24):
    (folder := path / f'{"ab"[i % 2]}/{i:02d}').mkdir(parents=True)
    for frame in range(4):
      pixels = rng.integers(0, 128, (6, 12), np.uint8) + np.uint8(100 * (i % 2))
      Image.fromarray(pixels).save(folder / f'{frame}.png')
  return dict(path=str(path), size=8, channels=1, frames=4, every=1)


def sentences(path):
  (file := path / 'set.jsonl').write_text('\n'.join(json.dumps(dict(text=t, label=t[0])) for t in ('yes', 'no', 'oh')))
  return dict(path=str(file), tokenizer='bytes', length=8)


# the source, its options, the backbone that tells the shape where the source does not, the width of the baseline
KINDS = {
    'image': (fashion_mnist, lambda _: dict(split='test'), {}, 784),
    'video': (clips, videos, {}, 4 * 8 * 8),
    'text': (labeled_text, sentences, {}, 260),
    'table': (table, lambda _: dict(path='breast_cancer', split='train'), dict(numeric=30), 30),
}


def test_the_files_are_the_list():
  assert frontends.modalities() == {'image': image.MODALITY, 'video': video.MODALITY, 'text': texts.MODALITY,
                                    'table': tables.MODALITY}
  assert KINDS.keys() == frontends.modalities().keys()


@pytest.mark.parametrize('name', KINDS)
def test_a_record_is_that_of_a_source(name, tmp_path):
  open_, options, _, width = KINDS[name]
  source, kind = open_(**options(tmp_path)), frontends.modalities()[name]
  with loader(source, batch=3, seed=0) as batches:
    batch = next(batches)
  assert frontends.of_source(source) is kind and frontends.of(batch) is kind and frontends.found(batch) == [kind]
  raw = batch[kind.key]
  assert raw.dtype == kind.dtype and raw.shape == (3, *source.shape) and len(kind.dims.split()) == raw.ndim - 1
  seen = jax.jit(kind.view(None))(raw)
  assert seen.shape == raw.shape and kind.view(None) is kind.view(None) and kind.view(6) is kind.view(6)
  assert_close(seen, raw / (255 if kind.dtype is np.uint8 else 1))
  (_, baseline), = kind.baselines(source).items()
  features = np.asarray(baseline(seen))
  assert features.shape == (3, width) and np.isfinite(features).all() and np.ptp(features, 0).max() > 0
  if kind.pictures:
    drawn = kind.pictures(raw)
    np.testing.assert_array_equal(drawn, raw if name == 'video' else raw[:, None])
    assert kind.pictures(batch['label']) is None


@pytest.mark.parametrize('name', KINDS)
def test_a_plan_has_the_shapes_of_a_source_that_is_not_here(name, tmp_path, monkeypatch):
  _, options, backbone, _ = KINDS[name]
  spec = dict(name=KINDS[name][0].__name__, **options(tmp_path))
  config = dict(batch=4, source=spec, backbone=backbone, unlabeled=None, labels=None, subset=None, steps=3)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  here, *_ = plans.batches(config, mesh, None)
  config['source'] = spec | (dict(size=28, channels=1) if name == 'image' else {})  # of a folder of such images

  def absent(*_):
    raise FileNotFoundError('no data')

  monkeypatch.setattr(plans.configs, 'build', absent)
  away, *_ = plans.batches(config, mesh, None)
  lost = {'label'} if name == 'text' else set()  # labeled texts are rare
  assert here.keys() - away.keys() == lost and all(away[key] == here[key] for key in away)
  config['source'] = dict(name='folder', path='photos')
  with pytest.raises(configs.ConfigError, match='to plan without it wants config.source.size'):
    plans.batches(config, mesh, None)


def test_a_text_beside_an_image_is_not_what_is_encoded():
  batch = {'image': np.zeros((2, 4, 4, 1), np.uint8), 'index': np.arange(2), 'tokens': np.zeros((2, 5), np.int32)}
  assert frontends.of(batch) is image.MODALITY and frontends.found(batch) == [image.MODALITY, texts.MODALITY]
  assert frontends.found({'labeled': batch, 'unlabeled': batch}) == []
  with pytest.raises(ValueError, match=re.escape("'row' [b f]") + '.*got ' + re.escape("'index' [2]")):
    frontends.of({'index': np.arange(2)})


def test_clips_are_seen_frame_by_frame():
  x = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 12, 1), np.uint8)
  for side in (None, 6):
    np.testing.assert_array_equal(video.MODALITY.view(side)(x),
                                  np.stack([image.MODALITY.view(side)(x[:, t]) for t in range(3)], 1))
  assert video.MODALITY.side((3, 9, 12, 1)) == 9 == image.MODALITY.side((9, 12, 1))


def test_front_ends_of_a_vit():
  still = image.image(size=8, channels=1, patch=4)
  assert still.grid == still.grid_of((2, 8, 8, 1)) == (2, 2) and still.size == 16
  moving = video.video(size=8, frames=6, tubelet=3, channels=1, patch=4)
  assert moving.grid == moving.grid_of((5, 6, 8, 8, 1)) == (2, 2, 2) and moving.size == 48
  named = vit(frontend=dict(name='image', size=8, channels=1, patch=4), width=16, depth=1, heads=2, mlp=16)
  flat = vit(image=8, **{key: value for key, value in VIT.items() if key != 'name'})
  a, b = (jax.jit(lambda build=build: mae(build, mask_ratio=0.5, standardize=True, decoder_width=16, decoder_depth=1,
                                          decoder_heads=2).init(KEY))() for build in (named, flat))
  jax.tree.map(np.testing.assert_array_equal, a, b)
  sizes = dict(width=16, depth=1, heads=2, mlp=16)
  for given, words in (
      (dict(frontend=dict(name='imag', size=8)), "vit.frontend.name: no 'imag'.*nearest: 'image'"),
      (dict(frontend=dict(name='image', size=8)), r"vit.frontend: image needs \['channels', 'patch'\]"),
      (dict(frontend=dict(name='image'), image=8, patch=4), 'wanted frontend alone, or patch, image of'),
      (dict(channels=1, patch=4), 'wanted image, from'), (dict(image=8, patch=3, channels=1), 'nearest')):
    with pytest.raises(ValueError, match=words):
      vit(**given, **sizes)


def test_of_one_frame_the_method_is_that_of_images():
  """Bit for bit: masked autoencoders of images and of clips differ by their front end alone."""
  sizes = {key: value for key, value in VIT.items() if key != 'name'}
  x, index = np.random.default_rng(1).uniform(size=(3, 8, 8, 1)).astype(np.float32), np.arange(3)
  still = mae(vit(image=8, **sizes), mask_ratio=0.5, standardize=True, decoder_width=16, decoder_depth=1,
              decoder_heads=2)
  moving = masked_autoencoder(
      video.MODALITY, vit(image=8, frames=1, **sizes), width=16, depth=1, heads=2,
      hide=lambda key, index, grid: random_mask(key, index, math.prod(grid), 0.5),
      target=lambda x, cells: pixels_of(x, cells, True))
  assert moving.batch == {'video': 'b t h w c', 'index': 'b'} and still.batch == {'image': 'b h w c', 'index': 'b'}
  params, memory = still.init(KEY)
  jax.tree.map(np.testing.assert_array_equal, moving.init(KEY), (params, memory))
  gradient = lambda made, **batch: jax.jit(jax.value_and_grad(made.loss, has_aux=True), static_argnums=4)(
      params, memory, batch | {'index': index}, KEY, 0)
  ((wanted, _), slopes), ((got, _), others) = gradient(still, image=x), gradient(moving, video=x[:, None])
  assert got == wanted
  jax.tree.map(np.testing.assert_array_equal, others, slopes)


def test_clips_are_evaluated_and_drawn(tmp_path):
  source = dict(name='clips', **videos(tmp_path / 'videos'))
  config = get_config().to_dict() | dict(
      source=source, steps=2, batch=8, views=dict(name='videomae', size=8, scale=(0.5, 1.)),
      backbone=VIT | dict(image=8, frames=4, tubelet=2),
      objective=dict(name='videomae', mask_ratio=0.5, decoder_width=16, decoder_depth=1, decoder_heads=2,
                     standardize=True),
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=1),
      evaluate=dict(train=source, test=source, baselines=False))
  assert train(config, tmp_path / 'run', quiet=True) == 0
  (row,) = json.loads((tmp_path / 'run/evaluation.json').read_text())['rows']
  assert row['width'] == 16 and row['knn'] > 0.9  # the classes differ in brightness
  drawn = np.load(tmp_path / 'run/report_data.npz')
  assert drawn['originals'].shape == (8, 8, 8, 1) and drawn['views_0'].shape == (8, 4, 8, 8, 1)
  assert drawn['queries'].shape == (8, 8, 8, 1) and drawn['neighbors'].shape == (8, 8, 8, 8, 1)
  assert 'Augmented views' in (tmp_path / 'run/report.html').read_text()


# A kind that the project does not have: one file of its front end, beside a source and a paper that are of it.
SIGNAL = '''
"""Signals."""
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from pretrain.config import Count
from pretrain.frontends import Cells, Modality, flattened


def pictures(x):
  return (255 * (x[:, None, None] > 0) * np.ones((4, 1, 1))).astype(np.uint8) if x.ndim == 3 else None


MODALITY = Modality(key='signal', dims='l c', dtype=np.float32, reads='signal', pictures=pictures,
                    baselines=lambda _: {'raw samples': Partial(flattened)},
                    planned=lambda source, _: (source['samples'], 2) if 'samples' in source else None)


def signal(*, samples: Count, window: Count) -> Cells:
  def resample(table, target):
    return table[:target[0]]
  return Cells((samples // window,), 2 * window, lambda x: x - x.mean((1, 2), keepdims=True),
               lambda shape: (shape[1] // window,), lambda x: x.reshape(len(x), -1, 2 * window),
               lambda grid, width: np.sin(np.outer(np.arange(grid[0]), np.arange(1, width + 1))).astype(np.float32),
               resample)
'''
SIGNALS = '''
"""Noise around one of two waves."""
from pathlib import Path

import numpy as np

from data.source import Arrays, Source
from pretrain.config import Count


def signals(*, path: str, samples: Count) -> Source:
  label = np.frombuffer(Path(path).read_bytes(), np.uint8) % 2
  wave = np.sin(np.arange(samples) / 2)[:, None] * np.ones(2)
  noise = np.random.default_rng(0).normal(size=(len(label), samples, 2))
  x = (label[:, None, None] * wave + 0.1 * noise).astype(np.float32)
  return Source(Arrays({'signal': x}, path), path, {'label': label.astype(np.int32)})
'''
PAPER = '''
"""Masked autoencoders of signals."""
from pretrain.config import ProperPart
from pretrain.frontends import signal
from pretrain.method.masked_autoencoder import masked_autoencoder
from pretrain.method.masks import random_mask


def signal_mae(backbone, *, mask_ratio: ProperPart):
  return masked_autoencoder(
      signal.MODALITY, backbone, hide=lambda key, index, grid: random_mask(key, index, grid[0], mask_ratio),
      target=lambda x, cells: cells.cut(x), width=16, depth=1, heads=2)
'''


def test_a_new_kind_of_input_is_one_file(tmp_path, monkeypatch):
  for package, name, content in ((frontends, 'signal', SIGNAL), (data.sources, 'signals', SIGNALS),
                                 (pretrain.objectives, 'signal_mae', PAPER)):
    (folder := tmp_path / name).mkdir()
    (folder / f'{name}.py').write_text(content)
    monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])
  (tmp_path / 'set').write_bytes(bytes(range(48)))
  source = dict(name='signals', path=str(tmp_path / 'set'), samples=12)
  config = get_config().to_dict() | dict(
      source=source, views=None, batch=8, steps=2, objective=dict(name='signal_mae', mask_ratio=0.5),
      backbone=dict(name='vit', frontend=dict(name='signal', samples=12, window=3), width=16, depth=1, heads=2, mlp=16),
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=1), evaluate=dict(train=source, test=source))
  assert train(config, tmp_path / 'run', quiet=True) == 0
  rows = json.loads((tmp_path / 'run/evaluation.json').read_text())['rows']
  assert [(row['features'], row['width']) for row in rows] == [
      ('raw samples', 24), ('random backbone', 16), ('pretrained backbone', 16)]
  drawn = np.load(tmp_path / 'run/report_data.npz')
  assert drawn['queries'].shape == (8, 4, 12, 2) and drawn['views_0'].shape == (8, 1, 4, 12, 2)
  assert 'Nearest neighbours' in (tmp_path / 'run/report.html').read_text()
  here = plans.plan(config, 'v5e:2x2', free=True)
  (tmp_path / 'set').unlink()
  away = plans.plan(config, 'v5e:2x2', free=True, examples=48)
  assert here == away and away['feed']['bytes_per_example'] == 12 * 2 * 4 and away['flops_per_step'] > 0
