"""Losses of consistency, of Dash, ShrinkMatch and FST against twins in float64, points by hand, limits, extremes.

Tolerances as in test_losses.py: values to 1e-5, gradients to 1e-4 of their largest element.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from tests.checks import assert_close, assert_finite, assert_gradient_in, assert_half_precision, basis, normal
from tests.reference import comatch as comatch_twin
from tests.reference import dash as dash_twin
from tests.reference import fst as fst_twin
from tests.reference import mixmatch as mixmatch_twin
from tests.reference import pi_model as pi_model_twin
from tests.reference import remixmatch as remixmatch_twin
from tests.reference import s4l as s4l_twin
from tests.reference import shrinkmatch as shrinkmatch_twin
from tests.reference import vat as vat_twin

# Compiled, as in a training step; thresholds, temperatures and weights are traced.
fixmatch, uda = jax.jit(losses.fixmatch), jax.jit(losses.uda)
pi_model, vat, mixmatch, remixmatch = (jax.jit(f) for f in (losses.pi_model, losses.vat, losses.mixmatch,
                                                            losses.remixmatch))
comatch, s4l, dash, shrinkmatch, fst = (jax.jit(f) for f in (losses.comatch, losses.s4l, losses.dash,
                                                             losses.shrinkmatch, losses.fst))


def logits(*rows):
  """Logits whose softmax is the rows, which need not sum to 1."""
  return np.log(np.array(rows, np.float32))


def labels(seed: int, n: int, k: int):
  return np.random.default_rng(seed).integers(0, k, n, np.int32)


def probabilities(seed: int, n: int, k: int, scale: float = 2.0):
  x = np.exp(normal(seed, n, k, scale=scale).astype(np.float64))
  return (x / x.sum(1, keepdims=True)).astype(np.float32)


def batch(seed: int, b: int, u: int, k: int):
  """(labeled, label, weak, strong): logits and classes of a step, some of the weak ones confident."""
  return normal(seed, b, k), labels(seed, b, k), normal(seed + 1, u, k, scale=2), normal(seed + 2, u, k)


def mixed(seed: int, b: int, n: int, k: int):
  """Logits and mixed labels, of the labeled and of the unlabeled."""
  return normal(seed, b, k), probabilities(seed + 1, b, k), normal(seed + 2, n, k), probabilities(seed + 3, n, k)


def turned(seed: int, b: int, u: int, k: int):
  return normal(seed, b, 4, k), labels(seed, b, k), normal(seed + 1, b, 4, 4), normal(seed + 2, u, 4, 4)


def remixed(seed: int, b: int, n: int, u: int, k: int):
  return (*mixed(seed, b, n, k), normal(seed + 4, u, k), probabilities(seed + 5, u, k), normal(seed + 6, u, 4),
          labels(seed + 7, u, 4))


def soft(seed: int, b: int, u: int, k: int):
  """(labeled, label, probabilities, strong)"""
  return normal(seed, b, k), labels(seed, b, k), probabilities(seed + 1, u, k), normal(seed + 2, u, k)


# (loss, twin, the arguments it is differentiated in, all arguments); the other float arrays are constants.
POINTS = [
  (pi_model, pi_model_twin.pi_model, (0, 2, 3), (*batch(0, 2, 5, 3), 5.0)),
  (vat, vat_twin.vat, (0, 3), (*batch(1, 2, 5, 3), 2.0, 0.0)),
  (vat, vat_twin.vat, (0, 3), (*batch(2, 3, 9, 4), 0.5, 0.7)),
  (mixmatch, mixmatch_twin.mixmatch, (0, 2), (*mixed(3, 2, 5, 3), 7.0)),
  (remixmatch, remixmatch_twin.remixmatch, (0, 2, 4, 6), (*remixed(4, 2, 5, 3, 4), 1.5, 0.6, 0.4)),
  (comatch, comatch_twin.comatch, (0, 3, 4, 5), (*soft(5, 2, 5, 3), normal(8, 5, 6), normal(9, 5, 6), 0.7, 0.3, 0.4,
                                                 2.0, 3.0)),
  (comatch, comatch_twin.comatch, (0, 3, 4, 5), (*soft(6, 3, 9, 4), normal(10, 9, 6, scale=3), normal(11, 9, 6), 0.6,
                                                 0.2, 0.5, 0.5, 0.7)),
  (s4l, s4l_twin.s4l, (0, 2, 3), (*turned(7, 2, 3, 5), 0.7)),
  (dash, dash_twin.dash, (0, 3), (*batch(8, 2, 5, 3), 0.3, 0.5, False, 2.0)),
  (dash, dash_twin.dash, (0, 3), (*batch(9, 3, 9, 4), 0.4, 0.5, True, 0.5)),
  (shrinkmatch, shrinkmatch_twin.shrinkmatch, (0, 3, 4), (*soft(11, 2, 7, 4), normal(20, 7, 4), 0.8, 0.6, 2.0)),
  (shrinkmatch, shrinkmatch_twin.shrinkmatch, (0, 3, 4), (*soft(22, 3, 9, 6), normal(21, 9, 6), 0.9, 0.3, 0.5)),
  (fst, fst_twin.fst, (0, 3), (*batch(12, 2, 5, 3), 0.85, 2.0)),
]
of_points = partial(pytest.mark.parametrize, ('loss', 'twin', 'moving', 'arguments'))


def total(loss):
  return lambda *arguments: loss(*arguments)[0]


@of_points(POINTS)
def test_equals_twin(loss, twin, moving, arguments):
  del moving
  result, terms = loss(*arguments)
  wanted, wanted_terms = twin(*arguments)
  assert terms.keys() == wanted_terms.keys()
  for name in ('use_ratio', 'shrunk_ratio'):
    assert 0.05 < wanted_terms.get(name, 0.5) < 0.95, 'the point uses none or all'
  for got, value in [(result, wanted), *((terms[name], wanted_terms[name]) for name in terms)]:
    assert got.shape == () and got.dtype == jnp.float32
    assert_close(got, value)


@of_points([point for i, point in enumerate(POINTS) if i != 2])  # the entropy has a gradient to the clean logits
def test_gradient(loss, twin, moving, arguments):
  assert_gradient_in(moving, total(loss), total(twin), *arguments)


@of_points([POINTS[i] for i in (0, 2, 5, 7, 8, 10, 12)])
def test_half_precision(loss, twin, moving, arguments):
  """Of logits in bfloat16; probabilities stay in float32."""
  def at(function):
    return lambda *moved: function(*(moved[moving.index(i)] if i in moving else x
                                     for i, x in enumerate(arguments)))[0]

  assert_half_precision(at(loss), at(twin), *(arguments[i] for i in moving))


# --- two passes, adversarial directions ----------------------------------------------------------------------------

ZERO, LABEL = np.zeros((2, 4), np.float32), np.array([0, 3])


def test_pi_model_by_hand_and_its_limit():
  first, second = logits([1, 1, 2, 4], [3, 1, 2, 4]), np.stack([ZERO[0], logits([3, 1, 2, 4])[0] + 7])
  loss, terms = pi_model(ZERO, LABEL, first, second, 16.0)
  wanted = ((1 / 8) ** 2 + (1 / 8) ** 2 + (1 / 4) ** 2) / 4 / 2  # the mean over classes and rows
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(4) + 16 * wanted)
  # Mean Teacher's loss, but with a gradient to both
  arrays = batch(30, 3, 9, 4)
  assert_close(pi_model(*arrays, 2.0)[0], losses.mean_teacher(*arrays, 2.0)[0])
  both = jax.grad(total(losses.pi_model), (2, 3))(*arrays, 2.0)
  assert_close(both[0], jax.grad(total(losses.mean_teacher), 2)(*arrays, 2.0))
  assert_close(both[1], jax.grad(total(losses.pi_model), 2)(*arrays[:2], arrays[3], arrays[2], 2.0))


def test_vat_by_hand_and_its_limit():
  clean, perturbed = logits([3, 1], [1, 1]), logits([1, 1], [1, 1])
  loss, terms = vat(np.zeros((1, 2), np.float32), np.array([1]), clean, perturbed, 3.0, 0.5)
  divergence = (3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)) / 2
  entropy = (-3 / 4 * math.log(3 / 4) - 1 / 4 * math.log(1 / 4) + math.log(2)) / 2
  assert_close(terms['consistency'], divergence)
  assert_close(terms['entropy'], entropy)
  assert_close(loss, math.log(2) + 3 * divergence + 0.5 * entropy)
  gradient = jax.grad(total(vat), 2)(np.zeros((1, 2), np.float32), np.array([1]), clean, perturbed, 3.0, 0.5)
  slope = 3 / 4 * 1 / 4 * math.log(3)  # p (1 - p) times the difference of the logits
  assert_close(gradient, 0.25 * np.array([[-slope, slope], [0, 0]]))  # of the entropy alone
  arrays = batch(31, 3, 9, 4)  # without a threshold and sharpening it is UDA's
  assert_close(vat(*arrays, 2.0, 0.0)[0], uda(*arrays, 0.0, 1.0, 2.0)[0])
  assert_close(vat(*arrays[:3], arrays[2], 2.0, 0.0)[1]['consistency'], 0)


@pytest.mark.parametrize('iterations', [1, 3])
def test_virtual_adversarial_direction_equals_twin(iterations):
  kernel, second = normal(0, 6, 5), normal(1, 5, 3)
  images, direction = normal(2, 4, 2, 3), normal(3, 4, 2, 3)
  of = lambda x: jnp.tanh(x.reshape(len(x), -1) @ kernel) @ second
  slow = lambda x: np.tanh(x @ kernel.astype(np.float64)) @ second.astype(np.float64)
  result = losses.virtual_adversarial(of, images, direction, 0.7, iterations)
  assert_close(np.linalg.norm(np.asarray(result).reshape(4, -1), axis=1), [0.7] * 4)
  for got, image, d in zip(result, images, direction, strict=True):
    wanted = vat_twin.virtual_adversarial(slow, image.reshape(-1), d.reshape(-1), 0.7, iterations)
    assert_close(np.asarray(got).reshape(-1), wanted, rtol=2e-3, atol=2e-4)  # the twin's difference is the limit


def test_virtual_adversarial_direction_by_hand():
  """Logits (a x, 0): only the first pixel matters; many iterations give the largest eigenvector of J^T F J."""
  kernel = np.array([[3, 0, 0], [0, 0, 0]], np.float32)
  got = losses.virtual_adversarial(lambda x: x @ kernel, np.zeros((1, 2), np.float32), basis(2)[None].sum(1), 2., 1)
  assert_close(got, [[2, 0]])
  kernel = normal(5, 4, 3)
  p = np.full(3, 1 / 3)
  values, vectors = np.linalg.eigh(kernel @ (np.diag(p) - np.outer(p, p)) @ kernel.T)
  got = losses.virtual_adversarial(lambda x: x @ kernel, np.zeros((1, 4), np.float32), normal(6, 1, 4), 1., 60)
  assert values[-1] > 1.2 * values[-2]
  assert_close(abs(np.asarray(got)[0] @ vectors[:, -1]), 1, rtol=1e-4)
  sure = losses.virtual_adversarial(lambda x: 0 * x[:, :2], np.zeros((1, 4), np.float32), normal(6, 1, 4), 1., 2)
  assert_close(sure, np.zeros((1, 4)), atol=0)  # no direction changes anything: none, and not NaN


# --- mixtures ------------------------------------------------------------------------------------------------------


def test_sharpen_and_mixup():
  p = probabilities(0, 4, 5)
  for temperature in (0.5, 1.0, 2.0):
    wanted = [mixmatch_twin.sharpen(row, temperature) for row in p]
    assert_close(losses.sharpen(p, temperature), wanted)
  assert_close(losses.sharpen(np.array([[0.75, 0.25, 0]], np.float32), 0.5), [[0.9, 0.1, 0]])
  assert_close(losses.sharpen(p, 1e-3), np.eye(5)[p.argmax(-1)])
  x, order, share = normal(1, 3, 2, 2, 1), np.array([2, 0, 1]), np.array([1, 0.75, 0.5], np.float32)
  assert_close(losses.mixup(x, order, share), mixmatch_twin.mixup(x, order, share))
  assert_close(losses.mixup(x, order, share)[0], x[0], atol=0)
  assert_close(losses.mixup(x, order, share)[1], 0.75 * x[1] + 0.25 * x[0])


def test_mixmatch_by_hand_and_its_limit():
  target, guess = np.array([[0.5, 0.5]], np.float32), np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
  loss, terms = mixmatch(logits([3, 1]), target, logits([1, 1], [1, 1]), guess, 10.0)
  supervised = -(math.log(3 / 4) + math.log(1 / 4)) / 2
  assert_close(terms['consistency'], 2 * 0.4**2 / 4)
  assert_close(loss, supervised + 10 * 0.08)
  labeled, label, weak, strong = batch(32, 3, 9, 4)  # nothing is mixed, the guess is the teacher's
  one_hot = np.eye(4, dtype=np.float32)[label]
  assert_close(mixmatch(labeled, one_hot, strong, jax.nn.softmax(weak), 2.0)[0],
               losses.mean_teacher(labeled, label, strong, weak, 2.0)[0])


def test_remixmatch_by_hand():
  half = np.array([[0.5, 0.5]], np.float32)
  loss, terms = remixmatch(logits([3, 1]), half, logits([1, 1]), half, logits([9, 1]), np.array([[1, 0]], np.float32),
                           logits([1, 1, 2, 4]), np.array([3]), 2.0, 3.0, 5.0)
  assert_close(terms['anchored'], -math.log(0.9))
  assert_close(terms['rotation'], math.log(2))
  assert_close(loss, -math.log(3 / 16) / 2 + 2 * math.log(2) - 3 * math.log(0.9) + 5 * math.log(2))


# --- graphs --------------------------------------------------------------------------------------------------------


def test_smoothed_equals_twin_and_by_hand():
  arguments = probabilities(0, 4, 3), normal(1, 4, 5), normal(2, 7, 5), probabilities(3, 7, 3)
  assert_close(losses.smoothed(*arguments, 0.3, 0.9), comatch_twin.smoothed(*arguments, 0.3, 0.9))
  assert_close(losses.smoothed(*arguments, 0.3, 1.0), arguments[0])
  assert_close(losses.smoothed(*arguments, 1e9, 0.0), np.tile(arguments[3].mean(0), (4, 1)))
  near = losses.smoothed(arguments[0][:1], 5 * arguments[2][3:4], *arguments[2:], 1e-3, 0.0)
  assert_close(near, arguments[3][3:4], rtol=1e-4)


def test_comatch_by_hand_and_its_limits():
  p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
  strong, z = logits([1, 1], [1, 3], [1, 1]), np.eye(3, dtype=np.float32)
  arguments = np.zeros((1, 2), np.float32), np.array([1]), p, strong, z, z[[1, 0, 2]]
  loss, terms = comatch(*arguments, 0.85, 1 / math.log(2), 0.5, 2.0, 3.0)
  consistency = 2 * math.log(2) / 3  # the second is not confident
  # edges: 1 and 0.74 / 1 and 0.74 / 1 alone; similarities 2 : 1 : 1 of sum 4, highest of the swapped pair
  contrast = (2 * (1 * math.log(4) + 0.74 * math.log(2)) / 1.74 + math.log(2)) / 3
  assert_close(terms['consistency'], consistency)
  assert_close(terms['contrast'], contrast)
  assert_close(loss, math.log(2) + 2 * consistency + 3 * contrast)
  # no edges but the loops: InfoNCE; sure pseudo-labels: FixMatch
  labeled, label, weak, strong = batch(33, 3, 9, 4)
  first, second = normal(34, 9, 6), normal(35, 9, 6)
  terms = comatch(labeled, label, jax.nn.softmax(weak), strong, first, second, 0.9, 0.2, 1.0, 2.0, 0.5)[1]
  assert_close(terms['contrast'], losses.info_nce(first, second, jnp.arange(9), 0.2))
  value = comatch(labeled, label, jax.nn.softmax(1e3 * weak), strong, first, second, 0.9, 0.2, 0.8, 2.0, 0.0)[0]
  assert_close(value, fixmatch(labeled, label, 1e3 * weak, strong, 0.9, 2.0)[0])


def test_s4l_by_hand():
  labeled = np.tile(logits([3, 1]), (1, 4, 1))
  sure = 1e3 * np.eye(4, dtype=np.float32)[None]
  loss, terms = s4l(labeled, np.array([1]), sure, np.zeros((2, 4, 4), np.float32), 3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], math.log(4) / 2)  # nothing of the labeled, chance of the others
  assert_close(loss, math.log(4) + 1.5 * math.log(4))


# --- Dash, ShrinkMatch, FST ----------------------------------------------------------------------------------------


def test_dash_threshold():
  at = lambda step, lowest=0.05: losses.dash_threshold(2.0, jnp.int32(step), 1.0001, 1.27, lowest, 9)
  assert_close([at(step) for step in (-5, 0, 8, 9, 18)], 1.0001 * 2 / 1.27 ** np.array([0, 0, 0, 1, 2]))
  assert_close([at(9 * 30), at(0, 3.0)], [0.05, 3.0])
  for step in (0, 8, 9, 40, 400):
    assert_close(at(step), dash_twin.dash_threshold(2.0, step, 1.0001, 1.27, 0.05, 9))


def test_dash_by_hand_and_its_limits():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = logits([9, 1], [3, 1]), logits([1, 3], [1, 9])  # losses 0.105 and 0.288
  loss, terms = dash(labeled, label, weak, strong, 0.2, 0.5, False, 3.0)
  wanted = (81 / 82 * math.log(4) + 1 / 82 * math.log(4 / 3)) / 2
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  assert_close(dash(labeled, label, weak, strong, 0.2, 0.5, True, 3.0)[1]['consistency'], math.log(4) / 2)
  arrays = batch(36, 3, 9, 4)
  for threshold in (0.6, 0.9):  # hard targets: FixMatch with the probability of that loss
    got, terms = dash(*arrays, -math.log(threshold), 0.5, True, 2.0)
    wanted, wanted_terms = fixmatch(*arrays, threshold, 2.0)
    assert_close(got, wanted)
    assert 0 < wanted_terms['use_ratio'] == terms['use_ratio'] < 1
  assert dash(*arrays, 100., 0.5, False, 2.0)[1]['use_ratio'] == 1


@pytest.mark.parametrize('k', [1, 2, 3, 4, 7])
def test_shrunk_space_is_the_smallest_removal_that_makes_the_first_confident(k):
  p = probabilities(k, 40, k, scale=1.5)
  kept, reached = jax.jit(losses.shrunk_space)(p, 0.8)
  for row, got, certain in zip(p, kept, reached, strict=True):
    wanted, possible = shrinkmatch_twin.shrunk_space(row, 0.8)
    assert sorted(np.flatnonzero(got)) == wanted and bool(certain) == possible
    assert got[np.argmax(row)]
  assert k < 3 or 0 < np.mean(reached) <= 1
  assert k != 2 or not np.any(reached)


def test_shrinkmatch_by_hand():
  p = np.array([[0.9, 0.06, 0.04, 0], [0.5, 0.35, 0.1, 0.05], [0.3, 0.3, 0.2, 0.2]], np.float32)
  strong, auxiliary = np.zeros((3, 4), np.float32), logits([1, 1, 1, 1], [1, 5, 2, 1], [1, 1, 1, 1])
  arguments = np.zeros((1, 4), np.float32), np.array([1]), p, strong, auxiliary, 0.75, 0.5, 2.0
  loss, terms = shrinkmatch(*arguments)
  # the second: without class 1 it is 0.5 / 0.65 = 0.77; 1 of 1 + 2 + 1. The third: 0.3 / 0.5 at most
  shrunk = 0.5 * 0.5 * math.log(4) / 3
  assert_close(terms['shrunk'], shrunk)
  assert_close([terms['use_ratio'], terms['shrunk_ratio']], [1 / 3, 1 / 3])
  assert_close(terms['consistency'], math.log(4) / 3)
  assert_close(loss, math.log(4) + 2 * (math.log(4) / 3 + shrunk))
  gradient = jax.grad(total(shrinkmatch), 4)(*arguments)
  assert_close(gradient, 2 * 0.25 / 3 * np.array([[0] * 4, [1 / 4 - 1, 0, 1 / 2, 1 / 4], [0] * 4]))
  assert gradient[1, 1] == 0, 'a removed class has a gradient'


def test_shrinkmatch_where_all_are_certain_is_fixmatch():
  labeled, label, weak, strong = batch(37, 3, 9, 4)
  sure = 1e3 * weak
  got, terms = shrinkmatch(labeled, label, jax.nn.softmax(sure), strong, normal(38, 9, 4), 0.95, 1.0, 2.0)
  assert terms['shrunk'] == 0 and terms['use_ratio'] == 1
  assert_close(got, fixmatch(labeled, label, sure, strong, 0.95, 2.0)[0])
  _, terms = shrinkmatch(labeled, label, jax.nn.softmax(weak), strong, normal(38, 9, 4), 0.9, 0.0, 2.0)
  assert terms['shrunk'] == 0 and terms['shrunk_ratio'] > 0  # nobody was certain so far: no weight


def test_fst_by_hand_and_its_limit():
  teacher, strong = logits([9, 1], [3, 2]), logits([1, 3], [1, 1])
  loss, terms = fst(np.zeros((1, 2), np.float32), np.array([1]), teacher, strong, 0.8, 3.0)
  wanted = (math.log(4) + math.log(2)) / 2 / 2  # all, times the share of one half
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  arrays = batch(39, 3, 9, 4)
  assert_close(fst(*arrays, 0.0, 2.0)[0], fixmatch(*arrays, 0.0, 2.0)[0])


# --- extremes, shapes ----------------------------------------------------------------------------------------------


def test_finite_at_extreme_logits():
  labeled, label, weak, strong = batch(40, 2, 5, 3)
  first = np.tile(np.array([[1, 0, 0]], np.float32), (5, 1))
  points = [(1e4 * labeled, 1e4 * weak, -1e4 * strong), (labeled, 1e4 * first, -1e4 * first),
            (0 * labeled, 0 * weak, 0 * strong), (labeled, 1e4 * weak, 1e-4 * strong)]

  def every(x, w, s):
    p, t = jax.nn.softmax(w), jax.nn.softmax(x)
    turns = jnp.stack([s[:, :1] * jnp.ones(4)] * 4, 1)
    return sum(value for value, _ in (
      losses.pi_model(x, label, w, s, 1.0), losses.vat(x, label, w, s, 1.0, 1.0),
      losses.mixmatch(x, t, s, losses.sharpen(jax.lax.stop_gradient(p), 0.5), 1.0),
      losses.remixmatch(x, t, s, p, s, p, turns[:, 0], jnp.arange(5) % 4, 1.0, 1.0, 1.0),
      losses.comatch(x, label, p, s, w, s, 0.9, 0.2, 0.8, 1.0, 1.0), losses.dash(x, label, w, s, 0.1, 0.5, False, 1.0),
      losses.shrinkmatch(x, label, p, s, s, 0.9, 0.5, 1.0), losses.fst(x, label, w, s, 0.9, 1.0),
      losses.s4l(jnp.stack([x] * 4, 1), label, turns[:2], turns, 1.0)))

  assert_finite(every, *points)


LABELED, CLASSES, WEAK, _ = batch(50, 2, 4, 3)
ONE, THREE = normal(0, 1, 3), np.full(3, 0.5, np.float32)


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: losses.pi_model(LABELED, CLASSES, WEAK, ONE, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.vat(LABELED, CLASSES, WEAK, ONE, 1.0, 0.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.mixmatch(LABELED, LABELED, WEAK, ONE, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.mixmatch(LABELED, ONE, WEAK, WEAK, 1.0), ['(2, 3)', '(1, 3)']),
  (lambda: losses.remixmatch(LABELED, LABELED, WEAK, WEAK, WEAK, ONE, WEAK, CLASSES, 1.0, 1.0, 1.0),
   ['(4, 3)', '(1, 3)']),
  (lambda: losses.comatch(LABELED, CLASSES, ONE, WEAK, WEAK, WEAK, 0.9, 0.2, 0.8, 1.0, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.comatch(LABELED, CLASSES, WEAK, WEAK, ONE, WEAK, 0.9, 0.2, 0.8, 1.0, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.dash(LABELED, CLASSES, WEAK, ONE, 0.9, 0.5, True, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.shrinkmatch(LABELED, CLASSES, WEAK, WEAK, ONE, 0.9, 0.5, 1.0), ['(4, 3)', '(1, 3)']),
  (lambda: losses.fst(LABELED, CLASSES, WEAK, ONE, 0.9, 1.0), ['(4, 3)', '(1, 3)']),
  # thresholds: one, one for each class (FlexMatch), or one for each example
  (lambda: losses.flexmatch(LABELED, CLASSES, WEAK, WEAK, THREE[:2], 1.0), ['(2,)', '(3,)']),
  (lambda: losses.flexmatch(LABELED, CLASSES, WEAK, WEAK, 0.9, 1.0), ['()', '(3,)']),
  (lambda: losses.fixmatch(LABELED, CLASSES, WEAK, WEAK, THREE, 1.0), ['(3,)', '(4,)']),
  (lambda: losses.uda(LABELED, CLASSES, WEAK, WEAK, THREE, 0.5, 1.0), ['(3,)', '(4,)']),
  (lambda: losses.confident(WEAK, WEAK[:, :1]), ['(4, 1)', '(4,)']),
])
def test_shapes_that_do_not_fit_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
