"""iSogCLR: arXiv:2305.11965v1, section 4, algorithm 1; unimodal_exps/losses.py.

The whole and the loss against their twins, limits, what is remembered of each example.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain.models.vit import vit
from pretrain.objectives.dcl import dcl_loss
from pretrain.objectives.isogclr import Memory, isogclr, isogclr_loss
from pretrain.views.simclr import simclr as simclr_views
from tests import cases
from tests.checks import assert_close, assert_finite, assert_gradient, normal
from tests.reference import numeric
from tests.reference.networks import Tiny, layout, projected, unit
from tests.twin import Twin, check, copied, tiny

B, EXAMPLES, LOWEST, HIGHEST, RATE, GRADIENT_RATE, RHO, AVERAGE_RATE = 5, 8, 0.3, 0.9, 0.11, 0.6, 0.4, 0.8


def batch(rng):
  index = rng.permutation(EXAMPLES)[:B]
  index[3] = index[0]  # one is there twice
  return {'views': rng.uniform(size=(B, 2, 4, 4, 1)), 'index': index}


def started(rng, memory):
  average = rng.uniform(0.5, 2, size=EXAMPLES)
  average[::2], average[1] = 0., 400.
  temperature = np.array([0.31, 0.33, 0.87, 0.5, 0.7, 0.85, 0.35, 0.89])  # some near either end, and going there
  return memory | {'average': average, 'temperature': temperature,
                   'velocity': np.array([3, 2, -3, 1, 0.5, -1, 1.5, -2])}


def twin(params, stopped, memory, batch, draws, step):
  statistics = copied(memory['statistics'])
  assert layout(params['projector'], statistics['projector']) == [(6, 8, 'norm gain offset'), (8, 5, '')]
  both = np.stack([batch['views'][i, v] for i in range(B) for v in (0, 1)])
  (_, noise), = draws
  z = unit(projected(params, statistics, both, True, noise)).reshape(B, 2, 5)
  fixed = unit(projected(stopped, copied(memory['statistics']), both, True, noise)).reshape(B, 2, 5)
  index, new = batch['index'], {key: np.array(memory[key]) for key in ('average', 'temperature', 'velocity')}
  tau = memory['temperature'][index]
  loss, clipped, ends, fresh = 0., 0, set(), 0
  for i in range(B):
    old = memory['average'][index[i]]
    fresh += old == 0
    averages, slopes = [], []
    for view in (0, 1):

      def over_negatives(z, i=i, view=view):
        return [z[i, view] @ z[j, other] - z[i, view] @ z[i, 1 - view] for j in range(B) if j != i for other in (0, 1)]

      h = over_negatives(fixed)
      g = np.mean([np.exp(x / tau[i]) for x in h])
      s = (1 - AVERAGE_RATE) * old + AVERAGE_RATE * g if old else g
      # the value is tau (log s + rho), its gradient the estimate tau / s grad g
      moved = np.mean([np.exp(x / tau[i]) for x in over_negatives(z)])
      loss += (tau[i] * (np.log(s) + RHO) + tau[i] / s * (moved - g)) / (2 * B)
      averages.append(s)
      slopes.append(np.log(s) + RHO - np.mean([np.exp(x / tau[i]) * x / tau[i] for x in h]) / s)
    gradient = np.mean(slopes)
    clipped += abs(gradient) > 3
    velocity = (1 - GRADIENT_RATE) * memory['velocity'][index[i]] + GRADIENT_RATE * np.clip(gradient, -3, 3)
    there = tau[i] - RATE * velocity
    ends.add('low' if there < LOWEST else 'high' if there > HIGHEST else 'between')
    new['average'][index[i]], new['velocity'][index[i]] = np.mean(averages), velocity
    new['temperature'][index[i]] = np.clip(there, LOWEST, HIGHEST)
  if step == 0:
    assert 0 < clipped < B and len(ends) == 3 and 0 < fresh < B, (clipped, ends, fresh)
  return loss, {'temperature': np.mean(tau)}, lambda params: (params, {'statistics': statistics, **new})


CASE = cases.Case(dict(hidden=(64,), dim=16, temperature=0.1, temperature_range=(0.05, 1.), temperature_rate=0.03,
                       gradient_rate=0.5, rho=0.4, average_rate=0.8),
                  simclr_views(size=cases.SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5))
built = partial(isogclr, tiny(), hidden=(8,), dim=5, temperature=0.5, temperature_range=(LOWEST, HIGHEST),
                temperature_rate=RATE, gradient_rate=GRADIENT_RATE, rho=RHO, average_rate=AVERAGE_RATE,
                examples=EXAMPLES)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    project=lambda params, memory, x: projected(params, memory['statistics'], x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), memory=started,
    moves={'views/0': {'loss'}, 'views/1': {'loss'}, 'index': {'loss', 'temperature'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_in_chunks():
  check(TWIN._replace(objective=built(chunk=5)))



# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(isogclr_loss)


def loss_twin(z1, z2, average, temperature, rho, average_rate):
  """The robust contrastive loss with a temperature for each image (arXiv:2305.11965v1, section 4 and algorithm 1).

  For an anchor i with positive i+ and the 2b - 2 views of other images as negatives j, with s the cosine similarity,
  h_ij = s_ij - s_ii+, g_i = mean_j exp(h_ij / tau_i), u_i = (1 - rate) u_i + rate g_i,
  F_i = tau_i log u_i + tau_i rho; dF_i / dtau_i = log u_i + rho - mean_j exp(h_ij / tau_i) h_ij / tau_i / u_i.
  The paper leaves open how two views share u_i and tau_i: here, as in the authors' code, new values are the mean of
  the views', and u_i is g_i where it was 0.

  Args:
    z1, z2: [b, d], the two views' projections, not normalised; row i of both comes from one image.
    average, temperature: [b], u and tau.
    rho, average_rate: floats.

  Returns:
    the mean of F over the 2b anchors; new averages [b]; derivatives in the temperatures [b].
  """
  z = [np.asarray(row, np.float64) for row in [*z1, *z2]]
  z = [row / math.sqrt(row @ row) for row in z]
  b = len(z) // 2
  total, averages, slopes = 0.0, np.zeros(b), np.zeros(b)
  for i in range(2 * b):
    image = i % b
    tau, old = float(temperature[image]), float(average[image])
    rate = average_rate if old > 0 else 1.0
    g = slope = 0.0
    for j in range(2 * b):
      if j % b == image:
        continue
      h = z[i] @ z[j] - z[i] @ z[(i + b) % (2 * b)]
      g += math.exp(h / tau) / (2 * b - 2)
      slope += math.exp(h / tau) * h / tau / (2 * b - 2)
    u = (1 - rate) * old + rate * g
    total += (tau * math.log(u) + tau * rho) / (2 * b)
    averages[image] += u / 2
    slopes[image] += (math.log(u) + rho - slope / u) / 2
  return total, averages, slopes


def positive(seed: int, n: int, low: float, high: float):
  return np.random.default_rng(seed).uniform(low, high, n).astype(np.float32)


def value_only(f, **kwargs):
  return lambda *arrays: f(*arrays, **kwargs)[0]


@pytest.mark.parametrize(('b', 'd', 'rho', 'rate'), [(2, 3, 0.4, 0.8), (5, 4, 0.0, 0.3), (8, 16, 6.0, 1.0)])
def test_value_averages_and_slopes_equal_the_twins(b, d, rho, rate):
  z1, z2 = normal(b, b, d, scale=3), normal(b + 100, b, d)
  average, temperature = positive(b, b, 0.1, 9), positive(b + 1, b, 0.05, 1)
  average[0] = 0  # not met yet
  value, new = jit_loss(z1, z2, average=average, temperature=temperature, rho=rho, average_rate=rate)
  wanted, averages, slopes = loss_twin(z1, z2, average, temperature, rho, rate)
  assert value.shape == () and value.dtype == jnp.float32
  assert_close(value, wanted, rtol=2e-5)
  assert_close(new['average'], averages, rtol=2e-5)
  assert_close(new['temperature_gradient'], slopes, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_value_over_the_rate():
  z1, z2, temperature = normal(0, 3, 4), normal(1, 3, 4), positive(2, 3, 0.1, 1)
  for average, rate in ((np.zeros(3, np.float32), 0.3), (positive(3, 3, 0.5, 2), 1.0)):  # rate 1, both
    options = dict(average=average, temperature=temperature, rho=0.4, average_rate=rate)
    assert_gradient(value_only(isogclr_loss, **options), value_only(loss_twin, **options), z1, z2)
  options['average_rate'] = 0.3
  gradient = jax.grad(value_only(isogclr_loss, **options))(z1, z2)
  wanted = numeric.gradient(lambda x: loss_twin(x, z2, **options)[0], z1) / 0.3
  assert_close(gradient, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_the_slope_is_the_derivative_in_the_temperature():
  z1, z2, temperature = normal(0, 4, 5), normal(1, 4, 5), positive(2, 4, 0.1, 1)
  _, new = jit_loss(z1, z2, average=np.zeros(4, np.float32), temperature=temperature, rho=0.4, average_rate=1.0)
  mean = lambda t: loss_twin(z1, z2, np.zeros(4), t, 0.4, 1.0)[0]
  assert_close(new['temperature_gradient'], 4 * numeric.gradient(mean, temperature), rtol=1e-4, atol=1e-5)


def test_with_one_temperature_and_no_memory_it_is_the_temperature_times_dcl():
  z1, z2, nothing = normal(0, 6, 5), normal(1, 6, 5), np.zeros(6, np.float32)
  for t in (0.1, 0.5):
    got = jit_loss(z1, z2, average=nothing, temperature=np.full(6, t, np.float32), rho=0.3, average_rate=0.5)[0]
    assert_close(got, t * (dcl_loss(z1, z2, temperature=t) - np.log(10) + 0.3), rtol=1e-4)
    gradient = jax.grad(lambda z, t=t: isogclr_loss(z, z2, average=nothing, temperature=jnp.full(6, t), rho=0.3,
                                                    average_rate=0.5)[0])(z1)
    assert_close(gradient, t * jax.grad(dcl_loss)(z1, z2, temperature=t), rtol=1e-4, atol=1e-6)


def test_the_slope_is_rho_less_the_divergence_of_the_weights_from_uniform():
  z1, z2 = normal(0, 5, 4), normal(1, 5, 4)
  for t in (0.05, 0.3):
    _, new = jit_loss(z1, z2, average=np.zeros(5, np.float32), temperature=np.full(5, t, np.float32), rho=0.7,
                     average_rate=1.0)
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    divergence = np.zeros(5)
    for i, row in enumerate(z @ z.T / t):
      row = np.delete(row, [i, (i + 5) % 10])
      w = np.exp(row - row.max())
      w /= w.sum()
      divergence[i % 5] += (w * np.log(np.maximum(w, 1e-300) * len(w))).sum() / 2
    assert_close(new['temperature_gradient'], 0.7 - divergence, rtol=1e-4, atol=1e-5)


def test_isogclr_is_finite_and_refuses_other_shapes():
  one = np.ones((3, 4), np.float32)
  options = dict(average=np.zeros(3, np.float32), temperature=np.full(3, 0.05, np.float32), rho=0.4, average_rate=0.8)
  assert_finite(value_only(partial(isogclr_loss, **options)), (one, one), (one, -one), (0 * one, one))
  with pytest.raises(ValueError, match='isogclr'):
    isogclr_loss(one, one, average=np.zeros(2), temperature=np.ones(3), rho=0.4, average_rate=0.8)
  with pytest.raises(ValueError, match='b >= 2'):
    isogclr_loss(one[:1], one[:1], average=np.zeros(1), temperature=np.ones(1), rho=0.4, average_rate=0.8)


def test_only_the_rows_of_the_batch_are_remembered():
  backbone = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  made = isogclr(backbone, hidden=(16,), dim=8, temperature=0.1, temperature_range=(0.05, 1.0), temperature_rate=0.5,
                   gradient_rate=0.5, rho=0.4, average_rate=0.8, examples=20)
  params, memory = made.init(jax.random.key(0))
  views = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 2, 8, 8, 1)), jnp.float32)
  at = jnp.array([7, 3, 19, 0])
  _, (carry, metrics) = made.loss(params, memory, {'views': views, 'index': at}, jax.random.key(1), 0)
  _, after = made.update(params, memory, carry, 0)
  assert_close(metrics['temperature'], 0.1)
  others = np.setdiff1d(np.arange(20), at)
  for name in ('average', 'velocity', 'temperature'):
    np.testing.assert_array_equal(after[name][others], memory[name][others])
    assert np.all(after[name][at] != memory[name][at]), name
  assert np.all(after['temperature'] >= 0.05) and np.all(after['temperature'] <= 1)
  z = made.halves[0](params, memory, {'views': views, 'index': at}, jax.random.key(1), 0)[0]
  assert z.shape == (4, 2, 16)
  with pytest.raises(ValueError, match='temperature_range'):
    isogclr(backbone, hidden=(16,), dim=8, temperature=0.1, temperature_range=(0.2, 1.0), temperature_rate=0.5,
              gradient_rate=0.5, rho=0.4, average_rate=0.8, examples=20)


def test_the_last_row_of_an_example_is_remembered():
  made = isogclr(cases.VIT, **CASE.kwargs, examples=5)
  memory = {'statistics': {}} | {name: jnp.zeros(5) for name in Memory._fields}
  at, new = jnp.array([2, 0, 2, 2, 0]), jnp.arange(1., 6.)
  _, after = made.update({}, memory, {'statistics': {}, 'index': at, 'rows': Memory(new, new, new)}, 0)
  for name in Memory._fields:
    np.testing.assert_array_equal(after[name], [5, 0, 4, 0, 0])
