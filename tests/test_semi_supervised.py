"""Semi-supervised objectives: where one is another, and what they keep from step to step."""
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from pretrain import config, losses, objectives
from pretrain.config import ConfigError
from pretrain.method.memory import ema
from pretrain.method.semi_supervised import aligned, classifier, classify, mix, rotations
from pretrain.models.functional import functional
from pretrain.models.layers import batch_norm
from pretrain.models.resnet import resnet
from pretrain.models.vit import vit
from pretrain.objectives.adamatch import adamatch, adamatch_loss
from pretrain.objectives.comatch import comatch
from pretrain.objectives.dash import dash
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.flexmatch import flexmatch, flexmatch_loss, thresholds_of
from pretrain.objectives.freematch import fairness, freematch, freematch_loss
from pretrain.objectives.fst import fst, fst_loss
from pretrain.objectives.mean_teacher import mean_teacher
from pretrain.objectives.mixmatch import mixmatch
from pretrain.objectives.pi_model import pi_model
from pretrain.objectives.pseudo_label import pseudo_label, pseudo_label_loss
from pretrain.objectives.self_mpl import self_mpl
from pretrain.objectives.shrinkmatch import shrinkmatch
from pretrain.objectives.softmatch import softmatch, softmatch_loss
from pretrain.objectives.uda import uda
from pretrain.objectives.vat import vat
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests.cases import of_papers
from tests.checks import assert_close, normal
from tests.reference import average as average_twin
from tests.reference import numeric
from tests.reference import self_mpl as self_mpl_twin

CASES = of_papers()

BACKBONE = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
B, U, K, EXAMPLES, KEY = 4, 8, 3, 20, jax.random.key(0)


def logits(seed: int):
  """labeled [b, k], label, weak and strong [u, k], some of the weak ones confident."""
  label = np.random.default_rng(seed).integers(0, K, B)
  return normal(seed, B, K), label, normal(seed + 1, U, K, scale=3), normal(seed + 2, U, K)


def named(seed: int):
  """`logits`: the two that losses take by place, and the two that they take by name."""
  labeled, label, weak, strong = logits(seed)
  return (labeled, label), {'weak': weak, 'strong': strong}


def batch(seed: int):
  rng = np.random.default_rng(seed)
  images = {name: jnp.asarray(rng.uniform(size=(n, 8, 8, 1)), jnp.float32)
            for name, n in (('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  images['strongs'] = jnp.stack([images['strong'], images['weak'][::-1]], 1)
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


def logits_of(params, images):
  """Training logits of a classifier without batch statistics."""
  return functional(classifier(BACKBONE, K)).apply(params, {}, lambda m: classify(m, [images])[0])[0]


def equal(got, wanted):
  jax.tree.map(np.testing.assert_array_equal, got, wanted)


# --- One method as a limit of another ------------------------------------------------------------------------------

@pytest.mark.parametrize(('selected', 'share'), [([0, 1, 2] * 4, 1.0), ([0, 1, 2, -1, -1, -1], 1 / 5), ([-1] * 6, 0.0)])
def test_flexmatch_with_equal_statuses_is_fixmatch_with_the_mapped_threshold(selected, share):
  """beta is 1, 1 / 3 and 0 of every class, which beta / (2 - beta) maps to `share` of the threshold."""
  thresholds = thresholds_of(jnp.asarray(selected), K, threshold=0.9)
  assert_close(thresholds, [share * 0.9] * K)
  labels, views = named(0)
  equal(flexmatch_loss(*labels, **views, thresholds=thresholds, unlabeled_weight=2.0),
        losses.fixmatch(*labels, **views, threshold=thresholds[0], unlabeled_weight=2.0))


def test_flexmatch_that_has_labeled_every_class_equally_is_fixmatch():
  made = flexmatch(BACKBONE, classes=K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9, examples=18)
  other = fixmatch(BACKBONE, classes=K, threshold=0.4, unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  full = memory | {'selected': jnp.arange(18) % K}
  assert float(value(made, params, full)) == float(value(other, params, memory))
  assert float(value(made, params, memory)) != float(value(other, params, memory))  # at first all are used


def test_softmatch_with_infinite_variance_uses_every_example_fully():
  labels, views = named(3)
  of = partial(softmatch_loss, *labels, **views, mean=0.9, probability=jnp.array([0.5, 0.3, 0.2]), sigmas=2.0,
               unlabeled_weight=1.5)
  got, metrics = of(variance=jnp.inf)
  assert float(metrics['use_ratio']) == 1
  equal(got, losses.fixmatch(*labels, **views, threshold=0.0, unlabeled_weight=1.5)[0])
  assert float(of(variance=0.01)[1]['use_ratio']) < 1
  made = softmatch(BACKBONE, classes=K, momentum=0.9, sigmas=2., unlabeled_weight=1., ema_momentum=0.9)
  other = fixmatch(BACKBONE, classes=K, threshold=0., unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  assert float(value(made, params, memory | {'variance': jnp.float32(jnp.inf)})) == float(value(other, params, memory))


def test_fixmatch_with_threshold_zero_and_one_view_is_pseudo_label():
  labeled, label, weak, strong = logits(5)
  of = lambda strong: losses.fixmatch(labeled, label, weak=weak, strong=strong, threshold=0.0, unlabeled_weight=1.5)
  got, metrics = of(weak)
  assert float(metrics['use_ratio']) == 1
  equal(got, pseudo_label_loss(labeled, label, unlabeled=weak, unlabeled_weight=1.5)[0])
  assert float(of(strong)[1]['use_ratio']) == 1
  gradient = jax.grad(lambda w: pseudo_label_loss(labeled, label, unlabeled=w, unlabeled_weight=1.5)[0])(weak)
  pseudo = weak.argmax(-1)
  equal(gradient, jax.grad(lambda w: of(w)[0])(weak))
  assert_close(gradient, 1.5 * (jax.nn.softmax(weak) - jax.nn.one_hot(pseudo, K)) / U)


def test_mean_teacher_with_momentum_zero_is_the_students_own_prediction():
  made = mean_teacher(BACKBONE, classes=K, unlabeled_weight=5., ramp_steps=0, momentum_start=0., momentum=0.)
  params, memory = steps(made, 3)
  jax.tree.map(lambda teacher, student: assert_close(teacher, student, atol=1e-7), memory['teacher'], params)
  memory |= {'teacher': params}
  _, (_, metrics) = made.loss(params, memory, batch(0) | {'strong': batch(0)['weak']}, KEY, 5)
  assert float(metrics['consistency']) == 0
  _, (_, other) = made.loss(params, memory, batch(0), KEY, 5)
  assert float(other['consistency']) > 0
  equal(made.predict(params, memory, batch(0)['weak']), jax.nn.softmax(logits_of(params, batch(0)['weak'])))


def test_freematch_at_rest_with_a_uniform_prediction_is_fixmatch_with_the_global_threshold():
  (labels, views), uniform = named(7), jnp.full(K, 1 / K)
  got, metrics = freematch_loss(*labels, **views, threshold=jnp.float32(0.8), probability=uniform, histogram=uniform,
                                unlabeled_weight=1.5, fairness_weight=0.0)
  equal(got, losses.fixmatch(*labels, **views, threshold=0.8, unlabeled_weight=1.5)[0])
  _, use = losses.confident(views['weak'], 0.8)
  assert_close(metrics['fairness'], fairness(views['strong'], use, probability=uniform, histogram=uniform))
  assert float(fairness(views['strong'], np.zeros(U, bool), probability=uniform, histogram=uniform)) == 0


def test_adamatch_with_equal_averages_and_certain_labels_is_fixmatch():
  labeled, label, weak, strong = logits(9)
  certain = 100 * jax.nn.one_hot(label, K)
  average = jnp.array([0.5, 0.3, 0.2])
  got, metrics = adamatch_loss(certain, certain, label=label, weak=weak, strong=strong, threshold=0.8,
                               labeled_average=average, unlabeled_average=average, unlabeled_weight=1.5)
  wanted, terms = losses.fixmatch(certain, label, weak=weak, strong=strong, threshold=0.8, unlabeled_weight=1.5)
  assert_close(got, wanted)
  assert_close(metrics['relative_threshold'], 0.8)
  assert metrics['use_ratio'] == terms['use_ratio'] < 1


def test_consistency_is_zero_where_nothing_is_changed():
  """Pi-model of two equal views, VAT without a perturbation, MixMatch that mixes nothing."""
  images = batch(0)
  same = images | {'image_strong': images['image'], 'strong': images['weak']}
  made = pi_model(BACKBONE, classes=K, unlabeled_weight=5., ramp_steps=0, ema_momentum=0.)
  terms = lambda made, batch: made.loss(*made.init(KEY), batch, KEY, 9)[1][1]
  assert float(terms(made, same)['consistency']) == 0 < float(terms(made, images)['consistency'])
  for epsilon, zero in ((0., True), (1., False)):
    made = vat(BACKBONE, classes=K, epsilon=epsilon, iterations=1, unlabeled_weight=1., entropy_weight=0.,
               ema_momentum=0.)
    assert (abs(float(terms(made, images)['consistency'])) < 1e-7) == zero
  made = mixmatch(BACKBONE, classes=K, temperature=1., alpha=1e-4, unlabeled_weight=1., ramp_steps=1, ema_momentum=0.)
  one = images | {'strongs': images['weak'][:, None]}
  assert float(terms(made, one)['consistency']) < 1e-7 < float(terms(made, images)['consistency'])
  labeled = logits_of(made.init(KEY)[0], images['image'])
  assert_close(terms(made, one)['supervised'], losses.cross_entropy(labeled, images['label']).mean())


def test_shrinkmatch_without_rivals_to_remove_is_softly_labeled_fixmatch():
  """At threshold 0 every example is certain; what is left is UDA without sharpening, but for a constant."""
  made = shrinkmatch(BACKBONE, classes=K, hidden=(8,), threshold=0., momentum=0.9, window=0, unlabeled_weight=1.5,
                     ema_momentum=0.9)
  params, memory = made.init(KEY)
  _, (carry, metrics) = made.loss(params, memory, batch(0), KEY, 0)
  assert float(metrics['shrunk']) == 0 and float(metrics['use_ratio']) == 1 == float(carry['certain'])
  other = uda(BACKBONE, classes=K, threshold=0., temperature=1., unlabeled_weight=1.5, ema_momentum=0.9)
  got, wanted = (jax.grad(lambda p, f=f, m=m: f.loss(p, m, batch(0), KEY, 0)[0])(p)['head'] for f, p, m in (
    (made, params, memory), (other, {n: params[n] for n in ('backbone', 'head')}, other.init(KEY)[1])))
  jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-4), got, wanted)


def fst_of(**changes):
  return fst(BACKBONE, **dict(classes=K, variant='deep', virtual=1, rate=0.1, threshold=0.35, unlabeled_weight=1.,
                              momentum=0.7) | changes)


def test_fst_without_virtual_steps_is_a_mean_teacher_that_is_updated_first():
  made = fst_of(rate=0.)
  params, memory = steps(fst_of(), 2)
  teacher = ema(memory['teacher'], params, 0.7)
  _, (carry, metrics) = made.loss(params, memory, batch(1), KEY, 2)
  equal(carry['teacher'], teacher)
  moved = jax.tree.map(lambda p: p + 1, params)
  after, new = made.update(moved, memory, carry, 2)
  equal(after, moved)
  equal(new['teacher'], teacher)  # and it waits for the next step to follow
  z = [logits_of(p, batch(1)[name]) for p, name in ((params, 'image'), (teacher, 'weak'), (params, 'strong'))]
  _, wanted = fst_loss(z[0], batch(1)['label'], teacher=z[1], strong=z[2], threshold=0.35, unlabeled_weight=1.)
  assert_close(metrics['consistency'], wanted['consistency'])


def test_fst_looks_deep_by_steps_and_wide_by_students():
  params, memory = steps(fst_of(), 2)
  images = batch(1)

  def loss(student, teacher, images):
    z = [logits_of(p, images[name]) for p, name in ((student, 'image'), (teacher, 'weak'), (student, 'strong'))]
    return fst_loss(z[0], images['label'], teacher=z[1], strong=z[2], threshold=0.35, unlabeled_weight=1.)[0]

  def step(student, teacher, images):
    return jax.tree.map(lambda p, g: p - 0.1 * g, student, jax.grad(loss)(student, teacher, images))

  student, teacher = params, memory['teacher']
  for _ in range(2):
    student = step(student, teacher, images)
    teacher = ema(teacher, student, 0.7)
  carried = lambda **kwargs: fst_of(**kwargs).loss(params, memory, images, KEY, 2)[1][0]['teacher']
  close = lambda a, b: jax.tree.map(lambda x, y: assert_close(x, y, atol=1e-6), a, b)
  close(carried(virtual=2), teacher)
  parts = [step(params, memory['teacher'], jax.tree.map(lambda x, i=i: x[i::2], images)) for i in range(2)]
  close(carried(variant='wide', virtual=2),
        ema(memory['teacher'], jax.tree.map(lambda a, b: (a + b) / 2, *parts), 0.7))
  close(carried(variant='wide'), carried())
  with pytest.raises(ValueError, match='virtual=3 to divide the batch, got 4'):
    carried(variant='wide', virtual=3)


# --- Self Meta Pseudo Labels: the gradient of the real two-step objective --------------------------------------------

class Tanh(nnx.Module):
  """Images of 2 x 2 pixels -> tanh of a linear layer of width 3."""

  width = 3

  def __init__(self, rngs):
    self.linear = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, images, train=False, key=None):
    del train, key
    return jnp.tanh(self.linear(images.reshape(len(images), -1)))


def self_mpl_point(second_order: bool, **changes):
  """The objective, parameters, memory, a batch, and parameters and images as the twin has them."""
  made = self_mpl(Tanh, **dict(classes=K, rate=0.7, second_order=second_order, threshold=0., unlabeled_weight=0.,
                               ramp_steps=1) | changes)
  params, memory = made.init(KEY)
  leaves, tree = jax.tree.flatten(params)
  params = jax.tree.unflatten(tree, [normal(40 + i, *x.shape) for i, x in enumerate(leaves)])
  images = {name: normal(50 + i, n, 2, 2, 1) for i, (name, n) in enumerate((('image', B), ('weak', U), ('strong', U)))}
  net = dict(zip(self_mpl_twin.NAMES, flatly(params), strict=True))
  x, weak, strong = (images[name].reshape(-1, 4).astype(np.float64) for name in ('image', 'weak', 'strong'))
  label = np.arange(B) % K
  return made, params, memory, images | {'label': label}, net, (weak, strong, x, label)


def flatly(params):
  linear, head = params['backbone']['linear'], params['head']['linear']
  return [np.asarray(x, np.float64) for x in (linear['kernel'], linear['bias'], head['kernel'], head['bias'])]


def difference(function, net):
  """Finite differences of a function of the twin's network, in the order of its names."""
  return [numeric.gradient(lambda x, name=name: function(net | {name: x}), net[name]) for name in self_mpl_twin.NAMES]


def test_self_mpl_exact_gradient_is_that_of_the_two_step_objective():
  made, params, memory, images, net, data = self_mpl_point(True)
  value, grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, KEY, 0)[0])(params)
  assert_close(value, self_mpl_twin.two_steps(net, *data, 0.7))
  for got, wanted in zip(flatly(grads), difference(lambda net: self_mpl_twin.two_steps(net, *data, 0.7), net),
                         strict=True):
    assert np.abs(wanted).max() > 1e-3
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
  # without the second derivatives, that is at theta' alone, it is another
  after = self_mpl_twin.stepped(net, self_mpl_twin.softmax(self_mpl_twin.logits(net, data[0])), data[1], 0.7)
  first = difference(lambda net: self_mpl_twin.labeled_loss(net, *data[2:]), after)
  assert max(np.abs(a - b).max() for a, b in zip(flatly(grads), first, strict=True)) > 1e-2


def test_self_mpl_published_approximation_and_its_two_updates():
  made, params, memory, images, net, data = self_mpl_point(False)
  (value, (carry, metrics)), grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, KEY, 0),
                                                        has_aux=True)(params)
  second, after = self_mpl_twin.approximation(net, *data, 0.7)
  assert_close(value, second(after))
  fell = self_mpl_twin.labeled_loss(net, *data[2:]) - self_mpl_twin.labeled_loss(after, *data[2:])
  assert_close(metrics['fell'], fell)
  assert abs(fell) > 1e-2
  for got, wanted in zip(flatly(grads), difference(second, after), strict=True):
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
  moved, new = made.update(jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), memory, carry, 0)
  for got, name, g in zip(flatly(moved), self_mpl_twin.NAMES, flatly(grads), strict=True):
    assert_close(got, after[name] - 0.1 * g, atol=1e-5)
  assert not jax.tree.leaves((memory, new)), 'more is kept than the parameters'
  # what the labeled loss falls by is, to first order, the rate times the product of the two gradients
  made, *point = self_mpl_point(False, rate=1e-3)
  fell = made.loss(params, memory, images, KEY, 0)[1][1]['fell']
  pseudo = np.eye(K)[self_mpl_twin.logits(net, data[0]).argmax(1)]
  one = self_mpl_twin.stepped(net, pseudo, data[1], 1.)
  product = sum(np.sum((net[name] - one[name]) * g) for name, g in zip(
    self_mpl_twin.NAMES, difference(lambda net: self_mpl_twin.labeled_loss(net, *data[2:]), net), strict=True))
  assert_close(fell / 1e-3, product, rtol=2e-2)


@pytest.mark.parametrize('second_order', [False, True])
def test_self_mpl_without_a_first_step_is_the_supervised_update(second_order):
  made, params, memory, images, net, data = self_mpl_point(second_order, rate=0.)
  value, grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, KEY, 0)[0])(params)
  assert_close(value, self_mpl_twin.labeled_loss(net, *data[2:]))
  for got, wanted in zip(flatly(grads), difference(lambda net: self_mpl_twin.labeled_loss(net, *data[2:]), net),
                         strict=True):
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


# --- The average and its batch statistics --------------------------------------------------------------------------

# What each method's authors evaluate their average with; where they have none, what its row in the configs has.
AVERAGES = {
  'shared': ('fixmatch', 'flexmatch', 'freematch', 'softmatch', 'dash', 'comatch', 'shrinkmatch', 'mixmatch',
             'remixmatch', 's4l', 'pseudo_label', 'pi_model', 'vat'),
  'averaged': ('uda', 'adamatch'),
  'own': ('mean_teacher', 'fst')}


class Normed(nnx.Module):
  """Images -> a linear layer of width 3 and its batch normalisation."""

  width, dtype = 3, 'float32'

  def __init__(self, rngs):
    self.linear = nnx.Linear(64, 3, rngs=rngs)
    self.norm = batch_norm(3, rngs=rngs)

  def __call__(self, images, train=False, key=None):
    del key
    return self.norm(self.linear(images.reshape(len(images), -1)), use_running_average=not train)


def normed(params):
  """Parameters of a `Normed` classifier by the twin's names."""
  backbone, head = params['backbone'], params['head']['linear']
  linear, norm = backbone['linear'], backbone['norm']
  return {'kernel': linear['kernel'], 'bias': linear['bias'], 'scale': norm['scale'], 'offset': norm['bias'],
          'head_kernel': head['kernel'], 'head_bias': head['bias']}


def test_every_average_is_in_the_table():
  found = [path.stem for path in Path(objectives.__path__[0]).glob('*.py')
           if all(words in path.read_text() for words in ('Average(', 'predict='))]
  assert sorted(found) == sorted(name for names in AVERAGES.values() for name in names)


@pytest.mark.parametrize(('average', 'name'), [(average, name) for average in AVERAGES for name in AVERAGES[average]])
def test_an_average_is_evaluated_with_the_batch_statistics_that_its_authors_give_it(average, name):
  settings = CASES[name].kwargs | dict(classes=K) | (dict(queue=24) if name == 'comatch' else {})
  if name == 'mean_teacher':
    settings |= dict(momentum_start=0.9)
  made = config.build(objectives, dict(name=name, **settings), 'test', backbone=Normed, steps=10, examples=EXAMPLES)
  params, memory = made.init(KEY)
  entry = 'teacher' if average == 'own' else 'ema'

  @jax.jit
  def step(params, memory, batch, at):
    (_, (carry, _)), grads = jax.value_and_grad(made.loss, has_aux=True)(params, memory, batch, KEY, at)
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    return *made.update(params, memory, carry, at), carry

  seen, kept, own = [normed(params)], [memory['statistics']['backbone']['norm']], [(np.zeros(3), np.ones(3))]
  for at in range(3):
    teacher = memory[entry]
    params, memory, carry = step(params, memory, batch(at), at)
    seen.append(normed(params))
    kept.append(memory['statistics']['backbone']['norm'])
    own.append(average_twin.statistics(batch(at)['weak'], normed(carry['teacher'])) if name == 'fst' else
               average_twin.statistics(np.concatenate([batch(at)[x] for x in ('image', 'weak')]), normed(teacher)))
  momentum = settings.get('ema_momentum', 0.9)
  net = {key: average_twin.moving([each[key] for each in seen], momentum) for key in seen[0]}
  if name == 'fst':  # whose average follows students of its own
    net = normed(memory[entry])
  of = {'shared': [np.asarray(kept[-1][key]) for key in ('mean', 'var')],
        'averaged': [average_twin.moving([each[key] for each in kept], momentum) for key in ('mean', 'var')],
        'own': [average_twin.moving([each[i] for each in own], 0.9) for i in range(2)]}
  images = batch(9)['weak']
  assert_close(made.predict(params, memory, images), average_twin.probabilities(images, net, *of[average]), rtol=1e-4)
  assert_close(made.encode(params, memory, images), average_twin.features(images, net, *of[average]), rtol=1e-4,
               atol=1e-5)
  for other in set(of) - {average}:
    assert np.abs(np.subtract(of[other], of[average])).max() > 1e-2, f'{other} cannot be told from {average}'
  assert (f'{entry}_statistics' in memory) == (average != 'shared'), 'kept and not read'


# --- From step to step ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(('build', 'changes'), [
  (fixmatch, {}), (uda, dict(temperature=0.4)), (flexmatch, dict(examples=9)),
  (adamatch, dict(labeled_momentum=0.9, window=2, steps=9)),
  (shrinkmatch, dict(hidden=(8,), momentum=0.9, window=2)),
  (comatch, dict(hidden=(8,), dim=4, edge_threshold=0.8, temperature=0.2, smoothing=0.9, queue=24, window=2,
                 contrast_weight=1.)),
], ids=lambda x: getattr(x, '__name__', ''))
@pytest.mark.parametrize('threshold', [-0.1, 95., float('nan')])
def test_thresholds_that_are_no_probability_are_refused(build, changes, threshold):
  spec = dict(classes=K, threshold=threshold, unlabeled_weight=1., ema_momentum=0.9, **changes)
  with pytest.raises(ConfigError, match=r'config\.objective\.threshold: wanted a number in \[0, 1\], got '):
    config.call(build, spec, 'config.objective', backbone=BACKBONE)


def test_settings_that_do_not_go_together_are_refused():
  settings = dict(classes=K, constant=1.0001, base=1.27, lowest=0.05, every_steps=2, warmup_steps=4, estimate_steps=2,
                  temperature=0.5, unlabeled_weight=1., ema_momentum=0.9)
  with pytest.raises(ValueError, match='estimate_steps <= warmup_steps'):
    dash(BACKBONE, **settings | dict(estimate_steps=9))
  with pytest.raises(ValueError, match='ramp_start_step <= ramp_end_step, got 3 and 2'):
    pseudo_label(BACKBONE, classes=K, unlabeled_weight=1., ramp_start_step=3, ramp_end_step=2, ema_momentum=0.9)


def test_dash_warms_up_on_labels_then_starts_from_their_loss():
  made = dash(BACKBONE, classes=K, constant=1.0001, base=2., lowest=0.05, every_steps=3, warmup_steps=4,
              estimate_steps=2, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  labeled, thresholds = [], []
  for at in range(12):
    value, (carry, metrics) = made.loss(params, memory, batch(at), KEY, at)
    assert (float(value) == float(metrics['supervised'])) == (at < 4 or float(metrics['use_ratio']) == 0)
    _, memory = made.update(params, memory, carry, at)
    labeled.append(float(metrics['supervised']))
    thresholds.append(float(metrics['threshold']))
  start = (labeled[2] + labeled[3]) / 2
  assert_close(memory['start'], start)
  assert_close(thresholds[4:], 1.0001 * start / 2.0 ** (np.arange(8) // 3))


def test_alignment_over_a_window_of_batches():
  p = jax.nn.softmax(normal(0, 3, U, K))
  none, kept = aligned(p[0], jnp.zeros((0, K)), 0)
  equal(none, p[0])
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


def test_comatch_smooths_from_when_its_memory_is_full_and_keeps_the_last_batches():
  n = B + U
  made = comatch(BACKBONE, classes=K, hidden=(8,), dim=4, threshold=0.4, edge_threshold=0.3, temperature=0.2,
                 smoothing=0.1, queue=2 * n, window=0, unlabeled_weight=1., contrast_weight=1., ema_momentum=0.9)
  params, memory = made.init(KEY)
  seen = []
  for at in range(3):
    other = memory | {'p': memory['p'][::-1]}
    values = [float(made.loss(params, m, batch(at), KEY, at)[0]) for m in (memory, other)]
    assert (values[0] == values[1]) == (at < 2), 'the memory is used before it is full, or not then'
    _, (carry, _) = made.loss(params, memory, batch(at), KEY, at)
    seen.append(carry['new'])
    _, memory = made.update(params, memory, carry, at)
    assert set(memory) == {'statistics', 'ema', 'window', 'z', 'p'}
  for name in ('z', 'p'):
    equal(memory[name], np.concatenate([seen[2][name], seen[1][name]]))
  assert_close(memory['p'][U:n], np.eye(K)[batch(2)['label']])
  assert_close(np.linalg.norm(memory['z'], axis=1), np.ones(2 * n))
  values = [float(made.loss(params, memory, batch(2), KEY, jnp.int32(at))[0]) for at in (2, 2 ** 31 // n + 1)]
  assert values[0] == values[1], 'images are more than an i32 counts'


def test_rotations_are_quarter_turns_of_square_images():
  images = normal(0, 2, 3, 3, 1)
  got = rotations(images)
  for turns in range(4):
    equal(got[:, turns], np.stack([np.rot90(image, turns) for image in images]))
  with pytest.raises(ValueError, match='square images, got 3 x 2'):
    rotations(images[:, :, :2])


def test_views_give_several_strong_views_if_asked_and_the_rest_stays():
  rng = np.random.default_rng(1)
  stream = {'image': rng.integers(0, 256, (6, 8, 8, 1), np.uint8), 'index': np.arange(6), 'epoch': np.zeros(6, int)}
  both = {'labeled': stream | {'label': np.arange(6)}, 'unlabeled': stream}
  plain, one, three = (fixmatch_views(strongs=n)(both, KEY) for n in (0, 1, 3))
  assert set(plain) - set(one) == {'strong'} and set(one) - set(plain) == {'strongs'}
  equal(one['strongs'][:, 0], plain['strong'])
  assert three['strongs'].shape == (6, 3, 8, 8, 1)
  for i in range(3):
    assert np.abs(three['strongs'][:, i] - three['strongs'][:, (i + 1) % 3]).max() > 0.1
  for name in ('image', 'label', 'index'):
    equal(three[name], plain[name])

def test_flexmatch_remembers_the_last_confident_class_of_each_example():
  images = batch(0)
  weak = logits_of(functional(classifier(BACKBONE, K)).init(KEY)[0], images['weak'])
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
  memory = made.init(KEY)[1]
  assert_close([weight(made, at) for at in (0, 20, 40, 99)], [8 * np.exp(-5), 8 * np.exp(-1.25), 8, 8])
  made = adamatch(BACKBONE, classes=K, threshold=0.9, unlabeled_weight=2., labeled_momentum=0.9, window=2,
                  ema_momentum=0.9, steps=100)
  memory = made.init(KEY)[1]
  assert_close([weight(made, at) for at in (0, 25, 50, 99)], [0, 1, 2, 2], atol=1e-5)


def test_running_means_of_freematch_softmatch_and_adamatch_follow_the_predictions():
  images = batch(0)

  def kept(made):
    params, memory = made.init(KEY)
    p = jax.nn.softmax(logits_of(params, images['weak']))
    _, (carry, _) = made.loss(params, memory, images, KEY, 0)
    return p, made.update(params, memory, carry, 0)[1]

  p, memory = kept(freematch(BACKBONE, classes=K, momentum=0.75, unlabeled_weight=1., fairness_weight=0.1,
                             ema_momentum=0.9))
  assert_close(memory['threshold'], 0.75 / K + 0.25 * p.max(-1).mean())
  assert_close(memory['probability'], 0.75 / K + 0.25 * p.mean(0))
  assert_close(memory['histogram'], 0.75 / K + 0.25 * np.bincount(p.argmax(-1), minlength=K) / U)
  made = softmatch(BACKBONE, classes=K, momentum=0.75, sigmas=2., unlabeled_weight=1., ema_momentum=0.9)
  p, memory = kept(made)
  assert_close(memory['probability'], p.mean(0))  # of the first batch alone
  confidence = losses.align(p, np.full(K, 1 / K), average=memory['probability']).max(-1)
  assert_close(memory['mean'], 0.75 / K + 0.25 * confidence.mean())
  assert_close(memory['variance'], 0.75 + 0.25 * np.var(confidence, ddof=1))
  _, (carry, _) = made.loss(made.init(KEY)[0], memory, images, KEY, 1)
  assert_close(carry['probability'], p.mean(0))
  _, (carry, _) = made.loss(made.init(KEY)[0], memory | {'probability': jnp.full(K, 1 / K)}, images, KEY, 1)
  assert_close(carry['probability'], 0.75 / K + 0.25 * p.mean(0))
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
