"""DCL: arXiv:2110.06848v3, section 3, L_DC and L_DCW. The whole and both losses against their twins, points by hand."""
import math
from functools import partial

import jax
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.dcl import dcl, dcl_loss, dclw
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import PAIRS, Loss, assert_close, basis, check_loss, normal, rotation
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE, SIGMA = 5, 0.3, 0.7


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step, sigma=SIGMA):
  del stopped, step
  statistics = copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise)).reshape(B, 2, 5)
  agree = [z[i, 0] @ z[i, 1] for i in range(B)]
  loss = 0.
  for i in range(B):
    # the weight is differentiated, too, as in the public code
    weight = 2 - np.exp(agree[i] / sigma) / np.mean([np.exp(s / sigma) for s in agree]) if sigma else 1
    for view in (0, 1):
      negatives = sum(np.exp(z[i, view] @ z[j, other] / TEMPERATURE) for j in range(B) if j != i for other in (0, 1))
      loss += (-weight * agree[i] / TEMPERATURE + np.log(negatives)) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.5, sigma=0.5),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(dcl, tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, sigma=SIGMA)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})
PLAIN = TWIN._replace(objective=dcl(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE),
                      twin=lambda params, **given: twin(params, sigma=None, **given))


@pytest.mark.parametrize('case', [TWIN, PLAIN], ids=['dcw', 'dc'])
def test_its_twin(case):
  check(case)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=2)))



# --- the losses ----------------------------------------------------------------------------------------------------

jit_dcl, jit_dclw, jit_nt_xent = jax.jit(dcl_loss), jax.jit(dclw), jax.jit(losses.nt_xent)


def dcl_twin(z1, z2, temperature):
  """L_DC of arXiv:2110.06848v3 section 3 (theorem 1), as a mean over the 2b anchors (the paper has the sum).

  For the anchor z_i of either view, -z_i(1).z_i(2) / temperature + log sum of exp(z_i.z_k / temperature) over both
  views of all other images: NT-Xent without the positive in the denominator.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.

  Returns:
    float.
  """
  return weighted_twin(unit(z1), unit(z2), temperature, [1.0] * len(z1))


def dclw_twin(z1, z2, temperature, sigma):
  """L_DCW of arXiv:2110.06848v3 section 3: `dcl_twin` with the positive's term of image i times w_i.

  w_i = 2 - exp(z_i(1).z_i(2) / sigma) / E_j exp(z_j(1).z_j(2) / sigma), the mean being the batch's (the public code
  writes it as 2 - b softmax(.) and does not hold it constant).

  Args:
    z1, z2: [b, d], not normalised.
    temperature, sigma: positive floats.

  Returns:
    float.
  """
  z1, z2 = unit(z1), unit(z2)
  concentrations = [math.exp(z1[i] @ z2[i] / sigma) for i in range(len(z1))]
  mean = sum(concentrations) / len(concentrations)
  return weighted_twin(z1, z2, temperature, [2 - value / mean for value in concentrations])


def weighted_twin(z1, z2, temperature, weights):
  """The sum over views and images that both have in common; z1 and z2 of length 1."""
  b = len(z1)
  total = 0.0
  for view in (z1, z2):
    for i in range(b):
      negatives = 0.0
      for k in range(b):
        if k != i:
          for other in (z1, z2):
            negatives += math.exp(view[i] @ other[k] / temperature)
      total += -weights[i] * (z1[i] @ z2[i]) / temperature + math.log(negatives)
  return total / (2 * b)


DCL = Loss(
    jit_dcl, dcl_twin,
    points=[(normal(0, 2, 3), normal(1, 2, 3), 1.0), (normal(2, 4, 6, scale=3), normal(3, 4, 6), 0.1)],
    extremes=[(*pair, 0.01) for pair in PAIRS],
    refused=[((normal(0, 4, 8), normal(0, 1, 8), 0.1), ['(4, 8)', '(1, 8)']),
             ((normal(0, 1, 8), normal(1, 1, 8), 0.1), ['1'])])
DCLW = Loss(
    jit_dclw, dclw_twin,
    points=[(normal(0, 2, 3), normal(1, 2, 3), 1.0, 0.5), (normal(2, 4, 6, scale=3), normal(3, 4, 6), 0.1, 0.5),
            (normal(4, 3, 4), normal(5, 3, 4), 0.2, 0.1)],
    extremes=[(*pair, 0.01, 0.01) for pair in PAIRS],
    refused=[((normal(0, 4, 8), normal(0, 4, 1), 0.1, 0.5), ['(4, 8)', '(4, 1)']),
             ((normal(0, 1, 8), normal(1, 1, 8), 0.1, 0.5), ['1'])])


@pytest.mark.parametrize('loss', [DCL, DCLW], ids=['dcl', 'dclw'])
def test_losses(loss):
  check_loss(loss)


def decoupled(z1, z2, temperature):
  """DCL's value of each of the 2b anchors."""
  z = np.concatenate([z1, z2]).astype(np.float64)
  z /= np.linalg.norm(z, axis=1, keepdims=True)
  similarity = np.exp(z @ z.T / temperature)
  positive = np.diag(np.roll(similarity, len(z1), 1))
  return np.log((similarity.sum(1) - np.diag(similarity) - positive) / positive)


def test_nt_xent_is_softplus_of_dcl():
  for b, temperature in ((2, 1.0), (4, 0.1)):
    z1, z2 = normal(b, b, 6), normal(b + 1, b, 6)
    each = decoupled(z1, z2, temperature)
    assert_close(jit_dcl(z1, z2, temperature=temperature), each.mean())
    assert_close(jit_nt_xent(z1, z2, temperature=temperature), np.log1p(np.exp(each)).mean())
  # where all anchors have one value, NT-Xent's gradient is sigmoid(DCL) times DCL's
  z1 = basis(3) + 0.3
  gradient, coupled = jax.grad(jit_dcl)(z1, z1, temperature=0.5), jax.grad(jit_nt_xent)(z1, z1 * 2, temperature=0.5)
  assert np.abs(gradient).max() > 0.1
  assert_close(coupled, gradient / (1 + np.exp(-jit_dcl(z1, z1, temperature=0.5))), rtol=1e-4)


def test_dcl_by_hand():
  for temperature in (1.0, 0.1):  # similarity 1 with the positive, 0 with the two negatives: no lower bound of 0
    assert_close(jit_dcl(basis(2), basis(2), temperature=temperature), math.log(2) - 1 / temperature)
    assert_close(jit_dcl(basis(2), -basis(2), temperature=temperature), math.log(2) + 1 / temperature)
  same = np.tile(normal(0, 1, 6), (5, 1))
  assert_close(jit_dcl(same, same, temperature=0.2), math.log(8))
  # similarities of the pairs 1 and -1, of all others 0; the mean of the weights is 1
  first, second = basis(2), basis(2) * np.array([[1], [-1]], np.float32)
  weight = 2 - math.e / math.cosh(1), 2 - math.exp(-1) / math.cosh(1)
  assert_close(sum(weight), 2)
  assert_close(jit_dcl(first, second, temperature=0.5), math.log(2))
  assert_close(jit_dclw(first, second, temperature=0.5, sigma=1.0), math.log(2) + (weight[1] - weight[0]) / (2 * 0.5))


def test_dcl_limits_and_invariances():
  z1, z2 = normal(0, 4, 8), normal(1, 4, 8)
  for loss, same in ((partial(jit_dcl, temperature=0.2), 1), (partial(jit_dclw, temperature=0.2, sigma=0.5), 0)):
    value = loss(z1, z2)
    order, scales, turn = np.array([3, 0, 1, 2]), np.exp(normal(2, 4, 1)), rotation(3, 8)
    assert_close(loss(z2, z1), value)
    assert_close(loss(z1[order], z2[order]), value)
    assert_close(loss(scales * z1, z2 / scales), value)
    assert_close(loss(z1 @ turn, z2 @ turn), value)
    assert abs(loss(z1, z2[order]) - value) > 1e-2
    assert (abs(jit_dcl(z1, z2, temperature=0.2) - value) < 1e-6) == bool(same)
  # all weights 1
  assert_close(jit_dclw(z1, z2, temperature=0.2, sigma=1e5), jit_dcl(z1, z2, temperature=0.2), atol=1e-5)
  # equal similarities, equal weights
  assert_close(jit_dclw(z1, 3 * z1, temperature=0.2, sigma=0.5), jit_dcl(z1, z1, temperature=0.2))
  # a pair that agrees more weighs less
  near = np.concatenate([z1[:2], z2[2:]])
  assert jit_dclw(z1, near, temperature=0.2, sigma=0.5) > jit_dcl(z1, near, temperature=0.2)
