"""VAT with entropy minimisation against its twin: arXiv:1704.03976v2, section 3, eq. 5 to 8, algorithm 1; vat.py.

Products with derivatives are complex steps: exact, as those of the objective. Below, its loss and its direction against
their twins, by hand, and as a limit.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.vat import vat, vat_loss, virtual_adversarial
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import Loss, assert_close, basis, check_half_precision, check_loss, check_values, normal, value_of
from tests.reference import numeric
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, averaged, classifier, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, EPSILON, ITERATIONS, UNLABELED, ENTROPY, MOMENTUM = 4, 5, 3, 0.8, 2, 0.7, 0.4, 0.6
H = 1e-30


def batch(rng):
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 4, 4, 1)), 'index': rng.permutation(50)[:U]}


def lengths_one(d):
  return np.stack([x / np.sqrt(np.sum(x ** 2)) for x in d])


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), (_, direction), (_, search_noise), (_, noise_of_perturbed) = draws
  statistics, weak = copied(memory['statistics']), batch['weak']
  logits = classifier(params, statistics, np.concatenate([batch['image'], weak]), True, noise)
  labeled, unlabeled = logits[:B], logits[B:]
  target = classifier(stopped, copied(memory['statistics']), np.concatenate([batch['image'], weak]), True, noise)[B:]

  def search(images):
    return classifier(stopped, copied(memory['statistics']), images, True, search_noise)

  p, d = softmax(search(weak)), lengths_one(direction)
  for _ in range(ITERATIONS):
    moved = np.imag(search(weak + 1j * H * d)) / H
    pull = np.stack([p[i] * (moved[i] - p[i] @ moved[i]) for i in range(U)])
    gradient = np.zeros(weak.shape)
    for place in np.ndindex(weak.shape):
      pixel = np.zeros(weak.shape)
      pixel[place] = 1
      gradient[place] = np.sum(pull * np.imag(search(weak + 1j * H * pixel))) / H
    d = lengths_one(gradient)
  perturbed = classifier(params, copied(memory['statistics']), weak + EPSILON * d, True, noise_of_perturbed)

  supervised = -np.mean([log_softmax(row)[label] for row, label in zip(labeled, batch['label'], strict=True)])
  consistency, entropy = 0., 0.
  for i in range(U):
    consistency += softmax(target[i]) @ (log_softmax(target[i]) - log_softmax(perturbed[i])) / U
    entropy -= softmax(unlabeled[i]) @ log_softmax(unlabeled[i]) / U

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, MOMENTUM)}

  return supervised + UNLABELED * consistency + ENTROPY * entropy, {
      'supervised': supervised, 'consistency': consistency, 'entropy': entropy}, after


ALL = {'loss', 'supervised', 'consistency', 'entropy'}
CASE = cases.Case(dict(classes=cases.CLASSES, epsilon=2., iterations=1, unlabeled_weight=1., entropy_weight=0.5,
                       ema_momentum=0.9), fixmatch_views(operations=0, cutout_share=0.), cases.streams, draws=True)
TWIN = Twin(
    vat(tiny(), classes=CLASSES, epsilon=EPSILON, iterations=ITERATIONS, unlabeled_weight=UNLABELED,
        entropy_weight=ENTROPY, ema_momentum=MOMENTUM), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['ema']['backbone'], memory['statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['ema'], memory['statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.}, repeated=1,
    moves={'image': ALL, 'label': {'loss', 'supervised'}, 'weak': ALL, 'index': {'loss', 'consistency'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def kl(p_logits, q_logits):
  """KL(p || q) of two rows of logits."""
  return sum(math.exp(p) * (p - q) for p, q in zip(slow.log_softmax(p_logits), slow.log_softmax(q_logits), strict=True))


def direction_twin(logits_of, image, direction, epsilon, iterations, xi=1e-4):
  """r_vadv of one image, arXiv:1704.03976v2 algorithm 1: d <- the gradient of D(x, r) at r = xi d, by differences.

  Args:
    logits_of: [d] -> [k], in float64.
    image, direction: [d].
    epsilon: float.
    iterations: int.

  Returns:
    float64 [d].
  """
  image, d = np.asarray(image, np.float64), np.asarray(direction, np.float64)
  for _ in range(iterations):
    d = d / math.sqrt(d @ d)
    d = numeric.gradient(lambda r: kl(logits_of(image), logits_of(image + r)), xi * d, 1e-6)
  return epsilon * d / math.sqrt(d @ d)


def loss_twin(labeled, label, clean, perturbed, unlabeled_weight, entropy_weight):
  """l + alpha R_vadv + weight times the conditional entropy, arXiv:1704.03976v2 section 3.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    clean, perturbed: [u, k] logits.
    unlabeled_weight, entropy_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'entropy'}), floats.
  """
  supervised = slow.supervised_mean(labeled, label)
  consistency, entropy = 0.0, 0.0
  for x, y in zip(clean, perturbed, strict=True):
    consistency += kl(x, y) / len(clean)
    for log in slow.log_softmax(x):
      entropy -= math.exp(log) * log / len(clean)
  terms = {'supervised': supervised, 'consistency': consistency, 'entropy': entropy}
  return supervised + unlabeled_weight * consistency + entropy_weight * entropy, terms


jit_loss = jax.jit(vat_loss)
LOSS = Loss(jit_loss, loss_twin, [(*few.step(1, 2, 5, 3), 2.0, 0.0)], moving=(0, 3), halves=(0, 3),
            refused=[((few.LABELED, few.CLASSES, few.WEAK, few.ONE, 1.0, 0.0), ['(4, 3)', '(1, 3)'])])


def test_its_loss():
  check_loss(LOSS)
  entropy = LOSS._replace(points=[(*few.step(2, 3, 9, 4), 0.5, 0.7)])  # which has a gradient to the clean logits
  check_values(entropy)
  check_half_precision(entropy)
  few.check_finite(lambda x, w, s: jit_loss(*x, clean=w, perturbed=s, unlabeled_weight=1.0, entropy_weight=1.0))


def test_vat_by_hand_and_its_limit():
  clean, perturbed = few.odds([3, 1], [1, 1]), few.odds([1, 1], [1, 1])
  at = lambda clean: jit_loss(np.zeros((1, 2), np.float32), np.array([1]), clean=clean, perturbed=perturbed,
                              unlabeled_weight=3.0, entropy_weight=0.5)
  loss, terms = at(clean)
  divergence = (3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)) / 2
  entropy = (-3 / 4 * math.log(3 / 4) - 1 / 4 * math.log(1 / 4) + math.log(2)) / 2
  assert_close(terms['consistency'], divergence)
  assert_close(terms['entropy'], entropy)
  assert_close(loss, math.log(2) + 3 * divergence + 0.5 * entropy)
  gradient = jax.grad(value_of(at))(clean)
  slope = 3 / 4 * 1 / 4 * math.log(3)  # p (1 - p) times the difference of the logits
  assert_close(gradient, 0.25 * np.array([[-slope, slope], [0, 0]]))  # of the entropy alone
  labels, views = few.named(*few.step(31, 3, 9, 4))  # without a threshold and sharpening it is UDA's
  of = lambda clean, perturbed: jit_loss(*labels, clean=clean, perturbed=perturbed, unlabeled_weight=2.0,
                                         entropy_weight=0.0)
  assert_close(of(views['weak'], views['strong'])[0], losses.uda(*labels, **views, threshold=0.0, temperature=1.0,
                                                                 unlabeled_weight=2.0)[0])
  assert_close(of(views['weak'], views['weak'])[1]['consistency'], 0)


@pytest.mark.parametrize('iterations', [1, 3])
def test_virtual_adversarial_direction_equals_twin(iterations):
  kernel, second = normal(0, 6, 5), normal(1, 5, 3)
  images, direction = normal(2, 4, 2, 3), normal(3, 4, 2, 3)
  of = lambda x: jnp.tanh(x.reshape(len(x), -1) @ kernel) @ second
  in_loops = lambda x: np.tanh(x @ kernel.astype(np.float64)) @ second.astype(np.float64)
  result = virtual_adversarial(of, images, direction=direction, epsilon=0.7, iterations=iterations)
  assert_close(np.linalg.norm(np.asarray(result).reshape(4, -1), axis=1), [0.7] * 4)
  for got, image, d in zip(result, images, direction, strict=True):
    wanted = direction_twin(in_loops, image.reshape(-1), d.reshape(-1), 0.7, iterations)
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


# --- The objective -------------------------------------------------------------------------------------------------

def test_a_perturbation_of_length_0_changes_nothing():
  for epsilon, zero in ((0., True), (1., False)):
    made = vat(few.BACKBONE, classes=few.K, epsilon=epsilon, iterations=1, unlabeled_weight=1., entropy_weight=0.,
               ema_momentum=0.)
    _, (_, terms) = made.loss(*made.init(few.KEY), few.images(0), few.KEY, 9)
    assert (abs(float(terms['consistency'])) < 1e-7) == zero


def test_its_average():
  few.check_average('vat', CASE, 'shared')
