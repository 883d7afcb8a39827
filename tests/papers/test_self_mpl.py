"""Self Meta Pseudo Labels against its twin: arXiv:2212.13420v1, algorithm 1; feedback: arXiv:2003.10580v4, section 3.

First derivatives are complex steps; those through the step come from the finite differences of the twin. Below, both
gradients against those of the two-step objective of a network of one hidden layer, written out.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain.objectives.self_mpl import self_mpl
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import assert_close, normal
from tests.reference import numeric
from tests.reference import supervised as slow
from tests.reference.networks import Tiny, classifier, combined, gradient, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, WEIGHT, RAMP = 4, 6, 3, 0.7, 2
OPTIONS = {False: (0.4, 0.6), True: (0.3, 0.575)}  # rate and threshold, by whether it is of second order


def batch(rng):
  return {'image': rng.uniform(size=(B, 2, 2, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 2, 2, 1)), 'strong': rng.uniform(size=(U, 2, 2, 1))}


def twins(exact):
  rate, threshold = OPTIONS[exact]

  def twin(params, stopped, memory, batch, draws, step):
    (_, noise), (_, first_noise), (_, second_noise) = draws

    def through(p, keys, noise):
      statistics = copied(memory['statistics'])
      return classifier(p, statistics, np.concatenate([batch[key] for key in keys]), True, noise), statistics

    def labeled_loss(logits):
      return -sum(log_softmax(logits[i])[batch['label'][i]] for i in range(B)) / B

    def moved(p, start):
      """`p` behind the step whose gradient is that at `start`; the pseudo-labels; the labeled loss before."""
      before, _ = through(start, ('image', 'weak'), noise)
      targets = softmax(before[B:]) if exact else np.eye(CLASSES)[before[B:].argmax(1)]

      def first(q):
        strong, _ = through(q, ('strong',), first_noise)
        return -sum(targets[i] @ log_softmax(strong[i]) for i in range(U)) / U

      slopes = gradient(first, start)
      return combined(lambda x, g: x - rate * g, p, slopes), targets, labeled_loss(before[:B])

    there, targets, before = moved(params, params if exact else stopped)
    logits, statistics = through(there, ('image', 'weak', 'strong'), second_noise)
    fixed = moved(stopped, stopped)[0]
    fixed_logits, _ = through(fixed, ('image', 'weak', 'strong'), second_noise)
    supervised, fell = labeled_loss(logits), before - labeled_loss(fixed_logits)
    weak, strong = logits[B:B + U], logits[B + U:]
    weak_stopped = fixed_logits[B:B + U]
    used, consistency, feedback = 0, 0., 0.
    for i in range(U):
      if softmax(weak_stopped[i]).max() >= threshold:
        consistency += softmax(weak_stopped[i]) @ (log_softmax(weak_stopped[i]) - log_softmax(strong[i])) / U
        used += 1
      feedback -= 0. if exact else fell * targets[i] @ log_softmax(weak[i]) / U
    assert 0 < used < U

    def after(params):
      return combined(lambda x, y: x + y, params, combined(lambda x, y: x - y, fixed, stopped)), {
          'statistics': statistics}

    loss = supervised + WEIGHT * min(step / RAMP, 1) * consistency + feedback
    return loss, {'supervised': supervised, 'consistency': consistency, 'fell': fell, 'use_ratio': used / U}, after

  return twin


def case(exact):
  rate, threshold = OPTIONS[exact]
  moved = {'loss', 'supervised', 'consistency', 'fell'} | (set() if exact else {'use_ratio'})
  return Twin(
      self_mpl(tiny(pixels=4, width=4, hidden=5), classes=CLASSES, rate=rate, second_order=exact, threshold=threshold,
               unlabeled_weight=WEIGHT, ramp_steps=RAMP), batch, twins(exact),
      encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
      predict=lambda params, memory, x: softmax(classifier(params, memory['statistics'], x)),
      images=lambda rng: rng.uniform(size=(3, 2, 2, 1)), grown={'head/linear/kernel': 60.},
      moves={'label': {'loss', 'supervised', 'fell'}, 'weak': moved, 'strong': moved})


CASES = {exact: case(exact) for exact in OPTIONS}
CASE = cases.Case(dict(classes=cases.CLASSES, rate=0.1, second_order=True, threshold=0.26, unlabeled_weight=1.,
                       ramp_steps=2), cases.either(fixmatch_views(operations=0)), cases.streams)
TWIN = CASES[False]


@pytest.mark.parametrize('exact', CASES)
def test_its_twin(exact):
  check(CASES[exact])


# --- The gradient of the real two-step objective ---------------------------------------------------------------------

NAMES = ('kernel', 'bias', 'head_kernel', 'head_bias')


def layer(net, x):
  return np.tanh(x @ net['kernel'] + net['bias'])


def logits_of(net, x):
  """tanh(x kernel + bias) head_kernel + head_bias: float64 [n, d] -> [n, k]."""
  return layer(net, x) @ net['head_kernel'] + net['head_bias']


def softmax_of(rows):
  return np.array([[math.exp(log) for log in slow.log_softmax(row)] for row in rows])


def labeled_loss(net, x, label):
  return slow.supervised_mean(logits_of(net, x), label)


def stepped(net, pseudo, strong, rate):
  """theta' = theta - rate * gradient of the mean cross-entropy of the strong images with the constant pseudo [u, k].

  Line 6 of algorithm 1 of arXiv:2212.13420v1; the chain rule written out.
  """
  h = layer(net, strong)
  error = (softmax_of(logits_of(net, strong)) - pseudo) / len(strong)  # by the logits
  back = error @ net['head_kernel'].T * (1 - h**2)  # by the hidden layer's input
  gradient = {'kernel': strong.T @ back, 'bias': back.sum(0), 'head_kernel': h.T @ error, 'head_bias': error.sum(0)}
  return {name: net[name] - rate * gradient[name] for name in NAMES}


def two_steps(net, weak, strong, x, label, rate):
  """The labeled loss at theta', of soft pseudo-labels that theta itself gives to the weak images."""
  return labeled_loss(stepped(net, softmax_of(logits_of(net, weak)), strong, rate), x, label)


def approximation(net, weak, strong, x, label, rate):
  """What the published second step descends, as a function of theta', and theta': hard pseudo-labels.

  The labeled loss plus the cross-entropy of the weak images with the pseudo-labels, times how much the labeled loss
  fell, which is a number.
  """
  pseudo = np.eye(len(net['head_bias']))[logits_of(net, weak).argmax(1)]
  after = stepped(net, pseudo, strong, rate)
  fell = labeled_loss(net, x, label) - labeled_loss(after, x, label)
  feedback = lambda net: fell * slow.supervised_mean(logits_of(net, weak), pseudo.argmax(1))
  return lambda net: labeled_loss(net, x, label) + feedback(net), after


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
  made = self_mpl(Tanh, **dict(classes=few.K, rate=0.7, second_order=second_order, threshold=0., unlabeled_weight=0.,
                               ramp_steps=1) | changes)
  params, memory = made.init(few.KEY)
  leaves, tree = jax.tree.flatten(params)
  params = jax.tree.unflatten(tree, [normal(40 + i, *x.shape) for i, x in enumerate(leaves)])
  counts = ('image', few.B), ('weak', few.U), ('strong', few.U)
  images = {name: normal(50 + i, n, 2, 2, 1) for i, (name, n) in enumerate(counts)}
  net = dict(zip(NAMES, flatly(params), strict=True))
  x, weak, strong = (images[name].reshape(-1, 4).astype(np.float64) for name in ('image', 'weak', 'strong'))
  label = np.arange(few.B) % few.K
  return made, params, memory, images | {'label': label}, net, (weak, strong, x, label)


def flatly(params):
  linear, head = params['backbone']['linear'], params['head']['linear']
  return [np.asarray(x, np.float64) for x in (linear['kernel'], linear['bias'], head['kernel'], head['bias'])]


def difference(function, net):
  """Finite differences of a function of the twin's network, in the order of its names."""
  return [numeric.gradient(lambda x, name=name: function(net | {name: x}), net[name]) for name in NAMES]


def test_self_mpl_exact_gradient_is_that_of_the_two_step_objective():
  made, params, memory, images, net, data = self_mpl_point(True)
  value, grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, few.KEY, 0)[0])(params)
  assert_close(value, two_steps(net, *data, 0.7))
  for got, wanted in zip(flatly(grads), difference(lambda net: two_steps(net, *data, 0.7), net), strict=True):
    assert np.abs(wanted).max() > 1e-3
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
  # without the second derivatives, that is at theta' alone, it is another
  after = stepped(net, softmax_of(logits_of(net, data[0])), data[1], 0.7)
  first = difference(lambda net: labeled_loss(net, *data[2:]), after)
  assert max(np.abs(a - b).max() for a, b in zip(flatly(grads), first, strict=True)) > 1e-2


def test_self_mpl_published_approximation_and_its_two_updates():
  made, params, memory, images, net, data = self_mpl_point(False)
  (value, (carry, metrics)), grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, few.KEY, 0),
                                                        has_aux=True)(params)
  second, after = approximation(net, *data, 0.7)
  assert_close(value, second(after))
  fell = labeled_loss(net, *data[2:]) - labeled_loss(after, *data[2:])
  assert_close(metrics['fell'], fell)
  assert abs(fell) > 1e-2
  for got, wanted in zip(flatly(grads), difference(second, after), strict=True):
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
  moved, new = made.update(jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), memory, carry, 0)
  for got, name, g in zip(flatly(moved), NAMES, flatly(grads), strict=True):
    assert_close(got, after[name] - 0.1 * g, atol=1e-5)
  assert not jax.tree.leaves((memory, new)), 'more is kept than the parameters'
  # what the labeled loss falls by is, to first order, the rate times the product of the two gradients
  made, *point = self_mpl_point(False, rate=1e-3)
  fell = made.loss(params, memory, images, few.KEY, 0)[1][1]['fell']
  pseudo = np.eye(few.K)[logits_of(net, data[0]).argmax(1)]
  one = stepped(net, pseudo, data[1], 1.)
  product = sum(np.sum((net[name] - one[name]) * g) for name, g in zip(
    NAMES, difference(lambda net: labeled_loss(net, *data[2:]), net), strict=True))
  assert_close(fell / 1e-3, product, rtol=2e-2)


@pytest.mark.parametrize('second_order', [False, True])
def test_self_mpl_without_a_first_step_is_the_supervised_update(second_order):
  made, params, memory, images, net, data = self_mpl_point(second_order, rate=0.)
  value, grads = jax.value_and_grad(lambda p: made.loss(p, memory, images, few.KEY, 0)[0])(params)
  assert_close(value, labeled_loss(net, *data[2:]))
  for got, wanted in zip(flatly(grads), difference(lambda net: labeled_loss(net, *data[2:]), net), strict=True):
    assert_close(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
