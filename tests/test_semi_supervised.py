"""Semi-supervised objectives: where one is another, and what they keep from step to step."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain import losses
from pretrain.models.resnet import resnet
from pretrain.models.vit import vit
from pretrain.objectives.adamatch import adamatch
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.flexmatch import flexmatch
from pretrain.objectives.freematch import freematch
from pretrain.objectives.mean_teacher import mean_teacher
from pretrain.objectives.pseudo_label import pseudo_label
from pretrain.objectives.softmatch import softmatch
from pretrain.semi_supervised import classifier, classify
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests.checks import assert_close, normal

BACKBONE = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
B, U, K, EXAMPLES, KEY = 4, 8, 3, 20, jax.random.key(0)


def logits(seed: int):
  """labeled [b, k], label, weak and strong [u, k], some of the weak ones confident."""
  label = np.random.default_rng(seed).integers(0, K, B)
  return normal(seed, B, K), label, normal(seed + 1, U, K, scale=3), normal(seed + 2, U, K)


def batch(seed: int):
  rng = np.random.default_rng(seed)
  images = {name: jnp.asarray(rng.uniform(size=(n, 8, 8, 1)), jnp.float32)
            for name, n in (('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  return images | {'label': jnp.asarray(rng.integers(0, K, B)), 'index': jnp.asarray(rng.permutation(EXAMPLES)[:U])}


def value(made, params, memory, at: int = 0, **changes):
  return made.loss(params, memory, batch(0) | changes, KEY, at)[0]


def steps(made, n: int):
  """Parameters and memory after n steps of plain gradient descent."""
  params, memory = made.init(KEY)
  for at in range(n):
    (_, (carry, _)), grads = jax.value_and_grad(made.loss, has_aux=True)(params, memory, batch(at), KEY, at)
    params = optax.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, grads))
    params, memory = made.update(params, memory, carry, at)
  return params, memory


def equal(got, wanted):
  jax.tree.map(np.testing.assert_array_equal, got, wanted)


# --- One method as a limit of another ------------------------------------------------------------------------------

@pytest.mark.parametrize(('selected', 'share'), [([0, 1, 2] * 4, 1.0), ([0, 1, 2, -1, -1, -1], 1 / 5), ([-1] * 6, 0.0)])
def test_flexmatch_with_equal_statuses_is_fixmatch_with_the_mapped_threshold(selected, share):
  """beta is 1, 1 / 3 and 0 of every class, which beta / (2 - beta) maps to `share` of the threshold."""
  thresholds = losses.flexmatch_thresholds(jnp.asarray(selected), K, 0.9)
  assert_close(thresholds, [share * 0.9] * K)
  arrays = logits(0)
  equal(losses.flexmatch(*arrays, thresholds, 2.0), losses.fixmatch(*arrays, thresholds[0], 2.0))


def test_flexmatch_that_has_labeled_every_class_equally_is_fixmatch():
  made = flexmatch(BACKBONE, classes=K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9, examples=18)
  other = fixmatch(BACKBONE, classes=K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  full = memory | {'selected': jnp.arange(18) % K}
  assert float(value(made, params, full)) == float(value(other, params, memory))
  assert float(value(made, params, memory)) != float(value(other, params, memory))  # at first all are used


def test_softmatch_with_infinite_variance_uses_every_example_fully():
  arrays, probability = logits(3), jnp.array([0.5, 0.3, 0.2])
  got, metrics = losses.softmatch(*arrays, 0.9, jnp.inf, probability, 2.0, 1.5)
  assert float(metrics['use_ratio']) == 1
  equal(got, losses.fixmatch(*arrays, 0.0, 1.5)[0])
  assert float(losses.softmatch(*arrays, 0.9, 0.01, probability, 2.0, 1.5)[1]['use_ratio']) < 1
  made = softmatch(BACKBONE, classes=K, momentum=0.9, sigmas=2., unlabeled_weight=1., ema_momentum=0.9)
  other = fixmatch(BACKBONE, classes=K, threshold=0., unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  assert float(value(made, params, memory | {'variance': jnp.float32(jnp.inf)})) == float(value(other, params, memory))


def test_fixmatch_with_threshold_zero_and_one_view_is_pseudo_label():
  labeled, label, weak, strong = logits(5)
  got, metrics = losses.fixmatch(labeled, label, weak, weak, 0.0, 1.5)
  assert float(metrics['use_ratio']) == 1
  equal(got, losses.pseudo_label(labeled, label, weak, 1.5)[0])
  assert float(losses.fixmatch(labeled, label, weak, strong, 0.0, 1.5)[1]['use_ratio']) == 1
  gradient = jax.grad(lambda w: losses.pseudo_label(labeled, label, w, 1.5)[0])(weak)
  pseudo = weak.argmax(-1)
  equal(gradient, jax.grad(lambda w: losses.fixmatch(labeled, label, weak, w, 0.0, 1.5)[0])(weak))
  assert_close(gradient, 1.5 * (jax.nn.softmax(weak) - jax.nn.one_hot(pseudo, K)) / U)


def test_mean_teacher_with_momentum_zero_is_the_students_own_prediction():
  made = mean_teacher(BACKBONE, classes=K, unlabeled_weight=5., ramp_steps=0, momentum_start=0., momentum=0.)
  params, memory = steps(made, 3)
  jax.tree.map(lambda teacher, student: assert_close(teacher, student, atol=1e-7), memory['ema'], params)
  memory |= {'ema': params}
  _, (_, metrics) = made.loss(params, memory, batch(0) | {'strong': batch(0)['weak']}, KEY, 5)
  assert float(metrics['consistency']) == 0
  _, (_, other) = made.loss(params, memory, batch(0), KEY, 5)
  assert float(other['consistency']) > 0
  net = classifier(BACKBONE, K)
  (got,), _ = classify(net, params, memory['statistics'], [batch(0)['weak']])
  equal(made.predict(params, memory, batch(0)['weak']), jax.nn.softmax(got))


def test_freematch_at_rest_with_a_uniform_prediction_is_fixmatch_with_the_global_threshold():
  arrays, uniform = logits(7), jnp.full(K, 1 / K)
  got, metrics = losses.freematch(*arrays, jnp.float32(0.8), uniform, uniform, 1.5, 0.0)
  equal(got, losses.fixmatch(*arrays, 0.8, 1.5)[0])
  _, use = losses.confident(arrays[2], 0.8)
  assert_close(metrics['fairness'], losses.fairness(arrays[3], use, uniform, uniform))
  assert float(losses.fairness(arrays[3], np.zeros(U, bool), uniform, uniform)) == 0


def test_adamatch_with_equal_averages_and_certain_labels_is_fixmatch():
  labeled, label, weak, strong = logits(9)
  certain = 100 * jax.nn.one_hot(label, K)
  average = jnp.array([0.5, 0.3, 0.2])
  got, metrics = losses.adamatch(certain, certain, label, weak, strong, 0.8, average, average, 1.5)
  wanted, terms = losses.fixmatch(certain, label, weak, strong, 0.8, 1.5)
  assert_close(got, wanted)
  assert_close(metrics['relative_threshold'], 0.8)
  assert metrics['use_ratio'] == terms['use_ratio'] < 1


# --- From step to step ---------------------------------------------------------------------------------------------

def test_flexmatch_remembers_the_last_confident_class_of_each_example():
  net, images = classifier(BACKBONE, K), batch(0)
  (weak,), _ = classify(net, *net.init(KEY), [images['weak']])
  threshold = float(np.sort(jax.nn.softmax(weak).max(-1))[U // 2]) - 1e-6
  pseudo, use = losses.confident(weak, threshold)
  assert use.sum() == U // 2
  made = flexmatch(BACKBONE, classes=K, threshold=threshold, unlabeled_weight=1., ema_momentum=0.9, examples=EXAMPLES)
  params, memory = made.init(KEY)
  equal(memory['selected'], np.full(EXAMPLES, -1))
  before = jnp.full(EXAMPLES, 7)
  _, (carry, _) = made.loss(params, memory, images, KEY, 0)
  _, after = made.update(params, memory | {'selected': before}, carry, 0)
  wanted = np.full(EXAMPLES, 7)
  wanted[np.asarray(images['index'])[np.asarray(use)]] = np.asarray(pseudo)[np.asarray(use)]
  equal(after['selected'], wanted)


def test_weights_ramp_as_published():
  made = pseudo_label(BACKBONE, classes=K, unlabeled_weight=3., ramp_start_step=100, ramp_end_step=600,
                      ema_momentum=0.9)
  params, memory = made.init(KEY)
  weight = lambda made, at: float(made.loss(params, memory, batch(0), KEY, at)[1][1]['unlabeled_weight'])
  assert_close([weight(made, at) for at in (0, 100, 350, 600, 10_000)], [0, 0, 1.5, 3, 3])
  made = mean_teacher(BACKBONE, classes=K, unlabeled_weight=8., ramp_steps=40, momentum_start=0.99, momentum=0.999)
  assert_close([weight(made, at) for at in (0, 20, 40, 99)], [8 * np.exp(-5), 8 * np.exp(-1.25), 8, 8])
  made = adamatch(BACKBONE, classes=K, threshold=0.9, unlabeled_weight=2., labeled_momentum=0.9, window=2,
                  ema_momentum=0.9, steps=100)
  memory = made.init(KEY)[1]
  assert_close([weight(made, at) for at in (0, 25, 50, 99)], [0, 1, 2, 2], atol=1e-5)


def test_running_means_of_freematch_softmatch_and_adamatch_follow_the_predictions():
  net, images = classifier(BACKBONE, K), batch(0)

  def kept(made):
    params, memory = made.init(KEY)
    p = jax.nn.softmax(classify(net, params, memory['statistics'], [images['image'], images['weak']])[0][1])
    _, (carry, _) = made.loss(params, memory, images, KEY, 0)
    return p, made.update(params, memory, carry, 0)[1]

  p, memory = kept(freematch(BACKBONE, classes=K, momentum=0.75, unlabeled_weight=1., fairness_weight=0.1,
                             ema_momentum=0.9))
  assert_close(memory['threshold'], 0.75 / K + 0.25 * p.max(-1).mean())
  assert_close(memory['probability'], 0.75 / K + 0.25 * p.mean(0))
  assert_close(memory['histogram'], 0.75 / K + 0.25 * np.bincount(p.argmax(-1), minlength=K) / U)
  p, memory = kept(softmatch(BACKBONE, classes=K, momentum=0.75, sigmas=2., unlabeled_weight=1., ema_momentum=0.9))
  assert_close(memory['probability'], 0.75 / K + 0.25 * p.mean(0))
  confidence = losses.align(p, np.full(K, 1 / K), memory['probability']).max(-1)
  assert_close(memory['mean'], 0.75 / K + 0.25 * confidence.mean())
  assert_close(memory['variance'], 0.75 + 0.25 * np.var(confidence, ddof=1))
  p, memory = kept(adamatch(BACKBONE, classes=K, threshold=0.9, unlabeled_weight=1., labeled_momentum=0.75, window=2,
                            ema_momentum=0.9, steps=10))
  assert_close(memory['unlabeled'], [p.mean(0), [1 / K] * K])
  assert_close(memory['labeled'].sum(), 1)


def test_adamatch_interpolates_between_the_batch_statistics():
  """With batch statistics the labeled logits depend on the key; without, there is nothing between the two passes."""
  settings = dict(classes=K, threshold=0.9, unlabeled_weight=1., labeled_momentum=0.9, window=2, ema_momentum=0.9,
                  steps=10)
  for backbone, differ in ((resnet(depth=18, blocks=(1,), width=8, stem='cifar', channels=1), True), (BACKBONE, False)):
    made = adamatch(backbone, **settings)
    params, memory = made.init(KEY)
    first, second = (made.loss(params, memory, batch(0), jax.random.key(i), 0)[1][1]['supervised'] for i in (0, 1))
    assert (abs(first - second) > 1e-5) == differ


def test_views_give_the_labeled_a_strong_view_if_asked_and_the_rest_stays():
  rng = np.random.default_rng(0)
  stream = {'image': rng.integers(0, 256, (6, 8, 8, 1), np.uint8), 'index': np.arange(6), 'epoch': np.zeros(6, int)}
  both = {'labeled': stream | {'label': np.arange(6)}, 'unlabeled': stream}
  plain, more = (fixmatch_views(labeled_strong=strong)(both, KEY) for strong in (False, True))
  assert set(more) - set(plain) == {'image_strong'}
  assert more['image_strong'].shape == (6, 8, 8, 1) and np.abs(more['image_strong'] - more['image']).max() > 0.1
  for name in ('weak', 'strong', 'index', 'label'):
    equal(more[name], plain[name])
  weak = fixmatch_views(operations=0, cutout_share=0., translate=0., flip=0.)(both, KEY)
  assert_close(weak['strong'], stream['image'] / 255)
