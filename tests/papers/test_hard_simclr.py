"""The hard contrastive loss upon SimCLR's network: arXiv:2012.09740v2, eq. 9.

The whole, the loss and the penalties against their twins, points by hand, limits.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain import losses
from pretrain.objectives.hard_simclr import hard_nt_xent, hard_simclr, negatives, penalties
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import Loss, assert_close, check_loss, normal
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, TEMPERATURE, SHARE = 6, 0.6, 0.25  # 3 of 10 negatives


def batch(rng):
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1))}


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  statistics = copied(memory['statistics'])
  full = 'norm gain offset'
  assert layout(params['projector'], statistics['projector']) == [(6, 8, full), (8, 5, full)]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise))
  loss = 0.
  for i in range(2 * B):
    other_view = i + 1 if i % 2 == 0 else i - 1
    positive = np.exp(z[i] @ z[other_view] / TEMPERATURE)
    negatives = sorted((z[i] @ z[k] for k in range(2 * B) if k not in (i, other_view)), reverse=True)
    hardest = negatives[:math.ceil(SHARE * len(negatives))]
    loss -= np.log(positive / (positive + sum(np.exp(s / TEMPERATURE) for s in hardest))) / (2 * B)
  return loss, {}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.2, share=0.2),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
TWIN = Twin(
    hard_simclr(tiny(), hidden=(8,), dim=5, temperature=TEMPERATURE, share=SHARE), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'views/0': {'loss'}, 'views/1': {'loss'}})


def test_its_twin():
  check(TWIN)


# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss, jit_penalties = jax.jit(hard_nt_xent, static_argnames='share'), jax.jit(penalties)
jit_nt_xent = jax.jit(losses.nt_xent)


def loss_twin(z1, z2, temperature, share):
  """The paper's explicit hard-negative ('hard contrastive') loss, as a mean over the 2b anchors.

  L_hard(x_i) = -log( exp(s_ii / t) / (sum over s_ik >= s_alpha(i) of exp(s_ik / t) + exp(s_ii / t)) ), where s_ii is
  the positive's similarity and s_alpha(i) the upper alpha quantile of the anchor's similarities with its negatives.
  Here alpha is `share`, and exactly ceil(share * (2b - 2)) negatives of the highest similarity count, also where others
  equal the last of them (the value is the same whichever of the equal ones is taken). A share of 1 gives NT-Xent.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.
    share: float in (0, 1].

  Returns:
    float.
  """
  z = [*unit(z1), *unit(z2)]  # 2b rows of [d]
  b = len(z) // 2
  total = 0.0
  for i in range(2 * b):
    remaining = []
    for k in range(2 * b):
      if k % b != i % b:
        remaining.append(z[i] @ z[k])
    hardest = []
    for _ in range(math.ceil(share * (2 * b - 2))):
      hardest.append(max(remaining))
      remaining.remove(hardest[-1])
    positive = z[i] @ z[(i + b) % (2 * b)]
    highest = max([positive, *hardest])
    denominator = math.exp((positive - highest) / temperature)
    for similarity in hardest:
      denominator += math.exp((similarity - highest) / temperature)
    total += (highest - positive) / temperature + math.log(denominator)
  return float(total / (2 * b))


def penalties_twin(z1, z2, temperature):
  """Relative penalty of each negative, r_i(s_ij) = exp(s_ij / t) / sum over the negatives k of i of exp(s_ik / t).

  It is |dL/ds_ij| / |dL/ds_ii| of anchor i's loss L, s_ii being the positive's similarity; each row has the sum 1.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.

  Returns:
    float64 [2b, 2b], a row for each anchor, zero at the anchor itself and at its positive; rows and columns are view
    1's rows and then view 2's.
  """
  z = [*unit(z1), *unit(z2)]  # 2b rows of [d]
  b = len(z) // 2
  result = np.zeros((2 * b, 2 * b))
  for i in range(2 * b):
    negatives = [k for k in range(2 * b) if k % b != i % b]
    highest = max(z[i] @ z[k] for k in negatives)
    total = 0.0
    for k in negatives:
      total += math.exp((z[i] @ z[k] - highest) / temperature)
    for j in negatives:
      result[i, j] = math.exp((z[i] @ z[j] - highest) / temperature) / total
  return result


LOSS = Loss(
    jit_loss, loss_twin,
    points=[(normal(0, 4, 3), normal(1, 4, 3), 1.0, 0.5), (normal(2, 5, 8, scale=3), normal(3, 5, 8), 0.1, 0.1)])


def test_loss():
  check_loss(LOSS)


def test_hard_negatives_by_hand_and_in_their_limits():
  z1 = np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
  positive_and_hardest = [(1, 0.6), (1, 0.6), (1, -0.6)]  # of each pair of equal views; the other view is as hard
  assert_close(jit_loss(z1, z1, temperature=1.0, share=0.25),
               np.mean([math.log1p(math.exp(b - a)) for a, b in positive_and_hardest]))
  one, two = normal(0, 5, 8), normal(1, 5, 8)
  assert_close(jit_loss(one, two, temperature=0.2, share=1.0), jit_nt_xent(one, two, temperature=0.2))
  values = [float(jit_loss(one, two, temperature=0.2, share=share)) for share in (0.1, 0.5, 1.0)]
  assert values == sorted(values) and values[0] < values[2] - 1e-2  # fewer terms in the denominator
  similarity = negatives(losses.normalize(np.concatenate([one, two])))
  wanted = np.maximum(np.max(similarity, 1) - np.tile((losses.normalize(one) * losses.normalize(two)).sum(1), 2), 0)
  near_0 = jit_nt_xent(one, two, temperature=1e-3), jit_loss(one, two, temperature=1e-3, share=0.1)
  for loss in near_0:  # the triplet loss of the hardest
    assert_close(loss * 1e-3, wanted.mean(), rtol=1e-2)
  for share in (0, 1.5):
    with pytest.raises(ValueError, match=r'in \(0, 1\]'):
      hard_nt_xent(one, two, temperature=0.2, share=share)


def test_penalties_are_the_shares_of_the_gradient():
  for temperature in (1.0, 0.1):
    z1, z2 = normal(0, 4, 6), normal(1, 4, 6)
    found = jit_penalties(z1, z2, temperature=temperature)
    assert_close(found, penalties_twin(z1, z2, temperature))
    assert_close(found.sum(1), 1)

    def anchors(similarity, temperature=temperature):  # NT-Xent as a function of the similarities
      logits = jnp.where(jnp.eye(8, dtype=bool), -jnp.inf, similarity / temperature)
      return jnp.sum(jax.nn.logsumexp(logits, 1) - logits[jnp.arange(8), jnp.roll(jnp.arange(8), 4)])

    z = losses.normalize(np.concatenate([z1, z2]))
    gradient = np.asarray(jax.grad(anchors)(z @ z.T))
    positive = gradient[np.arange(8), np.roll(np.arange(8), 4)]
    assert_close(positive, -(gradient.sum(1) - positive), rtol=1e-4)  # as much as that of all negatives together
    assert_close(np.where(found > 0, gradient / -positive[:, None], 0), found, rtol=1e-4)
  hottest, coldest = jit_penalties(z1, z2, temperature=1e4), jit_penalties(z1, z2, temperature=1e-3)
  assert_close(hottest[hottest > 0], 1 / 6, rtol=1e-3)
  assert_close(coldest.max(1), 1, rtol=1e-3)
