"""VideoMAE: arXiv:2203.12602v3, section 3, and the authors' engine_for_pretraining.py.

The whole, with standardised and with plain pixels, and its targets against their twins, points by hand.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.method.masks import tube_mask
from pretrain.models.vit import vit
from pretrain.objectives.mae import mae
from pretrain.objectives.videomae import standardize_cubes, videomae
from pretrain.views.videomae import videomae as videomae_views
from tests import cases
from tests.checks import assert_close, images
from tests.reference import videomae as videomae_twin
from tests.reference.networks import linear, transformer
from tests.twin import Twin, check

B, FRAMES, SIDE, PATCH, TUBELET, RATIO, MEAN, STD = 3, 4, 4, 2, 2, 0.6, (0.4, 0.6), (0.3, 0.2)
TIMES, ROWS = FRAMES // TUBELET, SIDE // PATCH
PLACES = ROWS ** 2


def batch(rng):
  return {'video': rng.uniform(size=(B, FRAMES, SIDE, SIDE, 2)), 'index': rng.permutation(1000)[:B]}


def cubes(videos):
  """[b, frames, h, w, c] -> [b, times * places, pixels, c], by time, then row by row."""
  return np.stack([videos[:, t:t + TUBELET, i:i + PATCH, j:j + PATCH].reshape(len(videos), -1, videos.shape[-1])
                   for t in range(0, FRAMES, TUBELET) for i in range(0, SIDE, PATCH) for j in range(0, SIDE, PATCH)], 1)


def positions(width):
  """get_sinusoid_encoding_table of modeling_finetune.py, but sines first: they do not alternate with cosines here."""
  table = np.zeros((TIMES * PLACES, width))
  for place in range(TIMES * PLACES):
    for i in range(width // 2):
      angle = place / 10_000 ** (2 * i / width)
      table[place, i], table[place, width // 2 + i] = np.sin(angle), np.cos(angle)
  return table


def embed(p, videos):
  pixels = cubes((videos - np.array(MEAN)) / np.array(STD))
  x = linear(p['project'], pixels.reshape(*pixels.shape[:2], -1))
  return x + positions(x.shape[-1])


def encode(p, tokens):
  """A class token of no position first (a deviation)."""
  return transformer(p['trunk'], np.stack([np.concatenate([p['cls'][None], x]) for x in tokens]))[1]


def tubes(noise):
  """Places that are seen, at all times: int(4 * 0.6) = 2 of 4 are hidden, those of the largest noise."""
  return np.argsort(noise, 1)[:, :PLACES - int(PLACES * RATIO)]


def twin(params, stopped, memory, batch, draws, step, standardize=True):
  del stopped, step
  (_, noise), = draws
  tokens, visible = embed(params['backbone'], batch['video']), []
  for places in tubes(noise):
    visible.append([time * PLACES + place for time in range(TIMES) for place in places])
  encoded = encode(params['backbone'], [x[seen] for x, seen in zip(tokens, visible, strict=True)])
  p = params['decoder']
  x = linear(p['embed'], encoded)
  full = np.tile(p['mask_token'], (B, TIMES * PLACES, 1))
  for i, seen in enumerate(visible):
    full[i, seen] = x[i, 1:]
  full = np.concatenate([x[:, :1], full + positions(x.shape[-1])], 1)
  predicted = linear(p['predict'], transformer(p['trunk'], full)[1][:, 1:])
  errors = []
  for i, video in enumerate(cubes(batch['video'])):
    for place, cube in enumerate(video):
      if place not in visible[i]:
        target = cube.copy()
        for c in range(cube.shape[-1] if standardize else 0):
          target[:, c] = (cube[:, c] - cube[:, c].mean()) / (cube[:, c].std(ddof=1) + 1e-6)
        errors.append(np.mean((predicted[i, place] - target.reshape(-1)) ** 2))
  assert len(errors) == B * TIMES * 2
  return np.mean(errors), {}, lambda params: (params, memory)


def repaint(hidden):
  """Other pixels in what is hidden alone, or in what is seen alone."""
  def change(batch, draws, rng):
    (_, noise), = draws
    videos = batch['video'].copy()
    for i, places in enumerate(tubes(noise)):
      for place in range(PLACES):
        if (place not in places) == hidden:
          row, column = place // ROWS * PATCH, place % ROWS * PATCH
          videos[i, :, row:row + PATCH, column:column + PATCH] = rng.uniform(size=(FRAMES, PATCH, PATCH, 2))
    return batch | {'video': videos}

  return change


CASE = cases.Case(dict(mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True),
                  videomae_views(size=cases.SIZE, scale=(0.5, 1.), frames=4), cases.raw,
                  vit(image=cases.SIZE, channels=1, frames=4, tubelet=2, patch=4, width=64, depth=1, heads=2, mlp=128),
                  draws=True)
built = partial(videomae,
                vit(image=SIDE, channels=2, frames=FRAMES, tubelet=TUBELET, patch=PATCH, width=8, depth=2, heads=2,
                    mlp=16, positions='sincos', pool='mean', mean=MEAN, std=STD),
                mask_ratio=RATIO, decoder_width=12, decoder_depth=1, decoder_heads=3)
TWIN = Twin(
    built(standardize=True), batch, twin,
    encode=lambda params, _, x: encode(params['backbone'], embed(params['backbone'], x))[:, 1:].mean(1),
    images=lambda rng: rng.uniform(size=(3, FRAMES, SIDE, SIDE, 2)),
    moves={'video': {'loss'}, 'index': {'loss'}, 'hidden': {'loss'}, 'visible': {'loss'}},
    changes={'hidden': repaint(True), 'visible': repaint(False)})


def test_its_twin():
  check(TWIN)


def test_its_twin_of_plain_pixels():
  check(TWIN._replace(objective=built(standardize=False), twin=partial(twin, standardize=False)))


# --- its targets ------------------------------------------------------------------------------------------------------


def test_standardize_cubes_equals_twin_and_by_hand():
  clip = np.random.default_rng(0).random((4, 6, 6, 3)).astype(np.float32)
  cubes = np.stack([cube.reshape(-1, 3) for cube in videomae_twin.cubes(clip, 3, 2)])[None].astype(np.float32)
  result = jax.jit(standardize_cubes)(cubes)
  assert result.shape == (1, 8, 18, 3) and result.dtype == jnp.float32
  assert_close(np.asarray(result).reshape(8, -1), videomae_twin.targets(clip, 3, 2), atol=1e-5)
  small = np.array([[[[0, 5]], [[1e-3, 5]]]], np.float32).reshape(1, 1, 2, 2)  # deviations sqrt(5e-7) and 0
  side = 5e-4 / (math.sqrt(5e-7) + 1e-6)  # 0.706; under the root 1e-6 would give 0.408
  assert_close(standardize_cubes(small), [[[[-side, 0], [side, 0]]]])


# --- The objective -------------------------------------------------------------------------------------------------

SMALL = dict(image=8, patch=4, width=16, depth=1, heads=2, mlp=16)
DECODER = dict(decoder_width=16, decoder_depth=1, decoder_heads=2)


def test_of_one_frame_videomae_is_mae():
  image = dict(**SMALL, channels=1)
  still = mae(vit(**image), mask_ratio=0.5, standardize=True, **DECODER)
  moving = videomae(vit(**image, frames=1), mask_ratio=0.5, standardize=True, **DECODER)
  params, memory = still.init(jax.random.key(5))
  assert jax.tree.map(jnp.shape, moving.init(jax.random.key(5))[0]) == jax.tree.map(jnp.shape, params)
  x, index = images(1, 3, 8, 8, 1), np.arange(3)
  wanted, _ = still.loss(params, memory, {'image': x, 'index': index}, jax.random.key(5), 0)
  got, _ = moving.loss(params, memory, {'video': x[:, None], 'index': index}, jax.random.key(5), 0)
  assert_close(got, wanted)


@pytest.mark.parametrize('contrast', [1., 1e-3])  # of the faint clip the deviations are small beside the root of 1e-6
def test_the_loss_is_the_error_of_hidden_cubes_by_loops(contrast):
  made = videomae(vit(**SMALL, channels=3, frames=4, tubelet=2), mask_ratio=0.5, standardize=True, **DECODER)
  params, memory = made.init(jax.random.key(5))
  params['decoder']['predict']['kernel'] *= 0.  # it predicts its bias
  params['decoder']['predict']['bias'] += 0.25
  x, index = contrast * images(2, 2, 4, 8, 8, 3), np.arange(2)
  _, mask = tube_mask(jax.random.key(5), index, (2, 2, 2), 0.5)
  errors = [np.mean((0.25 - cube) ** 2) for clip, hidden in zip(x, np.asarray(mask), strict=True)
            for cube, h in zip(videomae_twin.targets(clip, 4, 2), hidden, strict=True) if h]
  assert len(errors) == 2 * 2 * 2
  loss, _ = made.loss(params, memory, {'video': x, 'index': index}, jax.random.key(5), 0)
  assert_close(loss, np.mean(errors), rtol=1e-4)
