"""SparK: convolutions, norms and whole networks that hidden pixels do not reach; its loss; its decoder."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain.models.convolutions import Conv
from pretrain.models.decoder import Double, MapDecoder
from pretrain.models.functional import functional
from pretrain.models.resnet import Norm, resnet, spread
from tests.checks import normal
from tests.reference import spark as twin

pytestmark = pytest.mark.suite('spark')

SMALL = dict(depth=18, blocks=(1, 1), width=4, channels=1, zero_init=False)
VISIBLE = np.array([[[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1]],
                    [[0, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1]]], bool)


@pytest.mark.parametrize(('size', 'stride'), [(3, 1), (3, 2), (1, 2), (7, 2)])
def test_convolution_and_norm_are_those_of_the_twin(size, stride):
  x, conv = normal(0, 2, 8, 8, 3), Conv(3, 4, size, stride=stride, rngs=nnx.Rngs(0))
  fine = np.repeat(np.repeat(VISIBLE, 2, 1), 2, 2)
  y = conv(jnp.where(spread(VISIBLE, x), x, 0))
  seen = np.broadcast_to(spread(VISIBLE, y), y.shape)
  wanted = np.stack([twin.masked_convolution(x[i], fine[i], conv.kernel[...], stride, before=size // 2)
                     for i in range(2)])
  np.testing.assert_allclose(np.where(seen, y, 0), wanted, atol=1e-5)
  norm = Norm('batch', 4, rngs=nnx.Rngs(0))
  norm.norm.scale[...], norm.norm.bias[...] = normal(1, 4), normal(2, 4)
  got = norm(y, train=True, visible=VISIBLE)
  wanted, mean, variance = twin.masked_batch_norm(y, seen[..., 0], normal(1, 4), normal(2, 4), 1e-5)
  np.testing.assert_allclose(got, wanted, atol=1e-5)
  np.testing.assert_allclose(norm.norm.mean[...], 0.1 * mean, atol=1e-6)
  np.testing.assert_allclose(norm.norm.var[...], 0.9 + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize(('stem', 'norm', 'size', 'depth'), [('cifar', 'batch', 8, 18), ('imagenet', 'batch', 32, 50),
                                                             ('cifar', 'group', 8, 18)])
def test_hidden_pixels_have_no_influence_and_without_any_the_maps_are_ordinary(stem, norm, size, depth):
  net = functional(resnet(**SMALL | dict(depth=depth, stem=stem, norm=norm, width=32 if norm == 'group' else 4)))
  params, statistics = jax.jit(net.init)(jax.random.key(0))
  x = jax.random.uniform(jax.random.key(1), (2, size, size, 1))

  @partial(jax.jit, static_argnames='train')
  def maps(x, visible, train):
    return net.apply(params, statistics, lambda m: m.outputs(x, visible, train=train))

  changed = jnp.where(spread(VISIBLE, x), x, 1 - x)
  for train in (True, False):
    (one, _), (other, _) = maps(x, VISIBLE, train), maps(changed, VISIBLE, train)
    for y, z in zip(one, other, strict=True):
      np.testing.assert_array_equal(y, z)
      np.testing.assert_array_equal(np.where(spread(VISIBLE, y), 0, y), 0)  # exactly zero where hidden
      assert np.abs(y).max() > 0
    assert not np.allclose(maps(changed, VISIBLE ^ True, train)[0][-1], one[-1])  # of the others they are others
    everything, dense = maps(x, np.ones_like(VISIBLE), train), maps(x, None, train)
    for y, z in zip(jax.tree.leaves(everything), jax.tree.leaves(dense), strict=True):
      np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
  features, _ = jax.jit(lambda x: net.apply(params, statistics, lambda m: m(x)))(x)
  np.testing.assert_allclose(features, dense[0][-1].mean((1, 2)), rtol=1e-4, atol=1e-5)
  with pytest.raises(ValueError, match=r'wanted a mask \(2, 4, 4\)'):
    net.apply(params, statistics, lambda m: m.outputs(x, VISIBLE[:, :2]))


def test_the_decoder_of_a_large_network():
  """As many doublings as the side was halved; the first layers of ResNet-50 have no map of their own."""
  net = functional(lambda rngs: MapDecoder((256, 512, 1024, 2048), 3, 32, width=768, rngs=rngs))
  params, statistics = jax.eval_shape(net.init, jax.random.key(0))
  maps = [jax.ShapeDtypeStruct((2, 64 >> i, 64 >> i, 256 << i), jnp.float32) for i in range(4)]
  out, _ = jax.eval_shape(lambda p, s, *maps: net.apply(p, s, lambda m: m(maps, np.ones((2, 8, 8), bool), train=True)),
                          params, statistics, *maps)
  assert out.shape == (2, 256, 256, 3)
  assert [kernel['kernel'].shape for _, kernel in sorted(params['projects'].items())] == [
      (1, 1, 2048, 768), (3, 3, 1024, 384), (3, 3, 512, 192), (3, 3, 256, 96)]


@pytest.mark.parametrize('shape', [(2, 3, 5, 4), (1, 1, 1, 2), (3, 7, 2, 6)])
def test_doubling_is_the_transposed_convolution(shape):
  """Values and gradients, by the products that CPUs have in its place."""
  up, x = Double(shape[-1], rngs=nnx.Rngs(1)), normal(0, *shape)
  whole = lambda x, kernel: jax.lax.conv_transpose(x, kernel, (2, 2), 'SAME')
  wanted, back = jax.vjp(whole, x, up.kernel[...])
  dy = normal(1, *wanted.shape)
  by_up, by_x = jax.grad(lambda up, x: jnp.sum(dy * up(x)), (0, 1))(up, x)
  for got, want in zip((up(x), by_x, by_up.kernel[...]), (wanted, *back(dy)), strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(by_up.bias[...], dy.sum((0, 1, 2)), rtol=1e-4, atol=1e-5)
