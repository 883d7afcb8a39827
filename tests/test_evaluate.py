"""kNN against loops, the linear probe against scikit-learn, and what the table makes of them."""
import json
import sys
import warnings
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from data.bad import BadRecordsError
from data.source import images
from pretrain.evaluate import linear, measure, print_table
from pretrain.evaluate.features import extract
from pretrain.evaluate.health import health, tolerance
from pretrain.evaluate.knn import knn
from pretrain.evaluate.linear import few_shot, linear_probe
from pretrain.evaluate.run import judge
from pretrain.frontends import flattened
from pretrain.frontends.image import unit_range
from tests.reference import temperature as twin


def blobs(n, d=6, classes=3, seed=0, spread=1.):
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(1).normal(size=(classes, d))
  labels = rng.integers(0, classes, n)
  return np.float32(centres[labels] + spread * rng.normal(size=(n, d))), np.int32(labels)


def digits():
  """Standard digits in [0, 1], every third of them held out: f32[1198, 64] and f32[599, 64] with labels."""
  x, y = load_digits(return_X_y=True)
  test = np.arange(len(x)) % 3 == 0
  return np.float32(x[~test] / 16), np.int32(y[~test]), np.float32(x[test] / 16), np.int32(y[test])


# Features -------------------------------------------------------------------------------------------------------------

def test_extract_keeps_every_row_and_pads_to_one_shape(compilations):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (11, 4, 5, 2), dtype=np.uint8)
  source = images(image)
  encode = Partial(lambda scale, images: scale * images.mean((1, 2)), jnp.float32(2.))
  features, good = extract(encode, source, batch=4)
  assert features.dtype == np.float32 and good.all() and good.shape == (11,)
  np.testing.assert_allclose(features, 2 * image.mean((1, 2)) / 255, rtol=1e-5)
  before = compilations()
  again, _ = extract(Partial(encode.func, jnp.float32(3.)), source, batch=4)  # other parameters, the same program
  bound, _ = extract(partial(encode.func, jnp.float32(3.)), source, batch=4)
  assert compilations() == before
  np.testing.assert_allclose(again, 1.5 * features, rtol=1e-5)
  np.testing.assert_array_equal(again, bound)


def test_extract_views_and_places():
  source = images(np.full((3, 2, 2, 1), 51, np.uint8))
  placed = []
  def place(batch):
    placed.append(sorted(batch))
    return jax.device_put(batch)
  features, _ = extract(flattened, source, batch=2, view=lambda u8: 1 - unit_range(u8), place=place)
  np.testing.assert_allclose(features, np.full((3, 4), .8), rtol=1e-6)
  assert placed == [['good', 'image']] * 2


@pytest.mark.parametrize(('source', 'encode', 'batch', 'message'), [
  (images(np.zeros((0, 2, 2, 1), np.uint8)), flattened, 2, 'got 0 examples'),
  (images(np.zeros((3, 2, 2, 1), np.uint8)), flattened, 0, 'batch=0'),
  (images(np.zeros((3, 2, 2, 1), np.uint8)), lambda x: x, 2, r'wanted an encoder.*\(2, 2, 2, 1\)'),
])
def test_extract_errors(source, encode, batch, message):
  with pytest.raises(ValueError, match=message):
    extract(encode, source, batch=batch)


# kNN ------------------------------------------------------------------------------------------------------------------

def knn_loops(x, y, test, truth, k, temperature, classes):
  """1805.01978v1 section 3.4, typed with loops in float64."""
  hits = 0
  for row, label in zip(np.float64(test), truth, strict=True):
    scores = []
    for other, its in zip(np.float64(x), y, strict=True):
      scores.append((float(row @ other / np.sqrt(row @ row) / np.sqrt(other @ other)), its))
    votes = [0.] * classes
    for similarity, its in sorted(scores, key=lambda s: -s[0])[:k]:
      votes[its] += np.exp(similarity / temperature)
    hits += votes.index(max(votes)) == label
  return hits / len(test)


@pytest.mark.parametrize('temperature', [.02, .07, 1.])
def test_knn_is_its_twin_for_several_k_at_once(temperature, monkeypatch):
  x, y = blobs(150)
  test, truth = blobs(70, seed=2)
  monkeypatch.setattr(sys.modules[knn.__module__], 'SIMILARITIES', 150 * 32)  # three chunks, the last one padded
  got = knn(10 * x, y, test, truth, k=(1, 5, 20, 150), temperature=temperature, classes=3)
  assert got == {k: pytest.approx(knn_loops(x, y, test, truth, k, temperature, 3)) for k in (1, 5, 20, 150)}
  assert knn(x, y, test, truth, k=5, temperature=temperature, classes=3) == got[5]
  assert len(set(got.values())) > 1


def test_knn_knows_the_examples_it_was_given_and_weighs_the_nearer():
  x, y = blobs(60)
  assert knn(x, y, x, y, k=1, classes=3) == 1.
  angles = np.deg2rad([0., 40., 44.])
  circle = np.float32(np.stack([np.cos(angles), np.sin(angles)], 1))
  query, one_against_two = np.float32([[1., .1]]), np.int32([1, 0, 0])
  assert knn(circle, one_against_two, query, np.int32([1]), k=3, temperature=.07, classes=2) == 1.  # the near one wins
  assert knn(circle, one_against_two, query, np.int32([0]), k=3, temperature=10., classes=2) == 1.  # the two win


@pytest.mark.parametrize(('change', 'message'), [
  (dict(k=61), 'k from 1 to the 60 .* got k=61; nearest: .60'),
  (dict(k=(5, 0)), 'got k=.5, 0.; nearest: .5, 1'),
  (dict(temperature=0.), 'temperature > 0'),
  (dict(classes=2), r'labels in \[0, classes=2\), got 0 to 2'),
])
def test_knn_errors(change, message):
  x, y = blobs(60)
  with pytest.raises(ValueError, match=message):
    knn(x, y, x, y, **(dict(k=5, classes=3) | change))


def test_features_are_checked():
  x, y = blobs(60)
  broken = x.copy()
  broken[7, 0] = np.nan
  for bad, labels, message in ((broken, y, r'1 of 60 rows, the first \[7\]'), (x, y[:-1], r'\(60, 6\) and \(59,\)'),
                               (x[:, 0], y, r'\(60,\) and')):
    with pytest.raises(ValueError, match=message):
      linear_probe(bad, labels, x, y, classes=3)
  with pytest.raises(ValueError, match='of one width'):
    knn(x, y, x[:, 1:], y, k=1, classes=3)


# The linear probe -----------------------------------------------------------------------------------------------------

def sklearn_fit(x, y, penalty):
  """scikit-learn on standardised features: (model, mean and std of the features, the loss at its solution)."""
  mean, std = np.float64(x).mean(0), np.float64(x).std(0)
  std[std == 0] = np.inf
  z = (x - mean) / std
  model = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-7, max_iter=5000).fit(z, y)
  return model, mean, std, loss(z, y, model.coef_.T, model.intercept_, penalty)


def loss(z, y, kernel, bias, penalty):
  """The objective in float64: mean cross entropy + penalty / 2 |kernel|^2."""
  logits = np.float64(z) @ np.float64(kernel) + np.float64(bias)
  largest = logits.max(1)
  log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
  return np.mean(log_sum - logits[np.arange(len(y)), y]) + penalty / 2 * np.sum(np.float64(kernel) ** 2)


@pytest.mark.parametrize('penalty', [1., 1e-2, 1e-4])
@pytest.mark.parametrize('wide', [False, True], ids=['n > d', 'n < d'])
def test_fit_is_scikit_learns(penalty, wide):
  x, y, test, _ = digits()
  if wide:
    x, y = x[:50], y[:50]
  model, mean, std, best = sklearn_fit(x, y, penalty)
  problem = linear.standardize(x, np.ones(len(x), bool))
  fitted = linear.fit(problem, y, penalty, classes=10)
  assert fitted.converged
  kernel = problem.basis @ np.asarray(fitted.kernel)  # of the standardised features
  ours = loss((x - mean) / std, y, kernel, fitted.bias, penalty)
  assert abs(ours - best) <= 1e-3 * best
  np.testing.assert_allclose(fitted.loss, ours, rtol=1e-4)
  shares = model.predict_proba((test - mean) / std)
  decided = np.diff(np.sort(shares)[:, -2:])[:, 0] > .1  # a loss within 1e-3 of the least leaves the others open
  assert decided.mean() > (.55 if penalty == 1 else .85)  # a strong penalty leaves all shares near each other
  np.testing.assert_array_equal(linear.predict(problem, fitted, test).argmax(1)[decided], shares.argmax(1)[decided])
  np.testing.assert_allclose(linear.predict(problem, fitted, x), fitted.logits, atol=1e-2)


def test_held_out_examples_do_not_move_the_fit():
  x, y, *_ = digits()
  use = np.arange(len(x)) % 5 > 0
  part, whole = linear.standardize(x[use], np.ones(use.sum(), bool)), linear.standardize(x, use)
  fit = partial(linear.fit, penalty=1e-2, classes=10, tolerance=1e-4)
  a, b = fit(part, y[use]), fit(whole, y)
  other = x.copy()
  other[~use] = 7.
  c = fit(linear.standardize(other, use), y)
  for fitted in (b, c):
    np.testing.assert_allclose(fitted.loss, a.loss, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(fitted.logits)[use], a.logits, atol=.02)


def test_probe_compiles_once_for_all_penalties(compilations):
  x, y = blobs(200, d=7, classes=4)
  linear_probe(x, y, x, y, classes=4)
  before = compilations()
  result = linear_probe(x, y, x, y, classes=4, penalties=(30., 3., .3, .03, .003))
  assert compilations() == before and result['penalty'] in (30., 3., .3, .03, .003)
  assert set(result) == {'accuracy', 'penalty', 'validation_accuracy', 'n', 'n_test', 'converged'}
  assert result['n'] == result['n_test'] == 200


def test_the_penalty_is_chosen_on_training_labels_alone():
  """Noise in all features but three wants a large penalty, of which the test labels, true or false, know nothing."""
  rng = np.random.default_rng(0)
  y = np.int32(rng.integers(0, 2, 120))
  x = np.float32(rng.normal(size=(120, 100)))
  x[:, :3] += 2 * y[:, None]
  test = np.float32(rng.normal(size=(1000, 100)))
  truth = np.int32(rng.integers(0, 2, 1000))
  test[:, :3] += 2 * truth[:, None]
  right = linear_probe(x, y, test, truth, classes=2)
  wrong = linear_probe(x, y, test, 1 - truth, classes=2)
  assert right['penalty'] == wrong['penalty'] >= .01
  assert right['accuracy'] == pytest.approx(1 - wrong['accuracy']) and right['accuracy'] > .8
  weak = linear_probe(x, y, test, truth, classes=2, penalties=(1e-5,))
  assert right['accuracy'] > weak['accuracy']
  assert linear_probe(x, y, test, truth, classes=2) == right  # the seed is all there is


def test_the_probe_is_scikit_learns_on_all_training_labels():
  x, y, test, truth = digits()
  model, mean, std, _ = sklearn_fit(x, y, 1e-3)
  probe = linear_probe(x, y, test, truth, classes=10, penalties=(1e-3,))
  assert abs(probe['accuracy'] - model.score((test - mean) / std, truth)) < 1.5 / len(test)  # one example, at most


def test_folds_are_stratified():
  labels = np.repeat([0, 1, 2, 3], [50, 12, 5, 3])
  fold = linear.folds(labels, np.random.default_rng(0))
  for c, count in enumerate([50, 12, 5, 3]):
    sizes = np.bincount(fold[labels == c], minlength=5)
    assert set(sizes) <= {count // 5, -(-count // 5)}


def test_digits_probe_and_few_labels():
  x, y, test, truth = digits()
  whole = linear_probe(x, y, test, truth, classes=10)
  few = few_shot(x, y, test, truth, classes=10, per_class=10, trials=3)
  assert whole['converged'] and whole['accuracy'] > .93
  assert few['n'] == 100 and few['per_class'] == 10 and len(few['accuracies']) == few['trials'] == 3
  assert .8 < few['accuracy'] < whole['accuracy'] and 0 < few['std'] < .05
  assert few['accuracy'] == pytest.approx(np.mean(few['accuracies']))
  assert few['std'] == pytest.approx(np.std(few['accuracies'], ddof=1))
  assert few_shot(x, y, test, truth, classes=10, per_class=10, trials=2)['accuracies'] == few['accuracies'][:2]


def test_few_shot_draws_its_labels_from_each_class(monkeypatch):
  x, y = blobs(60)
  drawn = []
  def probe(features, labels, *_, **__):
    drawn.append((features, labels))
    return {'accuracy': 0.}
  monkeypatch.setattr(linear, 'linear_probe', probe)
  few_shot(x, y, x, y, classes=3, per_class=4, trials=2)
  for features, labels in drawn:
    assert np.bincount(labels).tolist() == [4, 4, 4]
    assert [y[np.flatnonzero((x == row).all(1))[0]] for row in features] == labels.tolist()
    assert len({row.tobytes() for row in features} & {row.tobytes() for row in x}) == 12  # without replacement
  assert not np.array_equal(drawn[0][0], drawn[1][0])


@pytest.mark.parametrize(('call', 'message'), [
  (lambda x, y: few_shot(x, y, x, y, classes=3, per_class=50, trials=1), 'per_class=50 .* of class'),
  (lambda x, y: few_shot(x, y, x, y, classes=3, per_class=1, trials=1), 'per_class >= 2'),
  (lambda x, y: few_shot(x, y, x, y, classes=3, per_class=2, trials=0), 'trials >= 1'),
  (lambda x, y: linear_probe(x, y, x, y, classes=3, penalties=(0.,)), 'penalties > 0'),
  (lambda x, y: linear_probe(x[:4], y[:4], x, y, classes=3), 'at least 5'),
])
def test_probe_errors(call, message):
  with pytest.raises(ValueError, match=message):
    call(*blobs(60))


def test_no_convergence_is_said(monkeypatch):
  x, y = blobs(61, d=5)
  monkeypatch.setattr(linear, 'ITERATIONS', 2)
  with pytest.warns(UserWarning, match='has not converged in 2 iterations'):
    assert not linear_probe(x, y, x, y, classes=3, penalties=(1e-3,))['converged']


def test_useless_features_are_no_error():
  """Constant and tiny features: the probe gives the commonest class, or what there is to learn."""
  _, y = blobs(60)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    constant, wide, tiny = (linear_probe(x, y, x, y, classes=3) for x in (
      np.full((60, 60), 3.), np.ones((60, 99)), 1e-9 * np.tile(np.eye(3)[y], 20)))
  assert constant['accuracy'] == wide['accuracy'] == np.bincount(y).max() / 60 and tiny['accuracy'] == 1.


# Health and the table -------------------------------------------------------------------------------------------------

def test_health_of_known_representations():
  rng = np.random.default_rng(0)
  sphere = health(rng.normal(size=(2000, 16)))
  assert 15.5 < sphere['effective_rank'] <= 16.01 and abs(sphere['std'] - 1) < .02
  assert -3.9 < sphere['uniformity'] < -3.4  # -4 in infinitely many dimensions
  point = health(np.ones((50, 16)))
  assert abs(point['effective_rank'] - 1) < 1e-3 and point['std'] < 1e-6 and abs(point['uniformity']) < 1e-6
  line = health(rng.normal(size=(500, 1)) * np.ones((1, 8)))
  assert abs(line['effective_rank'] - 1) < 1e-3
  # Two opposite points, n / 2 times each: pairs are 0 or 2 apart.
  opposite = health(np.repeat([[1., 0.], [-1., 0.]], 2, axis=0))
  assert opposite['uniformity'] == pytest.approx(np.log((2 + 4 * np.exp(-8)) / 6))
  assert health(np.eye(4))['effective_rank'] == pytest.approx(4, rel=1e-4)  # four equal singular values
  x = rng.normal(size=(300, 8))
  assert health(x, rows=100) == health(x, rows=100) != health(x, rows=100, seed=1)


def test_tolerance_is_the_mean_cosine_within_classes():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(30, 5)), rng.integers(0, 4, 30)
  assert tolerance(x, y) == pytest.approx(twin.tolerance(x, y))
  assert tolerance(x * np.exp(rng.normal(size=(30, 1))), y) == pytest.approx(twin.tolerance(x, y))
  assert tolerance(np.eye(3)[[0, 0, 1, 1, 2]], np.array([0, 0, 1, 1, 2])) == pytest.approx(1)
  assert tolerance(np.array([[1., 0], [-1, 0], [0, 1]]), np.array([0, 0, 1])) == pytest.approx(-1)
  with pytest.raises(ValueError, match='a class with two examples'):
    tolerance(x, np.arange(30))


def test_health_errors():
  for bad in (np.ones(3), np.ones((1, 3)), np.full((4, 3), np.inf)):
    with pytest.raises(ValueError, match='wanted finite features'):
      health(bad)


def test_table_is_json_and_prints():
  x, y, test, truth = digits()
  few = np.arange(64) % 20 == 3
  rows = [measure(name, kept * x, y, kept * test, truth, classes=10, per_class=5, trials=2)
          for name, kept in (('raw pixels', 1), ('three pixels', few))]
  assert json.loads(json.dumps(rows)) == rows
  raw, three = rows
  assert raw['features'] == 'raw pixels' and raw['width'] == 64 and raw['n'] == 1198 and raw['n_test'] == 599
  for column in ('knn', 'linear', 'linear_5_per_class'):
    assert raw[column] > three[column] > .1
  assert raw['linear_5_per_class_std'] > 0 and 'k=20' in raw['protocol'] and '2 draws' in raw['protocol']
  console = Console(width=160, record=True, file=open('/dev/null', 'w'))  # noqa: SIM115
  print_table(rows, console)
  text = console.export_text()
  assert 'raw pixels' in text and f'{100 * raw["knn"]:.1f}' in text and '±' in text and '1198' in text


@pytest.mark.parametrize(('bad', 'bad_test', 'told'), [(2, 2, None), (3, 0, 'train'), (0, 3, 'test')])
def test_up_to_a_share_of_each_set_may_be_unreadable(bad, bad_test, told, tmp_path):
  run = SimpleNamespace(max_bad_share=0.25)
  measured = [SimpleNamespace(good=np.arange(8) >= bad, good_test=np.arange(8) >= bad_test)]
  if told is None:
    judge(run, measured, tmp_path)
    return
  with pytest.raises(BadRecordsError, match=f'3 of the 8 examples of config.evaluate.{told}'):
    judge(run, measured, tmp_path)
