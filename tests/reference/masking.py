"""MAE's random masking, and the properties that any implementation of it has."""

import numpy as np


def visible_count(n: int, mask_ratio: float) -> int:
  """How many of n patches stay visible: int(n (1 - mask_ratio)), as in MAE's code; the paper gives only the ratio.

  It rounds down after a float product: 10 patches at 0.9 give int(0.9999999999999998) = 0, 100 give 9. The ratios and
  sizes of the paper (196 at 0.75, 49 visible) are not concerned.
  """
  return int(n * (1 - mask_ratio))


def random_masking(noise, mask_ratio: float):
  """The patches with the smallest noise stay visible, arXiv:2111.06377v3 section 3, 'Simple implementation'.

  Args:
    noise: [b, n], distinct within a row.
    mask_ratio: share of hidden patches, in [0, 1).

  Returns:
    (visible, restore, mask): int [b, visible_count], the visible patches in the order of their noise; int [b, n],
    where each patch stands once the visible and then the hidden ones are put in a row; bool [b, n], True where hidden.
  """
  noise = np.asarray(noise, np.float64)
  b, n = noise.shape
  count = visible_count(n, mask_ratio)
  visible, restore, mask = [], np.zeros((b, n), int), np.ones((b, n), bool)
  for i in range(b):
    order = sorted(range(n), key=lambda patch, row=noise[i]: row[patch])
    visible.append(order[:count])
    for place, patch in enumerate(order):
      restore[i, patch] = place
      mask[i, patch] = place >= count
  return np.array(visible, int).reshape(b, count), restore, mask


def check_random_masking(mask, mask_ratio: float, visible=None, restore=None):
  """Raises AssertionError unless `mask` may come from a random masking with this ratio.

  Every row hides exactly n - visible_count patches; the optional indices agree with the mask; and, over rows, every
  patch is hidden about equally often: within 5 standard deviations of its binomial (false alarm < 1e-6 a patch, so
  give the same fixed key every time; 64 rows or more make this part sharp).

  Args:
    mask: bool [b, n], True where hidden.
    mask_ratio: share of hidden patches, in [0, 1).
    visible: int [b, visible_count] or None: indices of the visible patches.
    restore: int [b, n] or None: a permutation; below visible_count for the visible patches, and
      visible[i][restore[i][patch]] = patch for them.
  """
  mask = np.asarray(mask)
  assert mask.dtype == bool, f'wanted a bool mask, got {mask.dtype}'
  b, n = mask.shape
  count = visible_count(n, mask_ratio)
  for i in range(b):
    shown = sum(not hidden for hidden in mask[i])
    assert shown == count, f'row {i} shows {shown} of {n} patches, wanted {count} at mask_ratio {mask_ratio}'
    places = {patch for patch in range(n) if not mask[i, patch]}
    if visible is not None:
      assert len(visible[i]) == count and {int(patch) for patch in visible[i]} == places, (
        f'row {i}: visible {list(visible[i])}, but the mask shows {sorted(places)}'
      )
    if restore is not None:
      assert sorted(int(place) for place in restore[i]) == list(range(n)), f'row {i}: restore is not a permutation'
      assert {patch for patch in range(n) if restore[i][patch] < count} == places, f'row {i}: restore shows others'
      if visible is not None:
        for patch in places:
          assert visible[i][restore[i][patch]] == patch, f'row {i}: patch {patch} is not where restore says'
  share = (n - count) / n
  deviation = np.sqrt(b * share * (1 - share))
  for patch in range(n):
    hidden = int(sum(mask[:, patch]))
    assert abs(hidden - b * share) <= 5 * deviation + 1e-9, (
      f'patch {patch} is hidden in {hidden} of {b} rows, wanted about {b * share:.1f}'
    )
