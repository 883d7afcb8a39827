"""k-means against scikit-learn, on several meshes, and at its limits."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from pretrain.machine import sharding
from pretrain.programs import cluster
from pretrain.programs.cluster import kmeans

DIGITS = load_digits().data.astype(np.float32)


@pytest.mark.parametrize(('n', 'k', 'chunk'), [(1797, 10, 8192), (500, 30, 100), (64, 64, 16)])
def test_it_is_scikit_learn_s_lloyd(n, k, chunk):
  x, init = DIGITS[:n], DIGITS[:n][np.random.default_rng(n).permutation(n)[:k]]
  wanted = KMeans(k, init=init, n_init=1, algorithm='lloyd', tol=0, max_iter=100).fit(x)
  found = kmeans(x, k, init=init, chunk=chunk)
  np.testing.assert_array_equal(found.labels, wanted.labels_)
  np.testing.assert_allclose(found.centers, wanted.cluster_centers_, atol=1e-3)
  assert found.converged and found.inertia == pytest.approx(wanted.inertia_, rel=1e-4)


def test_empty_clusters_move_to_the_farthest_examples():
  x = np.float32([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [30, 30]])
  init = np.float32([[0, 0], [9, 9], [-500, 0]])  # nothing is nearest to the last
  wanted = KMeans(3, init=init, n_init=1, algorithm='lloyd', tol=0).fit(x)
  found = kmeans(x, 3, init=init)
  np.testing.assert_array_equal(found.labels, wanted.labels_)
  assert found.labels.tolist() == [0, 0, 0, 1, 1, 2]
  two = kmeans(x, 4, init=np.float32([[0, 0], [9, 9], [-500, 0], [-600, 0]]))
  assert len(np.unique(two.labels)) == 4
  same = kmeans(np.zeros((5, 2), np.float32), 3)  # nothing to tell apart
  assert same.inertia == 0 and np.isfinite(same.centers).all()


@pytest.mark.parametrize('init', ['k-means++', 'random'])
def test_the_same_on_eight_devices_as_on_one(init):
  one = sharding.make_mesh(devices=jax.devices()[:1])
  a = kmeans(DIGITS[:999], 20, init=init, seed=3, chunk=256, mesh=one)
  b = kmeans(DIGITS[:999], 20, init=init, seed=3, chunk=256, mesh=sharding.make_mesh(data=4, fsdp=2))
  np.testing.assert_array_equal(a.labels, b.labels)
  np.testing.assert_allclose(a.centers, b.centers, rtol=1e-4, atol=1e-4)
  assert a.iterations == b.iterations and len(np.unique(a.labels)) == 20
  other = kmeans(DIGITS[:999], 20, init=init, seed=4)
  assert not np.array_equal(a.labels, other.labels)


def test_k_means_plus_plus_spreads():
  """Three far groups: centres drawn in proportion to squared distances hit each of them, random ones often do not."""
  rng = np.random.default_rng(0)
  x = np.concatenate([rng.normal(c, 0.01, (n, 2)) for c, n in ((0, 500), (100, 10), (-100, 10))]).astype(np.float32)
  for seed in range(5):
    rows = np.asarray(cluster.spread(x, np.ones(len(x), np.float32), jax.random.key(seed), clusters=3))
    assert sorted((rows >= 500).astype(int) + (rows >= 510)) == [0, 1, 2]


@pytest.mark.parametrize(('x', 'k', 'init', 'words'), [
    (DIGITS[:5], 6, 'random', '6 clusters'), (DIGITS[:5], 0, 'random', '0 clusters'),
    (DIGITS[:5], 2, np.zeros((3, 64)), 'shape'), (DIGITS[:5], 2, 'kmeans', "'k-means\\+\\+'"),
    (np.full((5, 2), np.nan), 2, 'random', '5 of 5 features'), (DIGITS[0], 1, 'random', r'\[n, d\]')])
def test_what_is_refused(x, k, init, words):
  with pytest.raises(ValueError, match=words):
    kmeans(x, k, init=init)


def test_a_million_features_in_ten_thousand_clusters_fit_in_8_gib():
  n, d, k = 2 ** 20, 256, 10_000
  shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)
  memory = cluster.assign.lower(shape(n, d), shape(n), shape(k, d), chunks=n // 8192).compile().memory_analysis()
  assert memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes < 8 * 2 ** 30
