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
from pretrain.objectives.comatch import comatch_loss, smoothed
from pretrain.objectives.dash import dash_loss, dash_threshold
from pretrain.objectives.flexmatch import flexmatch_loss
from pretrain.objectives.fst import fst_loss
from pretrain.objectives.mean_teacher import mean_teacher_loss
from pretrain.objectives.mixmatch import mixmatch_loss
from pretrain.objectives.pi_model import pi_model_loss
from pretrain.objectives.remixmatch import remixmatch_loss
from pretrain.objectives.s4l import s4l_loss
from pretrain.objectives.shrinkmatch import shrinkmatch_loss, shrunk_space
from pretrain.objectives.vat import vat_loss, virtual_adversarial
from tests.checks import assert_close, assert_finite, assert_gradient_in, assert_half_precision, basis, in_order, normal
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
pi_model, vat, mixmatch, remixmatch = map(jax.jit, (pi_model_loss, vat_loss, mixmatch_loss, remixmatch_loss))
comatch, s4l, dash, shrinkmatch, fst = map(jax.jit, (comatch_loss, s4l_loss, dash_loss, shrinkmatch_loss, fst_loss))


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


def named(labeled, label, weak, strong):
  """Those that losses take by place, and those that they take by name."""
  return (labeled, label), {'weak': weak, 'strong': strong}


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
POINTS = [(in_order(loss), *rest) for loss, *rest in POINTS]  # called as the twins are
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
  loss, terms = pi_model(ZERO, LABEL, first=first, second=second, unlabeled_weight=16.0)
  wanted = ((1 / 8) ** 2 + (1 / 8) ** 2 + (1 / 4) ** 2) / 4 / 2  # the mean over classes and rows
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(4) + 16 * wanted)
  # Mean Teacher's loss, but with a gradient to both
  labeled, label, one, other = batch(30, 3, 9, 4)
  here = lambda first, second: pi_model(labeled, label, first=first, second=second, unlabeled_weight=2.0)[0]
  there = lambda first, second: mean_teacher_loss(labeled, label, student=first, teacher=second,
                                                  unlabeled_weight=2.0)[0]
  assert_close(here(one, other), there(one, other))
  both = jax.grad(here, (0, 1))(one, other)
  assert_close(both[0], jax.grad(there)(one, other))
  assert_close(both[1], jax.grad(here)(other, one))


def test_vat_by_hand_and_its_limit():
  clean, perturbed = logits([3, 1], [1, 1]), logits([1, 1], [1, 1])
  at = lambda clean: vat(np.zeros((1, 2), np.float32), np.array([1]), clean=clean, perturbed=perturbed,
                         unlabeled_weight=3.0, entropy_weight=0.5)
  loss, terms = at(clean)
  divergence = (3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)) / 2
  entropy = (-3 / 4 * math.log(3 / 4) - 1 / 4 * math.log(1 / 4) + math.log(2)) / 2
  assert_close(terms['consistency'], divergence)
  assert_close(terms['entropy'], entropy)
  assert_close(loss, math.log(2) + 3 * divergence + 0.5 * entropy)
  gradient = jax.grad(total(at))(clean)
  slope = 3 / 4 * 1 / 4 * math.log(3)  # p (1 - p) times the difference of the logits
  assert_close(gradient, 0.25 * np.array([[-slope, slope], [0, 0]]))  # of the entropy alone
  labels, views = named(*batch(31, 3, 9, 4))  # without a threshold and sharpening it is UDA's
  of = lambda clean, perturbed: vat(*labels, clean=clean, perturbed=perturbed, unlabeled_weight=2.0, entropy_weight=0.0)
  assert_close(of(views['weak'], views['strong'])[0], uda(*labels, **views, threshold=0.0, temperature=1.0,
                                                          unlabeled_weight=2.0)[0])
  assert_close(of(views['weak'], views['weak'])[1]['consistency'], 0)


@pytest.mark.parametrize('iterations', [1, 3])
def test_virtual_adversarial_direction_equals_twin(iterations):
  kernel, second = normal(0, 6, 5), normal(1, 5, 3)
  images, direction = normal(2, 4, 2, 3), normal(3, 4, 2, 3)
  of = lambda x: jnp.tanh(x.reshape(len(x), -1) @ kernel) @ second
  slow = lambda x: np.tanh(x @ kernel.astype(np.float64)) @ second.astype(np.float64)
  result = virtual_adversarial(of, images, direction=direction, epsilon=0.7, iterations=iterations)
  assert_close(np.linalg.norm(np.asarray(result).reshape(4, -1), axis=1), [0.7] * 4)
  for got, image, d in zip(result, images, direction, strict=True):
    wanted = vat_twin.virtual_adversarial(slow, image.reshape(-1), d.reshape(-1), 0.7, iterations)
    assert_close(np.asarray(got).reshape(-1), wanted, rtol=2e-3, atol=2e-4)  # the twin's difference is the limit


def test_virtual_adversarial_direction_by_hand():
  """Logits (a x, 0): only the first pixel matters; many iterations give the largest eigenvector of J^T F J."""
  kernel = np.array([[3, 0, 0], [0, 0, 0]], np.float32)
  got = virtual_adversarial(lambda x: x @ kernel, np.zeros((1, 2), np.float32), direction=basis(2)[None].sum(1),
                            epsilon=2., iterations=1)
  assert_close(got, [[2, 0]])
  kernel = normal(5, 4, 3)
  p = np.full(3, 1 / 3)
  values, vectors = np.linalg.eigh(kernel @ (np.diag(p) - np.outer(p, p)) @ kernel.T)
  got = virtual_adversarial(lambda x: x @ kernel, np.zeros((1, 4), np.float32), direction=normal(6, 1, 4), epsilon=1.,
                            iterations=60)
  assert values[-1] > 1.2 * values[-2]
  assert_close(abs(np.asarray(got)[0] @ vectors[:, -1]), 1, rtol=1e-4)
  sure = virtual_adversarial(lambda x: 0 * x[:, :2], np.zeros((1, 4), np.float32), direction=normal(6, 1, 4),
                             epsilon=1., iterations=2)
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
  assert_close(losses.mixup(x, order, share=share), mixmatch_twin.mixup(x, order, share))
  assert_close(losses.mixup(x, order, share=share)[0], x[0], atol=0)
  assert_close(losses.mixup(x, order, share=share)[1], 0.75 * x[1] + 0.25 * x[0])


def test_mixmatch_by_hand_and_its_limit():
  target, guess = np.array([[0.5, 0.5]], np.float32), np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
  loss, terms = mixmatch(logits([3, 1]), target, unlabeled=logits([1, 1], [1, 1]), guess=guess, unlabeled_weight=10.0)
  supervised = -(math.log(3 / 4) + math.log(1 / 4)) / 2
  assert_close(terms['consistency'], 2 * 0.4**2 / 4)
  assert_close(loss, supervised + 10 * 0.08)
  labeled, label, weak, strong = batch(32, 3, 9, 4)  # nothing is mixed, the guess is the teacher's
  one_hot = np.eye(4, dtype=np.float32)[label]
  assert_close(mixmatch(labeled, one_hot, unlabeled=strong, guess=jax.nn.softmax(weak), unlabeled_weight=2.0)[0],
               mean_teacher_loss(labeled, label, student=strong, teacher=weak, unlabeled_weight=2.0)[0])


def test_remixmatch_by_hand():
  half = np.array([[0.5, 0.5]], np.float32)
  loss, terms = remixmatch(logits([3, 1]), half, unlabeled=logits([1, 1]), mixed_guess=half, anchored=logits([9, 1]),
                           guess=np.array([[1, 0]], np.float32), turned=logits([1, 1, 2, 4]), turns=np.array([3]),
                           unlabeled_weight=2.0, anchor_weight=3.0, rotation_weight=5.0)
  assert_close(terms['anchored'], -math.log(0.9))
  assert_close(terms['rotation'], math.log(2))
  assert_close(loss, -math.log(3 / 16) / 2 + 2 * math.log(2) - 3 * math.log(0.9) + 5 * math.log(2))


# --- graphs --------------------------------------------------------------------------------------------------------


def test_smoothed_equals_twin_and_by_hand():
  p, z, memory_z, memory_p = probabilities(0, 4, 3), normal(1, 4, 5), normal(2, 7, 5), probabilities(3, 7, 3)
  of = partial(smoothed, memory_z=memory_z, memory_probabilities=memory_p)
  assert_close(of(p, z, temperature=0.3, share=0.9), comatch_twin.smoothed(p, z, memory_z, memory_p, 0.3, 0.9))
  assert_close(of(p, z, temperature=0.3, share=1.0), p)
  assert_close(of(p, z, temperature=1e9, share=0.0), np.tile(memory_p.mean(0), (4, 1)))
  near = of(p[:1], 5 * memory_z[3:4], temperature=1e-3, share=0.0)
  assert_close(near, memory_p[3:4], rtol=1e-4)


def test_comatch_by_hand_and_its_limits():
  p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
  strong, z = logits([1, 1], [1, 3], [1, 1]), np.eye(3, dtype=np.float32)
  loss, terms = comatch(np.zeros((1, 2), np.float32), np.array([1]), probabilities=p, strong=strong, first=z,
                        second=z[[1, 0, 2]], threshold=0.85, temperature=1 / math.log(2), edge_threshold=0.5,
                        unlabeled_weight=2.0, contrast_weight=3.0)
  consistency = 2 * math.log(2) / 3  # the second is not confident
  # edges: 1 and 0.74 / 1 and 0.74 / 1 alone; similarities 2 : 1 : 1 of sum 4, highest of the swapped pair
  contrast = (2 * (1 * math.log(4) + 0.74 * math.log(2)) / 1.74 + math.log(2)) / 3
  assert_close(terms['consistency'], consistency)
  assert_close(terms['contrast'], contrast)
  assert_close(loss, math.log(2) + 2 * consistency + 3 * contrast)
  # no edges but the loops: InfoNCE; sure pseudo-labels: FixMatch
  labeled, label, weak, strong = batch(33, 3, 9, 4)
  first, second = normal(34, 9, 6), normal(35, 9, 6)
  of = partial(comatch, labeled, label, strong=strong, first=first, second=second, threshold=0.9, temperature=0.2,
               unlabeled_weight=2.0)
  terms = of(probabilities=jax.nn.softmax(weak), edge_threshold=1.0, contrast_weight=0.5)[1]
  assert_close(terms['contrast'], losses.info_nce(first, second, positive=jnp.arange(9), temperature=0.2))
  value = of(probabilities=jax.nn.softmax(1e3 * weak), edge_threshold=0.8, contrast_weight=0.0)[0]
  assert_close(value, fixmatch(labeled, label, weak=1e3 * weak, strong=strong, threshold=0.9, unlabeled_weight=2.0)[0])


def test_s4l_by_hand():
  labeled = np.tile(logits([3, 1]), (1, 4, 1))
  sure = 1e3 * np.eye(4, dtype=np.float32)[None]
  loss, terms = s4l(labeled, np.array([1]), turned_labeled=sure, turned_unlabeled=np.zeros((2, 4, 4), np.float32),
                    rotation_weight=3.0)
  assert_close(terms['supervised'], math.log(4))
  assert_close(terms['consistency'], math.log(4) / 2)  # nothing of the labeled, chance of the others
  assert_close(loss, math.log(4) + 1.5 * math.log(4))


# --- Dash, ShrinkMatch, FST ----------------------------------------------------------------------------------------


def test_dash_threshold():
  at = lambda step, lowest=0.05: dash_threshold(2.0, jnp.int32(step), constant=1.0001, base=1.27, lowest=lowest,
                                                every_steps=9)
  assert_close([at(step) for step in (-5, 0, 8, 9, 18)], 1.0001 * 2 / 1.27 ** np.array([0, 0, 0, 1, 2]))
  assert_close([at(9 * 30), at(0, 3.0)], [0.05, 3.0])
  for step in (0, 8, 9, 40, 400):
    assert_close(at(step), dash_twin.dash_threshold(2.0, step, 1.0001, 1.27, 0.05, 9))


def test_dash_by_hand_and_its_limits():
  labeled, label = np.zeros((1, 2), np.float32), np.array([1])
  weak, strong = logits([9, 1], [3, 1]), logits([1, 3], [1, 9])  # losses 0.105 and 0.288
  of = partial(dash, labeled, label, weak=weak, strong=strong, threshold=0.2, temperature=0.5, unlabeled_weight=3.0)
  loss, terms = of(hard=False)
  wanted = (81 / 82 * math.log(4) + 1 / 82 * math.log(4 / 3)) / 2
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  assert_close(of(hard=True)[1]['consistency'], math.log(4) / 2)
  labels, views = named(*batch(36, 3, 9, 4))
  for threshold in (0.6, 0.9):  # hard targets: FixMatch with the probability of that loss
    got, terms = dash(*labels, **views, threshold=-math.log(threshold), temperature=0.5, hard=True,
                      unlabeled_weight=2.0)
    wanted, wanted_terms = fixmatch(*labels, **views, threshold=threshold, unlabeled_weight=2.0)
    assert_close(got, wanted)
    assert 0 < wanted_terms['use_ratio'] == terms['use_ratio'] < 1
  assert dash(*labels, **views, threshold=100., temperature=0.5, hard=False, unlabeled_weight=2.0)[1]['use_ratio'] == 1


@pytest.mark.parametrize('k', [1, 2, 3, 4, 7])
def test_shrunk_space_is_the_smallest_removal_that_makes_the_first_confident(k):
  p = probabilities(k, 40, k, scale=1.5)
  kept, reached = jax.jit(shrunk_space)(p, 0.8)
  for row, got, certain in zip(p, kept, reached, strict=True):
    wanted, possible = shrinkmatch_twin.shrunk_space(row, 0.8)
    assert sorted(np.flatnonzero(got)) == wanted and bool(certain) == possible
    assert got[np.argmax(row)]
  assert k < 3 or 0 < np.mean(reached) <= 1
  assert k != 2 or not np.any(reached)


def test_shrinkmatch_by_hand():
  p = np.array([[0.9, 0.06, 0.04, 0], [0.5, 0.35, 0.1, 0.05], [0.3, 0.3, 0.2, 0.2]], np.float32)
  strong, auxiliary = np.zeros((3, 4), np.float32), logits([1, 1, 1, 1], [1, 5, 2, 1], [1, 1, 1, 1])
  at = lambda auxiliary: shrinkmatch(np.zeros((1, 4), np.float32), np.array([1]), probabilities=p, strong=strong,
                                     auxiliary=auxiliary, threshold=0.75, certain=0.5, unlabeled_weight=2.0)
  loss, terms = at(auxiliary)
  # the second: without class 1 it is 0.5 / 0.65 = 0.77; 1 of 1 + 2 + 1. The third: 0.3 / 0.5 at most
  shrunk = 0.5 * 0.5 * math.log(4) / 3
  assert_close(terms['shrunk'], shrunk)
  assert_close([terms['use_ratio'], terms['shrunk_ratio']], [1 / 3, 1 / 3])
  assert_close(terms['consistency'], math.log(4) / 3)
  assert_close(loss, math.log(4) + 2 * (math.log(4) / 3 + shrunk))
  gradient = jax.grad(total(at))(auxiliary)
  assert_close(gradient, 2 * 0.25 / 3 * np.array([[0] * 4, [1 / 4 - 1, 0, 1 / 2, 1 / 4], [0] * 4]))
  assert gradient[1, 1] == 0, 'a removed class has a gradient'


def test_shrinkmatch_where_all_are_certain_is_fixmatch():
  labeled, label, weak, strong = batch(37, 3, 9, 4)
  sure = 1e3 * weak
  of = partial(shrinkmatch, labeled, label, strong=strong, auxiliary=normal(38, 9, 4), unlabeled_weight=2.0)
  got, terms = of(probabilities=jax.nn.softmax(sure), threshold=0.95, certain=1.0)
  assert terms['shrunk'] == 0 and terms['use_ratio'] == 1
  assert_close(got, fixmatch(labeled, label, weak=sure, strong=strong, threshold=0.95, unlabeled_weight=2.0)[0])
  _, terms = of(probabilities=jax.nn.softmax(weak), threshold=0.9, certain=0.0)
  assert terms['shrunk'] == 0 and terms['shrunk_ratio'] > 0  # nobody was certain so far: no weight


def test_fst_by_hand_and_its_limit():
  teacher, strong = logits([9, 1], [3, 2]), logits([1, 3], [1, 1])
  loss, terms = fst(np.zeros((1, 2), np.float32), np.array([1]), teacher=teacher, strong=strong, threshold=0.8,
                    unlabeled_weight=3.0)
  wanted = (math.log(4) + math.log(2)) / 2 / 2  # all, times the share of one half
  assert_close(terms['consistency'], wanted)
  assert_close(loss, math.log(2) + 3 * wanted)
  labels, views = named(*batch(39, 3, 9, 4))
  value, _ = fst(*labels, teacher=views['weak'], strong=views['strong'], threshold=0.0, unlabeled_weight=2.0)
  assert_close(value, fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=2.0)[0])


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
      pi_model_loss(x, label, first=w, second=s, unlabeled_weight=1.0),
      vat_loss(x, label, clean=w, perturbed=s, unlabeled_weight=1.0, entropy_weight=1.0),
      mixmatch_loss(x, t, unlabeled=s, guess=losses.sharpen(jax.lax.stop_gradient(p), 0.5), unlabeled_weight=1.0),
      remixmatch_loss(x, t, unlabeled=s, mixed_guess=p, anchored=s, guess=p, turned=turns[:, 0],
                      turns=jnp.arange(5) % 4, unlabeled_weight=1.0, anchor_weight=1.0, rotation_weight=1.0),
      comatch_loss(x, label, probabilities=p, strong=s, first=w, second=s, **CO),
      dash_loss(x, label, weak=w, strong=s, threshold=0.1, temperature=0.5, hard=False, unlabeled_weight=1.0),
      shrinkmatch_loss(x, label, probabilities=p, strong=s, auxiliary=s, threshold=0.9, certain=0.5,
                       unlabeled_weight=1.0),
      fst_loss(x, label, teacher=w, strong=s, threshold=0.9, unlabeled_weight=1.0),
      s4l_loss(jnp.stack([x] * 4, 1), label, turned_labeled=turns[:2], turned_unlabeled=turns, rotation_weight=1.0)))

  assert_finite(every, *points)


LABELED, CLASSES, WEAK, _ = batch(50, 2, 4, 3)
ONE, THREE = normal(0, 1, 3), np.full(3, 0.5, np.float32)
CO = dict(threshold=0.9, temperature=0.2, edge_threshold=0.8, unlabeled_weight=1.0, contrast_weight=1.0)


@pytest.mark.parametrize(('call', 'shapes'), [
  (lambda: pi_model_loss(LABELED, CLASSES, first=WEAK, second=ONE, unlabeled_weight=1.0), ['(4, 3)', '(1, 3)']),
  (lambda: vat_loss(LABELED, CLASSES, clean=WEAK, perturbed=ONE, unlabeled_weight=1.0, entropy_weight=0.0),
   ['(4, 3)', '(1, 3)']),
  (lambda: mixmatch_loss(LABELED, LABELED, unlabeled=WEAK, guess=ONE, unlabeled_weight=1.0), ['(4, 3)', '(1, 3)']),
  (lambda: mixmatch_loss(LABELED, ONE, unlabeled=WEAK, guess=WEAK, unlabeled_weight=1.0), ['(2, 3)', '(1, 3)']),
  (lambda: remixmatch_loss(LABELED, LABELED, unlabeled=WEAK, mixed_guess=WEAK, anchored=WEAK, guess=ONE, turned=WEAK,
                           turns=CLASSES, unlabeled_weight=1.0, anchor_weight=1.0, rotation_weight=1.0),
   ['(4, 3)', '(1, 3)']),
  (lambda: comatch_loss(LABELED, CLASSES, probabilities=ONE, strong=WEAK, first=WEAK, second=WEAK, **CO),
   ['(4, 3)', '(1, 3)']),
  (lambda: comatch_loss(LABELED, CLASSES, probabilities=WEAK, strong=WEAK, first=ONE, second=WEAK, **CO),
   ['(4, 3)', '(1, 3)']),
  (lambda: dash_loss(LABELED, CLASSES, weak=WEAK, strong=ONE, threshold=0.9, temperature=0.5, hard=True,
                     unlabeled_weight=1.0), ['(4, 3)', '(1, 3)']),
  (lambda: shrinkmatch_loss(LABELED, CLASSES, probabilities=WEAK, strong=WEAK, auxiliary=ONE, threshold=0.9,
                            certain=0.5, unlabeled_weight=1.0), ['(4, 3)', '(1, 3)']),
  (lambda: fst_loss(LABELED, CLASSES, teacher=WEAK, strong=ONE, threshold=0.9, unlabeled_weight=1.0),
   ['(4, 3)', '(1, 3)']),
  # thresholds: one, one for each class (FlexMatch), or one for each example
  (lambda: flexmatch_loss(LABELED, CLASSES, weak=WEAK, strong=WEAK, thresholds=THREE[:2], unlabeled_weight=1.0),
   ['(2,)', '(3,)']),
  (lambda: flexmatch_loss(LABELED, CLASSES, weak=WEAK, strong=WEAK, thresholds=0.9, unlabeled_weight=1.0),
   ['()', '(3,)']),
  (lambda: losses.fixmatch(LABELED, CLASSES, weak=WEAK, strong=WEAK, threshold=THREE, unlabeled_weight=1.0),
   ['(3,)', '(4,)']),
  (lambda: losses.uda(LABELED, CLASSES, weak=WEAK, strong=WEAK, threshold=THREE, temperature=0.5, unlabeled_weight=1.0),
   ['(3,)', '(4,)']),
  (lambda: losses.confident(WEAK, WEAK[:, :1]), ['(4, 1)', '(4,)']),
])
def test_shapes_that_do_not_fit_are_refused(call, shapes):
  with pytest.raises(ValueError) as error:
    call()
  for shape in shapes:  # what was got
    assert shape in str(error.value)
