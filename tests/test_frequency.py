"""The low-frequency crop: the twin, limits of the paper, and the weakened RandAugment."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.views.ops.frequency import fourier_crop
from pretrain.views.ops.randaugment import POOL, weakened
from pretrain.views.supervised import supervised
from tests.cases import raw
from tests.checks import assert_close
from tests.reference import fourier_crop as twin


def images(*shape: int):
  return np.random.default_rng(sum(shape)).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize(('h', 'w', 'size'), [(6, 6, 4), (7, 7, 4), (8, 6, 5), (5, 7, 3), (6, 6, 1), (8, 8, 2)])
def test_it_is_the_twins(h, w, size):
  x = images(2, 3, h, w)
  got = fourier_crop(x, size)
  assert got.shape == (2, 3, size, size) and got.dtype == jnp.float32
  for one, wanted in zip(got, x, strict=True):
    assert_close(np.moveaxis(one, 0, -1), twin.fourier_crop(np.moveaxis(wanted, 0, -1), size))
  assert_close(got.mean((-2, -1)), x.mean((-2, -1)))  # the mean intensity stays


def test_a_point_by_hand():
  x = np.array([[1., 2.], [3., 4.]], np.float32)
  assert_close(fourier_crop(x, 1), [[2.5]])
  stripes = np.tile(np.array([1., 0.], np.float32), (4, 2))  # the highest frequency, which 2 of 4 pixels do not hold
  assert_close(fourier_crop(stripes, 2), np.full((2, 2), 0.5))


def test_the_whole_spectrum_is_the_image_and_a_smooth_one_is_sampled():
  x = images(2, 8, 8)
  np.testing.assert_array_equal(fourier_crop(x, 8), x)
  assert_close(fourier_crop(images(2, 9, 9), 9), images(2, 9, 9))
  n, size = 12, 6
  wave = lambda at: 0.5 + 0.3 * np.cos(2 * np.pi * 2 * at[:, None]) * np.sin(2 * np.pi * at) + 0.1 * np.cos(
      2 * np.pi * (at[:, None] - 2 * at))  # frequencies below size / 2
  assert_close(fourier_crop(wave(np.arange(n) / n).astype(np.float32), size), wave(np.arange(size) / size), atol=1e-5)


@pytest.mark.parametrize('size', [0, 9, -1])
def test_a_bandwidth_that_the_view_does_not_have_is_refused(size):
  with pytest.raises(ValueError, match=f'bandwidth of 1 to 8.*got {size}'):
    fourier_crop(images(1, 8, 8), size)


def test_views_of_low_frequencies_are_those_of_the_view():
  batch = {k: jnp.asarray(v) for k, v in raw(0).items()}
  whole, low = (supervised(size=8, scale=(0.5, 1.), bandwidth=b)(batch, jax.random.key(0))['image'] for b in (None, 4))
  assert low.shape == (*whole.shape[:1], 4, 4, 1)
  assert_close(low[..., 0], fourier_crop(whole[..., 0], 4))


def test_magnitude_weakens_every_operation_towards_what_changes_least():
  place = jnp.array([0., 0.3, 0.999])
  for name in POOL:
    chosen = jnp.full(3, POOL.index(name))
    weak = 0.5 if name in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY') else 1.
    assert_close(weakened(chosen, place, 0.), np.full(3, weak))
    assert_close(weakened(chosen, place, 1.), place)
    assert_close(weakened(chosen, place, 0.5), (place + weak) / 2)
  batch = {k: jnp.asarray(v) for k, v in raw(0).items()}
  strength = [np.abs(supervised(size=8, pad=0, flip=0., operations=2, magnitude=m)(batch, jax.random.key(0))['image']
                     - supervised(size=8, pad=0, flip=0.)(batch, jax.random.key(0))['image']).mean() for m in (0.1, 1.)]
  assert strength[0] < strength[1]
