"""SupCon: arXiv:2004.11362v5, section 3.2.2, eq. 2; the mean over views of losses.py.

The whole and the loss against their twins, points by hand, limits.
"""
import math
from functools import partial

import jax
import numpy as np

from pretrain import losses
from pretrain.objectives.sup_con import sup_con, sup_con_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import PAIRS, Z1, Loss, assert_close, basis, check_loss, normal, rotation
from tests.reference.networks import Tiny, layout, mlp, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE = 6, 0.3


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1)), 'label': rng.permutation([0, 1, 1, 1, 2, 2])}


def project(p, statistics, images, train=False, noise=None):
  return mlp(p['projector'], {}, Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  assert layout(params['projector']) == [(6, 8, 'bias'), (8, 5, 'bias')]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  label = [batch['label'][i] for i in range(B) for _ in (0, 1)]
  (_, noise), = draws
  z = unit(project(params, statistics, both, True, noise))
  loss = 0.
  for i in range(2 * B):
    others = [a for a in range(2 * B) if a != i]
    total = sum(np.exp(z[i] @ z[a] / TEMPERATURE) for a in others)
    positives = [p for p in others if label[p] == label[i]]
    assert 0 < len(positives) < len(others)
    for p in positives:
      loss -= np.log(np.exp(z[i] @ z[p] / TEMPERATURE) / total) / len(positives) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(sup_con, tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: project(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}, 'label': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=4)))



# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss, jit_nt_xent = jax.jit(sup_con_loss), jax.jit(losses.nt_xent)


def loss_twin(z, label, temperature):
  """L_out^sup, arXiv:2004.11362v5 eq. 2, as a mean over the anchors (the authors' code; eq. 2 is the sum).

  L_i = -1/|P(i)| sum_p log( exp(z_i.z_p / temperature) / sum_a exp(z_i.z_a / temperature) ), with a over all other
  views and p over P(i), those that have the anchor's label. An anchor with empty P(i) is 0, as in the authors' code.
  Without their factor temperature / base_temperature.

  Args:
    z: [b, v, d], not normalised; v views of each image.
    label: int [b].
    temperature: positive float.

  Returns:
    float.
  """
  rows, labels = [], []
  for i in range(len(z)):
    for row in unit(z[i]):
      rows.append(row)
      labels.append(int(label[i]))
  total = 0.0
  for i in range(len(rows)):
    denominator = 0.0
    for a in range(len(rows)):
      if a != i:
        denominator += math.exp(rows[i] @ rows[a] / temperature)
    terms = []
    for p in range(len(rows)):
      if p != i and labels[p] == labels[i]:
        terms.append(math.log(math.exp(rows[i] @ rows[p] / temperature) / denominator))
    if terms:
      total -= sum(terms) / len(terms)
  return total / len(rows)


LOSS = Loss(
    jit_loss, loss_twin, moving=(0,),
    points=[(normal(0, 3, 2, 4), np.array([1, 0, 1]), 0.5),
            (normal(1, 5, 1, 3, scale=3), np.array([2, 0, 2, 2, 7]), 0.2),
            (normal(2, 2, 3, 5), np.array([0, 1]), 0.1)],
    extremes=[(np.stack(pair, 1), np.array([0, 1, 0, 2]), 0.01) for pair in PAIRS],
    refused=[((normal(0, 4, 2, 8), np.zeros(8, int), 0.1), ['4', '(8,)']),
             ((normal(0, 4, 2, 8), np.zeros(1, int), 0.1), ['4', '(1,)']),
             ((Z1, np.zeros(4, int), 0.1), ['(4, 8)']),
             ((normal(0, 1, 1, 8), np.zeros(1, int), 0.1), ['1'])])


def test_loss():
  check_loss(LOSS)


def test_sup_con_of_distinct_labels_is_nt_xent():
  for b, temperature in ((2, 1.0), (5, 0.1)):
    z = normal(b, b, 2, 8)
    label = np.arange(10, 10 + b)
    assert_close(jit_loss(z, label, temperature=temperature), jit_nt_xent(z[:, 0], z[:, 1], temperature=temperature))


def test_sup_con_by_hand():
  z = basis(2)[[0, 0, 1], None]  # three images of one view: similarities 1 of the first two, 0 with the third
  # the third has no positive and counts 0, but is in the mean and among the others' negatives
  assert_close(jit_loss(z, np.array([0, 0, 1]), temperature=1.0), 2 * (math.log(math.e + 1) - 1) / 3)
  # one class: the mean over positives is outside of the logarithm, and the anchor itself in neither sum
  assert_close(jit_loss(z, np.array([5, 5, 5]), temperature=1.0),
               (2 * (math.log(math.e + 1) - 1 / 2) + math.log(2)) / 3)
  assert_close(jit_loss(z, np.array([5, 5, 5]), temperature=0.5),
               (2 * (math.log(math.exp(2) + 1) - 1) + math.log(2)) / 3)
  same = np.tile(normal(0, 1, 1, 6), (4, 2, 1))
  assert_close(jit_loss(same, np.array([0, 1, 1, 0]), temperature=0.1), math.log(7))
  assert_close(jit_loss(normal(0, 4, 1, 6), np.arange(4), temperature=0.1), 0, atol=0)  # nobody has a positive


def test_sup_con_invariances():
  z, label = normal(0, 4, 2, 8), np.array([3, 0, 3, 1])
  loss = jit_loss(z, label, temperature=0.2)
  order = np.array([2, 0, 3, 1])
  assert_close(jit_loss(z[order], label[order], temperature=0.2), loss)
  assert_close(jit_loss(z[:, ::-1], label, temperature=0.2), loss)
  assert_close(jit_loss(z, 7 - label, temperature=0.2), loss)  # names of classes do not matter
  assert_close(jit_loss(z @ rotation(1, 8), label, temperature=0.2), loss)
  assert_close(jit_loss(z * np.exp(normal(2, 4, 2, 1)), label, temperature=0.2), loss)
  # v views of an image are v images of one view
  assert_close(jit_loss(z.reshape(8, 1, 8), label.repeat(2), temperature=0.2), loss)
  assert abs(jit_loss(z, label[order], temperature=0.2) - loss) > 1e-2
  assert_close(jit_loss(z, np.zeros(4, int), temperature=1e4), math.log(7), rtol=1e-3)
