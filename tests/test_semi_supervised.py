"""What semi-supervised methods share: alignment, mixtures, rotations, views, and that each average has a test."""
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import objectives
from pretrain.method.semi_supervised import aligned, mix, rotations
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests.checks import assert_close, normal

U, K, KEY = 8, 3, jax.random.key(0)


def test_every_average_is_told_from_others():
  """`check_average` of tests/few_labels.py is called for each classifier that is evaluated by its average."""
  found = [path.stem for path in Path(objectives.__path__[0]).glob('*.py')
           if all(words in path.read_text() for words in ('Average(', 'predict='))]
  papers = Path(__file__).parent / 'papers'
  assert len(found) > 15
  assert [name for name in found if 'check_average(' not in (papers / f'test_{name}.py').read_text()] == []


def test_alignment_over_a_window_of_batches():
  p = jax.nn.softmax(normal(0, 3, U, K))
  none, kept = aligned(p[0], jnp.zeros((0, K)), 0)
  chex.assert_trees_all_equal(none, p[0])
  window = jnp.zeros((2, K))
  for at in range(3):
    got, window = aligned(p[at], window, at)
    average = np.mean([p[i].mean(0) for i in range(max(0, at - 1), at + 1)], 0)
    wanted = p[at] / average
    assert_close(got, wanted / wanted.sum(-1, keepdims=True), rtol=1e-4)
  assert kept.shape == (0, K)


def test_mixup_of_images_and_labels_uses_the_same_shares_and_partners():
  images = jnp.asarray(np.eye(64, dtype=np.float32).reshape(64, 8, 8, 1))  # a row tells which images are in it
  mixed, targets = mix(KEY, images, jnp.eye(64), 0.75)
  assert_close(mixed.reshape(64, 64), targets)
  shares = np.diagonal(targets)
  assert np.all(shares >= 0.5) and len(set(shares.tolist())) > 50
  assert_close(np.asarray(targets).sum(0), np.asarray(shares) + np.asarray(targets).sum(0) - shares)
  assert np.all((np.asarray(targets) > 0).sum(1) <= 2) and np.all((np.asarray(targets) > 0).sum(0) <= 64)
  assert_close(np.asarray(targets).sum(1), np.ones(64))


def test_rotations_are_quarter_turns_of_square_images():
  images = normal(0, 2, 3, 3, 1)
  got = rotations(images)
  for turns in range(4):
    chex.assert_trees_all_equal(got[:, turns], np.stack([np.rot90(image, turns) for image in images]))
  with pytest.raises(ValueError, match='square images, got 3 x 2'):
    rotations(images[:, :, :2])


def test_views_give_several_strong_views_if_asked_and_the_rest_stays():
  rng = np.random.default_rng(1)
  stream = {'image': rng.integers(0, 256, (6, 8, 8, 1), np.uint8), 'index': np.arange(6), 'epoch': np.zeros(6, int)}
  both = {'labeled': stream | {'label': np.arange(6)}, 'unlabeled': stream}
  plain, one, three = (fixmatch_views(strongs=n)(both, KEY) for n in (0, 1, 3))
  assert set(plain) - set(one) == {'strong'} and set(one) - set(plain) == {'strongs'}
  chex.assert_trees_all_equal(one['strongs'][:, 0], plain['strong'])
  assert three['strongs'].shape == (6, 3, 8, 8, 1)
  for i in range(3):
    assert np.abs(three['strongs'][:, i] - three['strongs'][:, (i + 1) % 3]).max() > 0.1
  for name in ('image', 'label', 'index'):
    chex.assert_trees_all_equal(three[name], plain[name])


def test_views_give_the_labeled_a_strong_view_if_asked_and_the_rest_stays():
  rng = np.random.default_rng(0)
  stream = {'image': rng.integers(0, 256, (6, 8, 8, 1), np.uint8), 'index': np.arange(6), 'epoch': np.zeros(6, int)}
  both = {'labeled': stream | {'label': np.arange(6)}, 'unlabeled': stream}
  plain, more = (fixmatch_views(labeled_strong=strong)(both, KEY) for strong in (False, True))
  assert set(more) - set(plain) == {'image_strong'}
  assert more['image_strong'].shape == (6, 8, 8, 1) and np.abs(more['image_strong'] - more['image']).max() > 0.1
  for name in ('weak', 'strong', 'index', 'label'):
    chex.assert_trees_all_equal(more[name], plain[name])
  weak = fixmatch_views(operations=0, cutout_share=0., translate=0., flip=0.)(both, KEY)
  assert_close(weak['strong'], stream['image'] / 255)
