"""Self Meta Pseudo Labels against its twin: arXiv:2212.13420v1, algorithm 1; feedback: arXiv:2003.10580v4, section 3.

First derivatives are complex steps; those through the step come from the finite differences of the twin.
"""
import numpy as np
import pytest

from pretrain.objectives.self_mpl import self_mpl
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
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
