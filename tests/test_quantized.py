"""Products in eight bits: the parameters' tree stays, the numbers nearly, and eight bits are what is multiplied."""
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from data.sources.digits import digits
from pretrain import train
from pretrain.models.functional import functional, paths
from pretrain.models.heads import Classifier
from pretrain.models.quantized import products
from pretrain.models.vit import vit
from tests.checks import normal
from tests.test_models import equations
from tests.test_train import StopAfter, assert_same, final, losses, tiny

pytest.importorskip('qwix')

SIZES = dict(image=16, channels=1, patch=8, width=64, depth=2, heads=2, mlp=128)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(size=(16, 16, 16, 1)), jnp.float32)
VIT = "backbone={'name': 'vit', 'image': 8, 'channels': 1, 'patch': 4, 'width': 32, 'depth': 1, 'heads': 2, 'mlp': 64"
SUPERVISED = ["views={'name': 'supervised', 'size': 8, 'pad': 1}", "objective={'name': 'supervised', 'classes': 10}",
              'checkpoint.every_steps=100']


def start(**levers):
  net = functional(vit(**SIZES, **levers))
  params, _ = jax.jit(net.init)(jax.random.key(0))
  return params, lambda params: (net.apply(params, {}, lambda m: m(IMAGES, train=True))[0] ** 3).sum()


@functools.cache
def gradient(**levers):
  params, loss = start(**levers)
  return jnp.concatenate([g.ravel() for g in jax.tree.leaves(jax.jit(jax.grad(loss))(params))])


def test_a_product_and_its_gradients_are_those_of_rounded_numbers():
  """Against NumPy: q(x) is x rounded to multiples of its row's largest value / 127.5."""
  x, w, g = normal(0, 5, 6, 8), normal(1, 8, 3, 4), normal(2, 5, 6, 3, 4)
  for row in (x[..., 0], w[0], g[..., 0, 0], g[0, 0]):  # the largest are positive: of -127.5 steps the last bit decides
    row[...] = 8 + np.abs(row)

  def q(a, axes):
    step = np.abs(a).max(axes, keepdims=True) / 127.5
    return np.minimum(np.round(a / step), 127), step

  (xq, xs), (wq, ws) = q(x, 2), q(w, 0)
  y, pull = jax.vjp(lambda x, w: products('int8')(x, w, (((2,), (0,)), ((), ()))), x, w)
  np.testing.assert_allclose(y, np.einsum('bnd,dko->bnko', xq * xs, wq * ws), rtol=1e-5, atol=1e-4)
  (gq, gs), (hq, hs) = q(g * ws[0], (2, 3)), q(g * xs[..., None], (0, 1))
  np.testing.assert_allclose(pull(g)[0], np.einsum('bnko,dko->bnd', gq * gs, wq), rtol=1e-5, atol=1e-4)
  np.testing.assert_allclose(pull(g)[1], np.einsum('bnd,bnko->dko', xq, hq * hs), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(('kind', 'error', 'words'), [('int8', 0.06, ('int8', 'int8')),
                                                      ('fp8', 0.4, ('float8_e4m3fn', 'float8_e5m2'))])
def test_blocks_multiply_eight_bits_and_the_gradient_is_nearly_that_of_float32(kind, error, words):
  params, loss = start(quantize=kind)
  plain, _ = start()
  assert paths(params) == paths(plain)
  assert_same(params, plain)
  want, got = gradient(), gradient(quantize=kind)
  assert 1e-3 < jnp.linalg.norm(got - want) / jnp.linalg.norm(want) < error
  dots = [tuple(v.aval.dtype.name for v in e.invars) for e in equations(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)
          if e.primitive.name == 'dot_general']
  eight = [kinds for kinds in dots if kinds[0] in words]
  assert len(eight) == 3 * 4 * 2  # forwards and two backwards of qkv, out, mlp1, mlp2 in two blocks
  assert all(kind in words for kinds in eight for kind in kinds)
  assert {kinds for kinds in dots if kinds not in eight} == {('float32', 'float32')}  # patches and attention itself


def test_other_levers_change_no_number():
  want, got = gradient(quantize='int8'), gradient(quantize='int8', scan=True, remat='dots')
  assert jnp.linalg.norm(got - want) < 1e-2 * jnp.linalg.norm(want)  # sums in another order may round otherwise


def test_training_falls_as_in_float32():
  """A classifier of digits, a hundred steps of Adam."""
  batch = digits(split='train').batch(np.arange(256))
  images, labels = jnp.asarray(batch['image'] / np.float32(255)), jnp.asarray(batch['label'])
  found = {}
  for kind in (None, 'int8'):
    net = functional(lambda rngs, kind=kind: nnx.Dict(
      backbone=vit(image=8, channels=1, patch=4, width=64, depth=1, heads=2, mlp=128, quantize=kind)(rngs),
      head=Classifier(64, 10, rngs=rngs)))
    tx = optax.adam(3e-3)

    def loss(params, net=net):
      logits, _ = net.apply(params, {}, lambda m: m.head(m.backbone(images)))
      return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(state, _, loss=loss, tx=tx):
      value, grads = jax.value_and_grad(loss)(state[0])
      updates, moments = tx.update(grads, state[1])
      return (optax.apply_updates(state[0], updates), moments), value

    params = net.init(jax.random.key(0))[0]
    found[kind] = jax.jit(lambda state, step=step: jax.lax.scan(step, state, length=100)[1])((params, tx.init(params)))
  assert found['int8'][20] != found[None][20]
  np.testing.assert_allclose(found['int8'][:30], found[None][:30], rtol=0.1)
  assert found['int8'][-1] < 0.2 < 2 < found['int8'][0]


def test_stopped_and_resumed_is_bit_for_bit_the_undisturbed_run_and_its_checkpoint_fits_without(tmp_path, monkeypatch):
  tree = tiny(f"{VIT}, 'quantize': 'int8'}}", *SUPERVISED, 'steps=6')
  assert train.train(tree, tmp_path / 'whole', quiet=True) == train.DONE
  with monkeypatch.context() as patch:
    StopAfter(patch, 3)
    assert train.train(tree, tmp_path / 'parts', quiet=True) == train.STOPPED
  assert train.train(tree, tmp_path / 'parts', quiet=True) == train.DONE
  assert losses(tmp_path / 'parts') == losses(tmp_path / 'whole')
  without = tiny(f'{VIT}}}', *SUPERVISED, 'steps=6')
  assert_same(final(tmp_path / 'parts', tree)[0], final(tmp_path / 'whole', without)[0])


def test_an_unknown_kind_and_a_missing_library_are_told(monkeypatch):
  with pytest.raises(ValueError, match=r"wanted quantize to be one of \(None, 'int8', 'fp8'\), got 'int4'"):
    products('int4')
  products.cache_clear()
  monkeypatch.setitem(sys.modules, 'qwix._src.core.dot_general_qt', None)
  with pytest.raises(ValueError, match=r"quantize='int8' needs the library `qwix`: pip install -e .\[quant\]"):
    products('int8')
  products.cache_clear()
