"""Masks: how many patches, in which shapes, and the same for an example wherever it stands in the batch."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.method.masks import blockwise_mask, multi_block, random_mask
from tests.reference import masking

KEY = jax.random.key(3)
INDEX = np.random.default_rng(0).permutation(1000)[:64].astype(np.int32)
BLOCKS = dict(targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5), context_scale=(0.85, 1.0),
              context_patches=52)
SAMPLERS = {
    'random': partial(random_mask, patches=49, mask_ratio=0.6),
    'blockwise': partial(blockwise_mask, grid=(7, 9), count=20, smallest=4, largest=20),
    'multi_block': partial(multi_block, grid=(14, 14), **BLOCKS),
}


@pytest.mark.parametrize('name', SAMPLERS)
def test_a_mask_is_a_function_of_key_and_index(name):
  sample = jax.jit(SAMPLERS[name])
  whole, turned, few = (jax.tree.leaves(sample(KEY, i)) for i in (INDEX, INDEX[::-1], INDEX[5:7]))
  for a, b, c in zip(whole, turned, few, strict=True):
    np.testing.assert_array_equal(a, b[::-1])
    np.testing.assert_array_equal(a[5:7], c)
    assert len({x.tobytes() for x in np.asarray(a)}) > 60, 'examples share their masks'
  others = jax.tree.leaves(sample(jax.random.key(4), INDEX))
  assert all((a != b).any() for a, b in zip(whole, others, strict=True))


def test_random_mask_hides_every_patch_as_often():
  visible, mask = random_mask(KEY, jnp.arange(2000), 16, 0.75)
  assert visible.shape == (2000, 4) and mask.shape == (2000, 16) and mask.dtype == bool
  np.testing.assert_array_equal(mask.sum(1), 12)
  assert not np.take_along_axis(np.asarray(mask), np.asarray(visible), 1).any()
  np.testing.assert_allclose(mask.mean(0), 0.75, atol=0.05)
  for ratio in (0.0, 0.99):
    with pytest.raises(ValueError, match='mask_ratio'):
      random_mask(KEY, INDEX, 16, ratio)


def neighbours(mask) -> float:
  """Of the hidden patches' neighbours to the right, the share that is hidden too."""
  pairs = mask[:, :, :-1] & mask[:, :, 1:]
  return pairs.sum() / mask[:, :, :-1].sum()


def test_blockwise_mask_hides_exactly_as_many_as_asked_in_rectangles():
  for count in (0, 1, 20, 62, 63):
    mask = blockwise_mask(KEY, INDEX, (7, 9), count, smallest=4, largest=20)
    assert mask.shape == (64, 63) and mask.dtype == bool
    np.testing.assert_array_equal(mask.sum(1), count)
  counts = np.arange(64, dtype=np.int32)
  np.testing.assert_array_equal(blockwise_mask(KEY, INDEX, (7, 9), counts, smallest=4, largest=20).sum(1), counts)
  blocks = np.asarray(blockwise_mask(KEY, INDEX, (14, 14), 59, smallest=16, largest=59)).reshape(-1, 14, 14)
  assert neighbours(blocks) > 0.75  # a random mask: 0.3
  everywhere = np.asarray(blockwise_mask(KEY, jnp.arange(2000), (6, 6), 9, smallest=1, largest=9)).mean(0)
  assert everywhere.min() > 0.1 and everywhere.max() < 0.4


def test_the_first_rectangle_of_a_blockwise_mask_is_one():
  masks = np.asarray(blockwise_mask(KEY, INDEX, (14, 14), 30, smallest=30, largest=30, tries=1)).reshape(-1, 14, 14)
  found = 0
  for mask in masks:
    rows, columns = np.flatnonzero(mask.sum(1) > 2), np.flatnonzero(mask.sum(0) > 2)
    if len(rows) and mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].all() and len(rows) * len(columns) > 20:
      found += 1
      assert 0.25 < len(rows) / len(columns) < 4
  assert found > 20  # of 64; the others' rectangle was too large, and patches at random stand in for it


@pytest.mark.parametrize('grid', [(14, 14), (16, 16), (13, 15)])
def test_multi_block_gives_targets_in_blocks_and_a_context_without_them(grid):
  context, target = map(np.asarray, multi_block(KEY, INDEX, grid, **BLOCKS))
  n = grid[0] * grid[1]
  assert context.shape == (64, 52) and target.shape[:2] == (64, 4)
  assert 0.13 * n < target.shape[2] < 0.2 * n
  for seen, blocks in zip(context, target, strict=True):
    assert not set(seen) & set(blocks.reshape(-1))
    assert len(set(seen)) > 25
    for block in blocks:
      assert len(set(block)) == len(block) and block.min() >= 0 and block.max() < n
      rows, columns = np.divmod(block, grid[1])
      sides = np.ptp(rows) + 1, np.ptp(columns) + 1
      assert sides[0] * sides[1] < 0.25 * n and 0.5 < sides[0] / sides[1] < 2


def test_multi_block_repeats_what_it_sees_where_that_is_little_and_refuses_nothing_at_all():
  sample = partial(multi_block, KEY, INDEX, (2, 2), target_scale=(0.25, 0.25), target_aspect=(1.0, 1.0),
                   context_scale=(1.0, 1.0))
  context, target = map(np.asarray, sample(targets=1, context_patches=5))
  assert target.shape == (64, 1, 1)
  for seen, hidden in zip(context, target, strict=True):
    assert set(seen) == {0, 1, 2, 3} - set(hidden.reshape(-1))
  with pytest.raises(ValueError, match='4 target blocks of up to 1 .* got 0'):
    sample(targets=4, context_patches=2)


def test_masking_twin():
  noise = np.random.default_rng(0).random((64, 16))
  visible, restore, mask = masking.random_masking(noise, 0.75)
  masking.check_random_masking(mask, 0.75, visible, restore)
  by_hand = masking.random_masking([[0.3, 0.1, 0.9, 0.2]], 0.5)
  assert [x.tolist() for x in by_hand] == [[[1, 3]], [[2, 0, 3, 1]], [[True, False, True, False]]]
  assert [masking.visible_count(196, ratio) for ratio in (0.0, 0.5, 0.75, 0.9)] == [196, 98, 49, 19]
  one_more, stuck = mask.copy(), np.zeros_like(mask)
  one_more[3] = True
  stuck[:, 4:] = True
  for wrong in (~mask, one_more, stuck, mask.astype(int)):
    with pytest.raises(AssertionError):
      masking.check_random_masking(wrong, 0.75)
  for wrong_visible, wrong_restore in ((visible[::-1], None), (None, restore[::-1]), (visible[:, ::-1], restore)):
    with pytest.raises(AssertionError):
      masking.check_random_masking(mask, 0.75, wrong_visible, wrong_restore)
