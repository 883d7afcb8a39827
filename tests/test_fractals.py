"""Fractals: their codes, points and pictures against the twin; sources without images; multi-instance prediction."""
import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.loader import loader
from data.sources.fractals import fractals as source
from pretrain.views.fractal_scenes import fractal_scenes
from pretrain.views.fractals import fractals
from pretrain.views.ops import fractals as ops
from tests.reference import ifs

CORNER = np.array([0., 0.])


@pytest.fixture(scope='module')
def systems():
  """A thousand random systems, and the turns and signs that are not in them."""
  return jax.jit(jax.vmap(lambda i: ops.numbered(0, i)))(jnp.arange(1000))


def test_singular_values_are_those_of_the_twin():
  draw = jax.jit(ops.singular_values)
  for seed in range(40):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    alpha, u = rng.uniform(0, 3 * n), rng.uniform(size=7)
    got = draw(n, np.float32(alpha), u.astype(np.float32))
    wanted = ifs.singular_values(n, alpha, u[:2 * n - 1])
    np.testing.assert_allclose(got[:n], wanted, atol=1e-5)
    assert np.all(np.asarray(got[n:]) == 0)
    np.testing.assert_allclose(ifs.sigma_factor(got), alpha, rtol=1e-5)


def test_systems_have_the_constraints_of_the_paper(systems):
  matrices, offsets, p = map(np.asarray, systems)
  there = p > 0
  counts = there.sum(1)
  np.testing.assert_allclose(np.bincount(counts) / 1000, [0, 0, 1 / 3, 1 / 3, 1 / 3], atol=0.05)
  s = np.linalg.svd(matrices, compute_uv=False)  # [1000, 4, 2]
  assert s.max() <= 1 + 1e-5
  np.testing.assert_allclose(jax.vmap(ops.largest)(matrices[:, 0]), s[:, 0, 0], rtol=1e-4)
  alpha = (s[..., 0] + 2 * s[..., 1]).sum(1)
  assert np.all(alpha > (5 + counts) / 2 - 1e-4) and np.all(alpha < (6 + counts) / 2 + 1e-4)
  np.testing.assert_allclose(alpha - (5 + counts) / 2, 0.25, atol=0.26)
  assert abs(offsets[there].mean()) < 0.05 and abs(offsets[there].std() - 1 / np.sqrt(3)) < 0.02
  for i in range(20):
    np.testing.assert_allclose(p[i, :counts[i]], ifs.probabilities(matrices[i, :counts[i]]), rtol=1e-4)
  assert np.abs(np.asarray(ops.numbered(1, 0).matrices) - matrices[0]).max() > 0.1  # another table
  # rotations and mirrors of any kind: the sign of the determinant is a coin, columns point anywhere
  assert abs((np.linalg.det(matrices)[there] > 0).mean() - 0.5) < 0.05
  assert np.abs(matrices[there].mean(0)).max() < 0.05
  a = ifs.matrix(0.3, -1.2, 0.8, 0.5, -1, 1)
  np.testing.assert_allclose(np.linalg.svd(a, compute_uv=False), [0.8, 0.5])


def test_the_chaos_game_is_that_of_the_twin(systems):
  play = jax.jit(ops.chaos_game)
  for i in range(4):
    system = jax.tree.map(lambda x, i=i: x[i], systems)
    u = np.random.default_rng(i).uniform(size=(12, 3)).astype(np.float32)
    got = play(system, u)
    n = int((system.probabilities > 0).sum())
    start = ifs.fixed_point(system.matrices[0], system.offsets[0])
    for chain in range(3):
      indices = [ifs.chosen(x, system.probabilities[:n]) for x in u[:, chain]]
      np.testing.assert_allclose(got[:, chain], ifs.chaos_game(*map(np.asarray, system[:2]), indices, start), atol=1e-4)


def test_contractive_systems_stay_bounded(systems):
  """No point leaves the ball of radius max |b| / (1 - max s) around 0, of systems whose largest s is below 0.95."""
  u = np.random.default_rng(0).uniform(size=(300, 4)).astype(np.float32)
  points = jax.jit(jax.vmap(ops.chaos_game, (0, None)))(jax.tree.map(lambda x: x[:300], systems), u)
  assert np.all(np.isfinite(points))
  s = np.linalg.svd(systems.matrices[:300], compute_uv=False).max((1, 2))
  radius = np.linalg.norm(systems.offsets[:300], axis=-1).max(1) / (1 - s)
  tame = s < 0.95
  assert tame.sum() > 30
  assert np.all(np.linalg.norm(points, axis=-1).max((1, 2))[tame] <= radius[tame] + 1e-3)


def test_pictures_are_those_of_the_twin():
  points = np.random.default_rng(0).integers(0, 40, (200, 2)).astype(np.float32) / 8
  stamps = [np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool), np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]], bool)]
  draw = jax.jit(ops.picture, static_argnums=1)
  for size, stamp in [(9, stamps[0]), (9, stamps[1]), (5, stamps[1])]:
    wanted = ifs.render(points, size, [(i - 1, j - 1) for i, j in np.argwhere(stamp)])
    np.testing.assert_allclose(draw(points, size, CORNER, np.full(2, size - 1.), stamp), wanted, atol=1e-6)
  # half of it above the picture, and of double width: the lower left quarter
  part = draw(points, 9, np.array([-8., 0.]), np.array([16., 16.]), stamps[0])
  whole = draw(points, 17, CORNER, np.array([16., 16.]), stamps[0])
  np.testing.assert_allclose(part / part.max(), np.asarray(whole[8:, :9]) / whole[8:, :9].max(), atol=1e-6)
  np.testing.assert_array_equal(draw(np.ones((3, 2)), 4, CORNER, np.array([3., 3.]), stamps[0]), np.eye(4)[:, :1] *
                                np.eye(4)[0])  # no extent


BATCH = {'index': np.arange(6, dtype=np.int32), 'epoch': np.zeros(6, np.int32),
         'label': np.array([0, 0, 1, 2, 3, 4], np.int32)}


def test_a_picture_is_turned_and_mirrored_in_all_eight_ways(monkeypatch):
  monkeypatch.setattr(ops, 'chaos_game', lambda _, u: jnp.broadcast_to(jnp.float32([1., 2.]), (*u.shape, 2)))
  monkeypatch.setattr(ops, 'picture', lambda found, *_: found[0])
  ways = jax.vmap(lambda key: ops.fractal(key, None, 8, 1, 0., 1.))(jax.random.split(jax.random.key(0), 400))
  found, counts = np.unique(np.asarray(ways), axis=0, return_counts=True)
  assert sorted(map(tuple, np.abs(found))) == [(1, 2)] * 4 + [(2, 1)] * 4 and counts.min() > 20


@pytest.mark.parametrize('make', [
    partial(fractals, size=16, channels=3, points=300, seed=0),
    partial(fractal_scenes, size=16, channels=3, points=300, codes=7, seed=0)])
def test_images_are_a_function_of_key_and_index(make):
  views = jax.jit(make())
  one = views(BATCH, jax.random.key(0))
  assert one['image'].shape == (6, 16, 16, 3) and one['image'].dtype == jnp.float32 and 'epoch' not in one
  assert np.all(np.isfinite(one['image'])) and one['image'].min() >= 0 and one['image'].max() <= 1 + 1e-6
  order = np.array([3, 1, 5, 0, 4, 2])
  moved = views({name: x[order] for name, x in BATCH.items()}, jax.random.key(0))
  for name in one:  # where an image stands in the batch changes its rounding, on some processors
    np.testing.assert_allclose(moved[name], np.asarray(one[name])[order], rtol=3e-7, atol=3e-7 * (name == 'image'))
  assert np.all(np.asarray(one['image'].std((1, 2, 3))) > 0.02)
  assert not np.allclose(one['image'][0], one['image'][1])  # the same code, drawn another time
  for other in (views(BATCH, jax.random.key(1)), views(BATCH | {'epoch': BATCH['epoch'] + 1}, jax.random.key(0))):
    assert np.all(np.abs(other['image'] - one['image']).max((1, 2, 3)) > 1e-3)


def test_without_a_background_it_is_black():
  batch = {name: x[:4] for name, x in BATCH.items()}
  grey = jax.jit(fractals(size=16, channels=1, points=300, seed=0, background=False))(batch, jax.random.key(0))['image']
  assert grey.shape == (4, 16, 16, 1) and 0.2 < (np.asarray(grey) < 1e-6).mean() < 0.95


def test_scenes_say_what_is_in_them():
  batch = {'index': np.arange(400, dtype=np.int32), 'epoch': np.zeros(400, np.int32)}
  views = fractal_scenes(size=4, channels=1, points=32, codes=50, seed=0, background=False)
  present = np.asarray(jax.jit(views)(batch, jax.random.key(0))['present'])
  assert present.shape == (400, 50) and set(np.unique(present)) == {0., 1.}
  counts = present.sum(1)
  assert counts.min() == 1 and counts.max() == 5
  assert abs(counts.mean() - 3 * (1 - 2 / 100)) < 0.25  # a code that is drawn twice counts once
  assert np.all(present.sum(0) > 5)


def test_the_source_has_nothing_but_indices():
  made = source(codes=5, per_code=4)
  assert len(made) == 20 and made.classes == tuple('01234') and dataclasses.is_dataclass(made)
  np.testing.assert_array_equal(made.labels, np.arange(20) % 5)
  part = made.take(np.array([7, 2])).take(np.array([1]))
  assert part.batch(np.array([0])) == {'index': [2], 'label': [2]} and part[0] == {'index': 2, 'label': 2}
  assert made.unlabeled().labels is None and 'label' not in made.unlabeled().batch(np.arange(3))
  with loader(made, batch=8, seed=0) as batches:
    batch = next(batches)
  assert batch.keys() == {'index', 'label', 'epoch'} and len(set(batch['index'])) == 8
