"""Clips: sources and views of them, cubes, masks of tubes, and what VideoMAE is with one frame."""
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.loader import loader
from data.sources.clips import clips
from pretrain.frontends.image import patchify, sincos
from pretrain.frontends.video import positions, tubelets
from pretrain.method.masks import random_mask, tube_mask
from pretrain.models.functional import functional
from pretrain.models.vit import vit
from pretrain.views.videomae import videomae as views
from tests.checks import assert_close
from tests.reference import videomae as twin

pytestmark = pytest.mark.suite('videomae')

KEY = jax.random.key(5)
TINY = dict(image=8, patch=4, width=16, depth=1, heads=2, mlp=16)


def video(seed: int, *shape: int):
  return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def test_cubes_are_those_of_loops():
  x = video(0, 2, 4, 8, 12, 3)
  got = np.asarray(tubelets(jnp.asarray(x), 4, 2))
  assert got.shape == (2, 2 * 2 * 3, 2 * 4 * 4 * 3)
  for row, clip in zip(got, x, strict=True):
    assert_close(row, np.array([cube.reshape(-1) for cube in twin.cubes(clip, 4, 2)]))
  np.testing.assert_array_equal(tubelets(x[:, :1], 4, 1), patchify(x[:, 0], 4))
  with pytest.raises(ValueError, match='cubes of 3 divide, got 4; the nearest is 3'):
    tubelets(x, 4, 3)


def test_a_tube_is_hidden_at_all_times():
  index, grid = np.arange(300), (4, 5, 6)
  visible, mask = map(np.asarray, jax.jit(lambda i: tube_mask(KEY, i, grid, 0.9))(index))
  by_time = mask.reshape(300, 4, 30)
  assert (by_time == by_time[:, :1]).all() and (by_time.sum(-1) == int(30 * 0.9)).all()
  assert visible.shape == (300, 4 * 3) and not np.take_along_axis(mask, visible, 1).any()
  assert (np.sort(visible.reshape(300, 4, 3), -1) // 30 == np.arange(4)[:, None]).all()
  assert len({row.tobytes() for row in mask}) > 270  # of 4,060
  np.testing.assert_array_equal(np.asarray(tube_mask(KEY, index[::-1], grid, 0.9)[1])[::-1], mask)
  for a, b in zip(tube_mask(KEY, index, (1, 5, 6), 0.5), random_mask(KEY, index, 30, 0.5), strict=True):
    np.testing.assert_array_equal(a, b)  # of one frame
  for ratio in (0.0, 1.0):
    with pytest.raises(ValueError, match='mask_ratio'):
      tube_mask(KEY, index, grid, ratio)


def test_positions_of_a_clip_differ_and_those_of_one_frame_are_the_image_s():
  made = positions((3, 4, 5), 16)
  assert made.shape == (60, 16) and len(np.unique(made.round(5), axis=0)) == 60
  assert_close(made[7, [0, 8]], [np.sin(7), np.cos(7)])
  np.testing.assert_array_equal(positions((1, 4, 5), 16), sincos((4, 5), 16))


def test_an_image_is_a_clip_in_which_nothing_moves():
  net = functional(vit(**TINY, channels=1, frames=4, tubelet=2))
  params, mutable = net.init(KEY)
  x = video(3, 2, 8, 8, 1)
  call = lambda images: net.apply(params, mutable, lambda m: m(images))[0]
  assert_close(call(x), call(np.repeat(x[:, None], 4, 1)))
  with pytest.raises(ValueError, match=re.escape('wanted clips with a grid of (2, 2, 2), got (3, 2, 2)')):
    call(np.repeat(x[:, None], 6, 1))
  with pytest.raises(ValueError, match='a tubelet divides'):
    vit(**TINY, channels=1, frames=4, tubelet=3)


def raw(image) -> dict:
  return {'image': image, 'index': np.arange(len(image)), 'epoch': np.zeros(len(image), np.int32)}


def test_views_crop_a_clip_once_and_move_over_a_still_image():
  rng = np.random.default_rng(0)
  still = rng.integers(0, 256, (3, 12, 12, 3), np.uint8)
  clip = views(size=8, scale=(0.3, 0.6))(raw(np.repeat(still[:, None], 4, 1)), KEY)['video']
  assert clip.shape == (3, 4, 8, 8, 3)
  np.testing.assert_array_equal(clip, np.repeat(clip[:, :1], 4, 1), err_msg='the same crop of all frames')
  moving = views(size=8, scale=(0.3, 0.6), frames=4)(raw(still), KEY)['video']
  assert moving.shape == (3, 4, 8, 8, 3) and moving.min() >= 0 and moving.max() <= 1
  assert (np.abs(np.diff(moving, axis=1)).max((2, 3, 4)) > 0.01).any(1).all()
  whole = views(size=12, scale=(1.0, 1.0), ratio=(1.0, 1.0), frames=2)(raw(still), KEY)['video']
  assert_close(whole, np.repeat(still[:, None], 2, 1) / 255)
  for image, frames in ((still, None), (still[:, None], 4)):
    with pytest.raises(ValueError, match='wanted clips'):
      views(size=8, scale=(0.3, 0.6), frames=frames)(raw(image), KEY)


def test_clips_are_frames_of_one_folder_in_order(tmp_path):
  for v, (name, count) in enumerate((('a/one', 7), ('a/two', 4), ('b/three', 9))):
    (tmp_path / name).mkdir(parents=True)
    for f in range(count):
      Image.fromarray(np.full((6, 6), 50 * v + f, np.uint8)).save(tmp_path / name / f'{f:03d}.png')
  source = clips(path=str(tmp_path), size=6, channels=1, frames=2, every=2)
  assert len(source) == 1 + 1 + 2 and source.shape == (2, 6, 6, 1) and source.classes == ('a', 'b')
  batch = source.batch(np.array([3, 0, 1]))
  assert batch['image'].shape == (3, 2, 6, 6, 1) and batch['image'].dtype == np.uint8
  assert batch['image'][:, :, 0, 0, 0].tolist() == [[104, 106], [0, 2], [50, 52]]
  assert batch['label'].tolist() == [1, 0, 0] and batch['index'].tolist() == [3, 0, 1]
  part = source.take(np.array([2, 3])).unlabeled()
  assert part.labels is None and 'label' not in part.batch(np.array([0])) and part[0]['index'] == 2
  assert source.labels.tolist() == [0, 0, 1, 1]
  with loader(source, batch=4, seed=0) as batches:
    assert sorted(next(batches)['index'].tolist()) == [0, 1, 2, 3]
  with pytest.raises(ValueError, match=r'1 of 3 videos have fewer than 3 x 2 frames, such as .*two with 4'):
    clips(path=str(tmp_path), size=6, channels=1, frames=3, every=2)
