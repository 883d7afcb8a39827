"""Backbones and heads against published sizes, and against NumPy in float64 typed from the formulas with loops."""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain.frontends.image import interpolate, patchify, sincos
from pretrain.machine.sharding import batch_sharding, laid_on, make_mesh, replicated
from pretrain.models import layers, winograd
from pretrain.models.convolutions import Conv, convolution, max_pool
from pretrain.models.functional import functional
from pretrain.models.heads import MLP, Classifier, MaskedWords, PrototypeHead
from pretrain.models.layers import REMAT, BatchNorm, Linear, batch_norm, dot_general, layer_norm
from pretrain.models.resnet import Block as ResidualBlock
from pretrain.models.resnet import Norm, resnet
from pretrain.models.vit import Block, Transformer, drop, vit
from pretrain.models.wide_resnet import wide_resnet

pytestmark = pytest.mark.suite('models')

TINY = dict(image=8, channels=3, patch=4, width=16, depth=2, heads=2, mlp=24)


def count(build, classes: int) -> int:
  """Parameters of a backbone with a linear classifier, nothing allocated."""
  params, _ = jax.eval_shape(functional(build).init, jax.random.key(0))
  width = functional_width(build)
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params)) + (width + 1) * classes


def functional_width(build) -> int:
  return nnx.eval_shape(lambda: build(nnx.Rngs(params=0))).width


def init(net):
  """(params, mutable) as initialised."""
  return jax.jit(net.init)(jax.random.key(0))


def drawn(net):
  """(params, mutable) of the right shapes where nothing cancels: normals of 0.3, gains around 1, variances in [0.5, 2].

  It costs no compilation, unlike `init`.
  """
  rng = np.random.default_rng(0)
  def draw(path, leaf):
    name = jax.tree_util.keystr(path)
    normal = rng.normal(size=leaf.shape) * 0.3 + ('scale' in name)
    return jnp.asarray(rng.uniform(0.5, 2.0, leaf.shape) if 'var' in name else normal, leaf.dtype)
  return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(net.init, jax.random.key(0)))


def run(net, params, mutable, call):
  """(outputs, mutable) of `net.apply`, compiled."""
  return jax.jit(lambda p, s: net.apply(p, s, call))(params, mutable)


def abstract(net, x):
  """(outputs, mutable) as shapes: traced, neither compiled nor run."""
  state = jax.eval_shape(net.init, jax.random.key(0))
  return jax.eval_shape(lambda *state: net.apply(*state, lambda m: m(x, train=False, key=None)), *state)


def images(b=2, size=8, channels=3, seed=0):
  return jax.random.uniform(jax.random.key(seed), (b, size, size, channels))


# ---------------------------------------------------------------------------------------------------------- sizes

@pytest.mark.parametrize(('variant', 'parameters'), [  # timm's tables, 1000 classes; Ti, S: 2012.12877v2 table 1
  ('Ti/16', 5_717_416), ('S/16', 22_050_664), ('B/16', 86_567_656), ('L/16', 304_326_632), ('H/14', 632_045_800)])
def test_vit_has_the_published_number_of_parameters(variant, parameters):
  assert count(vit(variant=variant, image=224, channels=3), 1000) == parameters


@pytest.mark.parametrize(('depth', 'parameters'), [  # torchvision's tables
  (18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)])
def test_resnet_has_the_published_number_of_parameters(depth, parameters):
  assert count(resnet(depth=depth, stem='imagenet', channels=3), 1000) == parameters


def test_wide_resnet_has_the_published_number_of_parameters():
  def formula(depth, k, classes):  # convolutions, two norms a block with gain and offset, the last norm, the classifier
    total, in_ = 3 * 9 * 16, 16
    for out in (16 * k, 32 * k, 64 * k):
      for _ in range((depth - 4) // 6):
        total += 2 * in_ + 9 * in_ * out + 2 * out + 9 * out * out + (in_ * out if in_ != out else 0)
        in_ = out
    return total + 2 * in_ + (in_ + 1) * classes
  # 1.5 M in 2001.07685v2; 36.5 M for WRN-28-10 in 1605.07146v4
  assert formula(28, 2, 10) == 1_467_610 and round(formula(28, 10, 10) / 1e5) == 365
  for widen in (2, 10):
    assert count(wide_resnet(depth=28, widen=widen, channels=3), 10) == formula(28, widen, 10)


# ------------------------------------------------------------------------------------------------------------ vit

def norm64(x, p):
  mean = x.mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(((x - mean)**2).mean(-1, keepdims=True) + 1e-6) * p['scale'] + p['bias']


def vit64(params, x, *, patch, heads, registers):
  """Tokens of a ViT with learned positions and LayerScale; x [b, h, w, c] in [0, 1]."""
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  erf = np.vectorize(math.erf)
  outputs = []
  for image in (np.asarray(x, np.float64) - 0.5) / 0.5:
    tokens = [p['cls'] + p['position_table'][0], *p['register_tokens'][:registers]]
    side, n = image.shape[0], 0
    for i in range(0, side, patch):
      for j in range(0, side, patch):
        n += 1
        flat = image[i:i + patch, j:j + patch].reshape(-1)
        tokens.append(flat @ p['project']['kernel'] + p['project']['bias'] + p['position_table'][n])
    t = np.stack(tokens)
    for _, block in sorted(p['trunk']['blocks'].items()):
      y, out = norm64(t, block['norm1']), 0
      for h in range(heads):
        q, k, v = (y @ block['attention']['qkv']['kernel'][:, i, h] + block['attention']['qkv']['bias'][i, h]
                   for i in range(3))
        weights = np.exp(q @ k.T / math.sqrt(q.shape[1]))
        out = out + weights / weights.sum(1, keepdims=True) @ v @ block['attention']['out']['kernel'][h]
      t = t + block['scale1'] * (out + block['attention']['out']['bias'])
      y = norm64(t, block['norm2']) @ block['mlp1']['kernel'] + block['mlp1']['bias']
      y = y * (1 + erf(y / math.sqrt(2))) / 2
      t = t + block['scale2'] * (y @ block['mlp2']['kernel'] + block['mlp2']['bias'])
    outputs.append(norm64(t, p['trunk']['norm']))
  return np.stack(outputs)


@pytest.fixture(scope='module')
def tiny():
  net = functional(vit(**TINY, registers=2, layer_scale=0.1))
  params, mutable = drawn(net)
  assert not mutable
  return params, lambda call: run(net, params, {}, call)[0]


def test_vit_equals_numpy(tiny):
  params, tiny_vit = tiny
  want = vit64(params, images(), patch=4, heads=2, registers=2)
  np.testing.assert_allclose(tiny_vit(lambda m: m.encode(m.embed(images()))), want, atol=1e-5)
  np.testing.assert_allclose(tiny_vit(lambda m: m(images())), want[:, 0], atol=1e-5)


def test_visible_tokens_alone_are_encoded(tiny):
  _, tiny_vit = tiny
  full = tiny_vit(lambda m: m.encode(m.embed(images())))
  assert full.shape == (2, 1 + 2 + 4, 16)
  np.testing.assert_allclose(tiny_vit(lambda m: m.encode(m.embed(images())[:, jnp.arange(4)])), full, atol=1e-6)
  order = jnp.array([2, 0, 3, 1])  # positions travel with the tokens: a permutation permutes
  permuted = tiny_vit(lambda m: m.encode(m.embed(images())[:, order]))
  np.testing.assert_allclose(permuted[:, 3:], full[:, 3:][:, order], atol=1e-5)
  # a hidden patch has no influence
  visible = [tiny_vit(lambda m, x=x: m.encode(m.embed(x)[:, :2])) for x in (images(), images().at[:, 4:].set(0))]
  assert visible[0].shape == (2, 1 + 2 + 2, 16)
  np.testing.assert_array_equal(*visible)


def test_pooling_drops_registers_and_class_token(tiny):
  params, tiny_vit = tiny
  tokens = tiny_vit(lambda m: m.encode(m.embed(images())))
  np.testing.assert_array_equal(tiny_vit(lambda m: m.pool(tokens)), tokens[:, 0])
  np.testing.assert_array_equal(tiny_vit(lambda m: m.patches(tokens)), tokens[:, 3:])
  mean = functional(vit(**TINY, registers=2, layer_scale=0.1, pool='mean'))
  np.testing.assert_allclose(run(mean, params, {}, lambda m: m.pool(tokens))[0], tokens[:, 3:].mean(1), atol=1e-6)
  np.testing.assert_array_equal(run(mean, params, {}, lambda m: m.pool(tokens.at[:, :3].set(9.0)))[0],
                                run(mean, params, {}, lambda m: m.pool(tokens))[0])


def test_other_sizes_interpolate_learned_positions(tiny):
  params, tiny_vit = tiny
  table = params['position_table'][1:]
  assert interpolate(table, (2, 2), (2, 2)) is table
  np.testing.assert_array_equal(tiny_vit(lambda m: m.positions()), table)
  assert tiny_vit(lambda m: m.positions((3, 5))).shape == (15, 16)
  for x in (images(size=12), images()[:, :4]):
    assert abstract(functional(vit(**TINY)), x)[0].shape == (2, 16)
  # cubic convolution is exact for linear functions away from the border: row and column coordinates stay straight
  rows, columns = np.meshgrid(np.arange(12.0), np.arange(10.0), indexing='ij')
  up = interpolate(jnp.stack([rows, columns], -1).reshape(-1, 2), (12, 10), (24, 20)).reshape(24, 20, 2)
  want = np.stack(np.meshgrid((np.arange(24) + 0.5) / 2 - 0.5, (np.arange(20) + 0.5) / 2 - 0.5, indexing='ij'), -1)
  np.testing.assert_allclose(up[4:-4, 4:-4], want[4:-4, 4:-4], atol=1e-5)


def test_sincos_positions():
  table = sincos((2, 3), 8)
  assert table.shape == (6, 8) and table.dtype == np.float32
  # the patch in row 1, column 2; frequencies 1 and 10000**-0.5 = 0.01
  want = [f(x * frequency) for x in (2, 1) for f in (math.sin, math.cos) for frequency in (1, 0.01)]
  np.testing.assert_allclose(table[5], want, rtol=1e-6)
  params, _ = drawn(functional(vit(**TINY, positions='sincos')))
  assert 'position_table' not in params
  net = functional(vit(**TINY, positions='sincos'))
  np.testing.assert_array_equal(run(net, params, {}, lambda m: m.positions((3, 2)))[0], sincos((3, 2), 16))
  with pytest.raises(ValueError, match='divisible by 4.*got 10'):
    sincos((2, 2), 10)


def test_initial_values():
  params, _ = init(functional(vit(variant='Ti/16', image=224, channels=3, registers=8, depth=2)))
  qkv = params['trunk']['blocks'][1]['attention']['qkv']
  bound = math.sqrt(6 / (192 + 192))  # Xavier's, for each of q, k, v
  assert qkv['kernel'].shape == (192, 3, 3, 64) and not qkv['bias'].any()
  assert 0.99 * bound < jnp.abs(qkv['kernel']).max() <= bound
  mlp = params['trunk']['blocks'][0]['mlp1']['kernel']
  assert 0.99 < jnp.abs(mlp).max() / math.sqrt(6 / (192 + 768)) <= 1
  for name in ('position_table', 'register_tokens', 'cls'):
    assert 0.015 < params[name].std() < 0.025
  leaves = [leaf for leaf in jax.tree.leaves(params) if leaf.std()]
  assert len({float(leaf.ravel()[0] / leaf.std()) for leaf in leaves}) == len(leaves)  # no key is reused


def test_drop_path_leaves_out_whole_examples():
  rate, b = 0.3, 4000
  net = functional(lambda rngs: Block(8, 2, 8, rngs=rngs))
  params = drawn(net)[0]
  x = jnp.broadcast_to(jax.random.normal(jax.random.key(1), (1, 2, 8)), (b, 2, 8))
  y = run(net, params, {}, lambda m: m(x, drop_path=rate, key=jax.random.key(2)))[0]
  attention = run(net, params, {}, lambda m: x[:1] + m.attention(m.norm1(x[:1])) / (1 - rate))[0][0]
  dropped = jnp.all(y == x, axis=(1, 2))  # both branches
  assert abs(dropped.mean() - rate**2) < 4 * math.sqrt(rate**2 / b)
  only_attention = jnp.all(jnp.abs(y - attention) < 1e-5, axis=(1, 2))
  assert abs(only_attention.mean() - rate * (1 - rate)) < 4 * math.sqrt(rate / b)
  # a branch keeps its mean
  branch = drop(lambda x: x + 1, jnp.zeros((b, 2, 8)), jax.random.key(3), rate)
  assert abs(branch.mean() - 1) < 4 * math.sqrt(rate / (1 - rate) / b)
  assert ((branch == 0) | (jnp.abs(branch - 1 / (1 - rate)) < 1e-6)).all()


def test_drop_path_grows_with_depth_and_is_drawn_from_the_key():
  trunk = nnx.eval_shape(lambda: Transformer(8, 5, 2, 8, drop_path=0.2, rngs=nnx.Rngs(params=0)))
  np.testing.assert_allclose(trunk.rates, [0, 0.05, 0.1, 0.15, 0.2])
  net = functional(vit(**TINY, drop_path=0.9))
  params = drawn(net)[0]
  features = jax.jit(lambda p, key: net.apply(p, {}, lambda m: m(images(8), train=True, key=key))[0])
  runs = [features(params, jax.random.key(seed)) for seed in (0, 0, 1)]
  np.testing.assert_array_equal(runs[0], runs[1])
  assert (runs[0] != runs[2]).any()
  without = [jax.jit(lambda p, train=train: net.apply(p, {}, lambda m: m(images(8), train=train))[0])(params)
             for train in (False, True)]
  np.testing.assert_array_equal(*without)


def test_drop_path_in_groups_computes_the_rows_that_stay():
  seen = []

  def branch(x):
    seen.append(x.shape)
    return jnp.ones_like(x)

  x = jnp.zeros((12, 3, 2))
  y = drop(branch, x, jax.random.key(0), 0.4, group=4)  # round(4 * 0.6) = 2 of 4 rows
  assert seen == [(6, 3, 2)]
  rows = np.asarray(y[:, 0, 0]).reshape(3, 4)
  assert ((rows == 0).sum(1) == 2).all() and ((rows == 2).sum(1) == 2).all()  # scaled by 4 / 2: the mean stays 1
  assert (rows == rows[0]).all()
  draws = {tuple(np.asarray(drop(branch, x, jax.random.key(seed), 0.4, group=4)[:4, 0, 0])) for seed in range(40)}
  assert len(draws) == 6  # every pair of the four


@pytest.mark.parametrize(('in_', 'out'), [((6,), (3, 2, 4)), ((2, 3), (5,)), ((3,), (3,)), ((8,), (2, 2))])
def test_a_product_and_its_gradients(in_, out):
  """Kernels of more out than in, and of less; NumPy's sums over all axes stand beside."""
  rng = np.random.default_rng(0)
  x, kernel, dy = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 4, *in_), (*in_, *out), (5, 4, *out)))
  axes = (tuple(range(2, 2 + len(in_))), tuple(range(len(in_)))), ((), ())
  y, back = jax.vjp(lambda x, kernel: dot_general(x, kernel, axes), x, kernel)
  ins, outs = 'ij'[:len(in_)], 'uvw'[:len(out)]
  wanted = (np.einsum(f'bt{ins},{ins}{outs}->bt{outs}', x, kernel),
            np.einsum(f'bt{outs},{ins}{outs}->bt{ins}', dy, kernel),
            np.einsum(f'bt{ins},bt{outs}->{ins}{outs}', x, dy))
  for got, want in zip((y, *back(dy)), wanted, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize(('in_', 'out', 'axis'), [(6, (3, 2, 4), -1), ((2, 3), 5, (-2, -1)), (3, 3, -1)])
def test_a_linear_layer_is_that_of_nnx(in_, out, axis, dtype):
  """The same parameters of the same key, the same outputs, and gradients that differ by roundings."""
  rows = (5, 4, *(in_ if isinstance(in_, tuple) else (in_,)))
  x = np.random.default_rng(0).normal(size=rows).astype(np.float32)
  found = []
  for kind in (Linear, nnx.LinearGeneral):
    layer = kind(in_, out, axis=axis, dtype=jnp.dtype(dtype), bias_init=nnx.initializers.normal(1.), rngs=nnx.Rngs(0))
    split, params = nnx.split(layer)
    y, back = jax.vjp(lambda params, x, split=split: nnx.merge(split, params)(x), params, x)
    found.append((nnx.to_pure_dict(params), y, back(jnp.sin(y))))
  (params, y, gradients), (wanted, like, exact) = found
  jax.tree.map(np.testing.assert_array_equal, (params, y), (wanted, like))
  near = 1e-5 if dtype == 'float32' else 0.02
  jax.tree.map(lambda *both: np.testing.assert_allclose(*(g.astype(np.float32) for g in both), rtol=near, atol=near),
               gradients, exact)
  assert all(np.ptp(g) > 0 for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize('group', [1, 2])
@pytest.mark.parametrize('remat', REMAT)
@pytest.mark.parametrize('scan', [False, True])
def test_scan_and_remat_change_no_number(scan, remat, group):
  build = dict(TINY, drop_path=0.5, drop_group=group, layer_scale=0.1)
  plain, levered = (functional(vit(**build, **more)) for more in ({}, dict(remat=remat, scan=scan)))
  params = drawn(plain)[0]

  def value(net, params):
    return (net.apply(params, {}, lambda m: m(images(4), train=True, key=jax.random.key(0)))[0] ** 2).sum()

  want, got = (jax.jit(jax.value_and_grad(lambda p, net=net: value(net, p)))(params) for net in (plain, levered))
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * float(jnp.abs(b).max()))


def test_remat_and_scan_save_memory_and_code():
  def compiled(**levers):
    net = functional(vit(image=32, channels=1, patch=4, width=32, depth=8, heads=2, mlp=128, **levers))
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    loss = lambda p, x: (net.apply(p, {}, lambda m: m(x))[0] ** 2).sum()
    return jax.jit(jax.grad(loss)).lower(params, jax.ShapeDtypeStruct((16, 32, 32, 1), jnp.float32)).compile()

  memory = {remat: compiled(remat=remat, scan=True).memory_analysis().temp_size_in_bytes for remat in REMAT}
  assert memory['everything'] < memory['dots'] < memory['none']
  assert memory['everything'] < memory['none'] / 3
  assert len(compiled(scan=True).as_text()) < len(compiled().as_text()) / 2


@pytest.mark.parametrize('build', [
  vit(**TINY, dtype='bfloat16'), resnet(depth=18, blocks=(1, 1), stem='cifar', channels=3, dtype='bfloat16'),
  resnet(depth=50, blocks=(1,), stem='imagenet', norm='group', channels=3, dtype='bfloat16'),
  wide_resnet(depth=10, widen=1, channels=3, dtype='bfloat16')])
def test_bfloat16_computes_but_does_not_store(build):
  net = functional(build)
  state = jax.eval_shape(net.init, jax.random.key(0))
  step = lambda params, mutable: net.apply(params, mutable, lambda m: m(images(4), train=True))  # noqa: E731
  assert {a.dtype for a in jax.tree.leaves((state, jax.eval_shape(step, *state)))} == {jnp.dtype('float32')}
  products = [e for e in equations(jax.make_jaxpr(step)(*state).jaxpr)
              if e.primitive.name in ('dot_general', 'conv_general_dilated')]
  assert products and {v.aval.dtype for e in products for v in e.invars} == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize(('head', 'given'), [
  (lambda rngs: PrototypeHead(6, 9, hidden=10, bottleneck=5, dtype='bfloat16', rngs=rngs), [(4, 6)]),
  (lambda rngs: MaskedWords(6, 9, dtype='bfloat16', rngs=rngs), [(4, 6), (9, 6)])])
def test_heads_multiply_in_bfloat16_and_give_float32(head, given):
  net = functional(head)
  params, _ = jax.eval_shape(net.init, jax.random.key(0))
  value = lambda params, *given: net.apply(params, {}, lambda m: m(*given))[0]  # noqa: E731
  both = jax.make_jaxpr(lambda *given: jax.vjp(value, *given)[1](value(*given)))(params, *map(jnp.zeros, given))
  products = [e for e in equations(both.jaxpr) if e.primitive.name == 'dot_general']
  assert jax.eval_shape(value, params, *map(jnp.zeros, given)).dtype == jnp.float32
  assert len(products) >= 3 * 2 and {v.aval.dtype for e in products for v in e.invars} == {jnp.dtype('bfloat16')}


def equations(jaxpr):
  """All equations of a jaxpr, those of inner ones too; of a choice by platform the default's."""
  for equation in jaxpr.eqns:
    yield equation
    for name, inner in equation.params.items():
      inner = inner[-1] if name == 'branches' else inner
      if hasattr(inner, 'jaxpr'):
        yield from equations(inner.jaxpr)


def test_bfloat16_is_close_to_float32():
  params, _ = drawn(functional(vit(**TINY)))
  a, b = (run(functional(vit(**TINY, dtype=d)), params, {}, lambda m: m(images()))[0] for d in ('float32', 'bfloat16'))
  assert 0 < jnp.abs(a - b).max() < 0.1


def test_input_is_normalised_per_channel():
  mean, std = (0.1, 0.5, 0.9), (0.5, 0.2, 1.0)
  plain, net = functional(vit(**TINY, mean=(0.0,), std=(1.0,))), functional(vit(**TINY, mean=mean, std=std))
  params = drawn(net)[0]
  x = images()
  want = run(plain, params, {}, lambda m: m.embed((x - jnp.array(mean)) / jnp.array(std)))[0]
  np.testing.assert_allclose(run(net, params, {}, lambda m: m.embed(x))[0], want, atol=1e-6)


def test_patchify_is_undone_and_in_order():
  x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
  patches = patchify(x, 2)
  assert patches.shape == (2, 6, 12)
  np.testing.assert_array_equal(patches[1, 4], x[1, 2:4, 2:4].reshape(-1))  # second row of patches, second column
  back = patches.reshape(2, 2, 3, 2, 2, 3).swapaxes(2, 3).reshape(x.shape)
  np.testing.assert_array_equal(back, x)


def test_errors_say_what_was_wanted():
  options = dict(image=32, channels=3)
  for call, text in [
      (lambda: vit(variant='s/16', **options), 'unknown ViT variant.*nearest is S/16'),
      (lambda: vit(variant='Tiny/8', **options), 'nearest is Ti/8'),
      (lambda: vit(variant='S/x', **options), 'nearest is S/16'),
      (lambda: vit(variant='S/0', **options), 'nearest is S/16'),
      (lambda: vit(variant='S', **options), 'wanted patch'),
      (lambda: vit(width=8, patch=4, **options), 'wanted depth, heads, mlp'),
      (lambda: vit(variant='S/16', image=40, channels=3), 'divisible by the patch size 16, got 40x40.*32x32'),
      (lambda: vit(variant='S/16', positions='sine', **options), "wanted positions.*got 'sine'"),
      (lambda: vit(variant='S/16', pool='max', **options), "wanted pool.*got 'max'"),
      (lambda: vit(variant='S/16', mean=(0.1, 0.2), **options), 'wanted mean with 1 or 3'),
      (lambda: vit(**TINY | dict(heads=3))(nnx.Rngs(params=0)), 'width=16, heads=3.*is 2'),
      (lambda: vit(**TINY, drop_path=1.0)(nnx.Rngs(params=0)), r'drop_path in \[0, 1\)'),
      (lambda: resnet(depth=52, stem='cifar', channels=3), 'got 52; the nearest is 50'),
      (lambda: resnet(depth=18, stem='small', channels=3), "wanted stem.*got 'small'"),
      (lambda: resnet(depth=18, stem='cifar', norm='layer', channels=3), "wanted norm.*got 'layer'"),
      (lambda: resnet(depth=18, stem='cifar', norm='group', width=24, channels=3)(nnx.Rngs(params=0)), 'by 32.*got 24'),
      (lambda: resnet(depth=18, stem='cifar', channels=3, std=()), 'wanted std with 1 or 3'),
      (lambda: wide_resnet(depth=29, widen=2, channels=3), r'6 \* n \+ 4, got 29; the nearest is 28'),
  ]:
    with pytest.raises(ValueError, match=text):
      call()
  nets = [functional(b) for b in (vit(**TINY), resnet(depth=18, stem='cifar', channels=3),
                                  wide_resnet(depth=10, widen=1, channels=3))]
  for net in nets:
    for x, text in [(images(channels=1), r'\[b, h, w, 3\], got \(2, 8, 8, 1\)'), (images()[0], r'got \(8, 8, 3\)'),
                    (jnp.zeros((1, 8, 8, 3), jnp.uint8), 'float images.*got uint8')]:
      with pytest.raises(ValueError, match=text):
        abstract(net, x)
  with pytest.raises(ValueError, match='divisible by the patch size 4, got 8x6'):
    abstract(nets[0], images()[:, :, :6])


# --------------------------------------------------------------------------------------------------------- resnet

def conv64(x, kernel, stride):
  """Cross-correlation [h, w, in] -> [h', w', out] with (size - 1) / 2 zeros around, tap by tap."""
  size, (h, w) = kernel.shape[0], x.shape[:2]
  x = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
  out = sum(x[i:i + h, j:j + w] @ kernel[i, j] for i in range(size) for j in range(size))
  return out[::stride, ::stride]


@pytest.mark.parametrize(('sides', 'size', 'stride'), [
    ((2, 2), 3, 1), ((4, 4), 3, 2), ((1, 1), 3, 1), ((3, 5), 7, 2), ((2, 3), 3, 2), ((1, 2), 1, 2),  # dense
    ((3, 3), 3, 1), ((7, 5), 3, 2), ((8, 8), 1, 2), ((33, 32), 3, 1), ((5, 5), 5, 1)])
def test_convolution_and_its_gradients_equal_numpy_and_xlas(sides, size, stride):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(6, *sides, 3)).astype(np.float32)
  net = functional(lambda rngs: Conv(3, 4, size, stride=stride, rngs=rngs))
  params = net.init(jax.random.key(0))[0]
  run = lambda params, x: net.apply(params, {}, lambda conv: conv(x))[0]  # noqa: E731
  kernel = np.asarray(params['kernel'])
  want = np.stack([conv64(image, kernel.astype(np.float64), stride) for image in x.astype(np.float64)])
  np.testing.assert_allclose(run(params, x), want, rtol=1e-5, atol=1e-5)
  g, side = rng.normal(size=want.shape).astype(np.float32), (size - 1) // 2
  plain = lambda kernel, x: jax.lax.conv_general_dilated(  # noqa: E731
      x, kernel, (stride, stride), ((side, side), (side, side)), dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  got = jax.vjp(lambda kernel, x: run({'kernel': kernel}, x), kernel, x)[1](g)
  for a, b in zip(got, jax.vjp(plain, kernel, x)[1](g), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('stride', [1, 2])
def test_convolution_of_small_maps_of_many_channels(stride):
  rng = np.random.default_rng(0)
  x, kernel = (rng.normal(size=size).astype(np.float32) for size in ((2, 4, 3, 256), (3, 3, 256, 4)))
  plain = lambda x, kernel: jax.lax.conv_general_dilated(  # noqa: E731
      x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  got, pull = jax.vjp(lambda x, kernel: convolution(x, kernel, stride), x, kernel)
  want, pull_want = jax.vjp(plain, x, kernel)
  for a, b in zip((got, *pull(want)), (want, *pull_want(want)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize(('shape', 'out', 'm'), [
  ((4, 16, 16, 32), 40, 4), ((9, 10, 7, 48), 32, 4),  # the second's sides are no multiples of a tile
  ((32, 4, 3, 64), 32, 2), ((16, 3, 3, 32), 32, 2), ((4, 4, 4, 128), 32, None)])
def test_convolution_by_winograd(shape, out, m, stride):
  rng, in_ = np.random.default_rng(0), shape[-1]
  x, kernel = rng.normal(size=shape), rng.normal(size=(3, 3, in_, out)) / np.sqrt(9 * in_)
  assert winograd.fitting(shape, kernel.shape) == m
  want = np.stack([conv64(image, kernel, stride) for image in x])
  g = rng.normal(size=want.shape)
  apart = np.zeros((*shape[:3], out))  # what g says of each output of a stride of 1
  apart[:, ::stride, ::stride] = g
  by_x = np.stack([conv64(image, kernel[::-1, ::-1].swapaxes(2, 3), 1) for image in apart])
  padded, (_, h, w, _) = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), shape
  by_kernel = np.stack([[np.einsum('bhwi,bhwo->io', padded[:, i:i + h, j:j + w], apart) for j in range(3)]
                        for i in range(3)])
  single = [a.astype(np.float32) for a in (x, kernel, g)]
  got, pull = jax.vjp(lambda x, kernel: convolution(x, kernel, stride), *single[:2])
  for a, b in zip((got, *pull(single[2])), (want, by_x, by_kernel), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * b.std())


def test_winograd_in_bfloat16_rounds_its_results_alone():
  rng = np.random.default_rng(0)
  x, kernel, g = (jnp.asarray(rng.normal(size=size), 'bfloat16') for size in ((4, 16, 16, 32), (3, 3, 32, 32),
                                                                             (4, 16, 16, 32)))
  both = lambda x, kernel, g: (lambda y, pull: (y, *pull(g)))(  # noqa: E731
      *jax.vjp(lambda x, kernel: convolution(x, kernel, 1), x, kernel))
  for a, b in zip(both(x, kernel, g), both(*(a.astype('float32') for a in (x, kernel, g))), strict=True):
    assert a.dtype == jnp.bfloat16
    np.testing.assert_allclose(a.astype('float32'), b, rtol=2 ** -8, atol=1e-4 * b.std())


def test_convolution_keeps_its_input_and_its_output_where_remat_keeps_convolutions():
  x, kernel = jnp.ones((4, 8, 8, 32)), jnp.ones((3, 3, 32, 32))
  loss = lambda x, kernel: jnp.sin(convolution(jnp.sin(convolution(x, kernel, 1)), kernel, 1)).sum()  # noqa: E731
  for platform, count in (('tpu', 2 + 4), ('cpu', 0)):
    step = jax.jit(jax.grad(jax.checkpoint(loss, policy=REMAT['dots']), (0, 1))).trace(x, kernel)
    text = step.lower(lowering_platforms=(platform,)).as_text()
    assert text.count('stablehlo.convolution') == count


@pytest.mark.parametrize('sides', [(14, 14), (7, 5), (1, 2)])
def test_max_pool_has_the_value_and_the_gradient_of_a_window(sides):
  x = np.random.default_rng(0).normal(size=(2, *sides, 3)).astype(np.float32)
  window = lambda x: nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))  # noqa: E731
  np.testing.assert_array_equal(max_pool(x), window(x))
  gradients = [jax.grad(lambda x, pool=pool: jnp.square(pool(jax.nn.relu(x))).sum())(x) for pool in (max_pool, window)]
  np.testing.assert_allclose(*gradients, rtol=1e-6)


def running64(x, p, s, epsilon=1e-5):
  return (x - s['mean']) / np.sqrt(s['var'] + epsilon) * p['scale'] + p['bias']


def group64(x, p, _):
  h, w, c = x.shape
  out = np.empty_like(x)
  for g in range(32):
    part = slice(g * c // 32, (g + 1) * c // 32)
    out[..., part] = (x[..., part] - x[..., part].mean()) / np.sqrt(x[..., part].var() + 1e-5)
  return out * p['scale'] + p['bias']


def resnet64(params, stats, x, *, strides, stem_stride, norm, standardize):
  """Features of a ResNet, one image at a time."""
  relu = lambda a: np.maximum(a, 0)  # noqa: E731
  p, s = (jax.tree.map(lambda a: np.asarray(a, np.float64), t) for t in (params, stats))
  nothing = {'norm': None}

  def conv(y, p, stride):
    kernel = p['kernel']
    if standardize:
      kernel = np.stack([(k - k.mean()) / k.std() for k in np.moveaxis(kernel, -1, 0)], -1)
    return conv64(y, kernel, stride)

  features = []
  for image in (np.asarray(x, np.float64) - 0.5) / 0.5:
    y = relu(norm(conv(image, p['stem'], stem_stride), p['stem_norm']['norm'], s.get('stem_norm', nothing)['norm']))
    if stem_stride == 2:
      padded = np.pad(y, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
      y = np.stack([[padded[i:i + 3, j:j + 3].max((0, 1)) for j in range(0, y.shape[1], 2)]
                    for i in range(0, y.shape[0], 2)])
    for i, block in sorted(p['blocks'].items()):
      state = s['blocks'][i] if s else {'norms': dict.fromkeys(block['norms'], nothing), 'shortcut_norm': nothing}
      z, convs = y, sorted(block['convs'].items())
      for j, kernel in convs:
        middle = j == (1 if len(convs) == 3 else 0)  # the first 3x3
        z = norm(conv(z, kernel, strides[i] if middle else 1), block['norms'][j]['norm'], state['norms'][j]['norm'])
        z = relu(z) if j < len(convs) - 1 else z
      if 'shortcut' in block:
        y = norm(conv(y, block['shortcut'], strides[i]), block['shortcut_norm']['norm'], state['shortcut_norm']['norm'])
      y = relu(y + z)
    features.append(y.mean((0, 1)))
  return np.stack(features)


@pytest.mark.parametrize(('depth', 'stem', 'norm', 'width'), [
  (18, 'cifar', 'batch', 4), (50, 'cifar', 'batch', 4), (18, 'imagenet', 'batch', 4), (50, 'cifar', 'group', 32)])
def test_resnet_equals_numpy(depth, stem, norm, width):
  net = functional(resnet(depth=depth, blocks=(1, 2), width=width, stem=stem, norm=norm, channels=2))
  params, mutable = drawn(net)
  x = images(size=9 if stem == 'cifar' else 18, channels=2)
  got, kept = run(net, params, mutable, lambda m: m(x))
  want = resnet64(params, mutable, x, strides={0: 1, 1: 2, 2: 1}, stem_stride=2 if stem == 'imagenet' else 1,
                  norm=running64 if norm == 'batch' else group64, standardize=norm == 'group')
  np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
  jax.tree.map(np.testing.assert_array_equal, kept, mutable)  # evaluation moves nothing
  assert (norm == 'group') == (not mutable)


def test_wide_resnet_equals_numpy():
  net = functional(wide_resnet(depth=10, widen=2, channels=3))
  params, mutable = drawn(net)
  p, s = (jax.tree.map(lambda a: np.asarray(a, np.float64), t) for t in (params, mutable))
  leaky = lambda a: np.where(a > 0, a, 0.1 * a)  # noqa: E731
  got = run(net, params, mutable, lambda m: m(images(size=8)))[0]
  for row, image in zip(got, (np.asarray(images(size=8), np.float64) - 0.5) / 0.5, strict=True):
    y = conv64(image, p['stem']['kernel'], 1)
    for i in range(3):
      block, state = p['blocks'][i], s['blocks'][i]
      z = leaky(running64(y, block['norm1'], state['norm1'], 1e-3))
      x = z if i == 0 else y
      z = conv64(z, block['conv1']['kernel'], 1 if i == 0 else 2)
      z = conv64(leaky(running64(z, block['norm2'], state['norm2'], 1e-3)), block['conv2']['kernel'], 1)
      y = conv64(x, block['shortcut']['kernel'], 1 if i == 0 else 2) + z
    y = leaky(running64(y, p['norm'], s['norm'], 1e-3))
    np.testing.assert_allclose(row, y.mean((0, 1)), rtol=2e-5, atol=2e-5 * np.abs(y).max())


def test_batch_statistics_move_when_training_only():
  net = functional(resnet(depth=18, blocks=(1,), width=4, stem='cifar', channels=3))
  params, mutable = drawn(net)
  x = images(b=16)
  trained, moved = run(net, params, mutable, lambda m: m(x, train=True))
  evaluated, kept = run(net, params, mutable, lambda m: m(x))
  jax.tree.map(np.testing.assert_array_equal, kept, mutable)
  assert jnp.abs(trained - evaluated).max() > 1e-2
  y = np.stack([conv64(i, np.asarray(params['stem']['kernel'], np.float64), 1) for i in (np.asarray(x) - 0.5) / 0.5])
  old, new = (state['stem_norm']['norm'] for state in (mutable, moved))
  np.testing.assert_allclose(new['mean'], 0.9 * old['mean'] + 0.1 * y.mean((0, 1, 2)), atol=1e-5)
  np.testing.assert_allclose(new['var'], 0.9 * old['var'] + 0.1 * y.var((0, 1, 2)), rtol=1e-5)
  wide = functional(wide_resnet(depth=10, widen=1, channels=3))
  params, mutable = drawn(wide)
  _, moved = run(wide, params, mutable, lambda m: m(x, train=True))
  y = np.stack([conv64(i, np.asarray(params['stem']['kernel'], np.float64), 1) for i in (np.asarray(x) - 0.5) / 0.5])
  old, new = (state['blocks'][0]['norm1']['mean'] for state in (mutable, moved))
  np.testing.assert_allclose(new, 0.999 * old + 0.001 * y.mean((0, 1, 2)), atol=1e-6)


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 2e-2)])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('masked', [True, False])
def test_batch_norm_has_the_outputs_statistics_and_gradients_of_flax(dtype, tolerance, affine, masked):
  x, dy, drawn = (jax.random.normal(jax.random.key(i), (6, 5, 4, 8)) for i in range(3))
  mask = jnp.broadcast_to(drawn[..., :1] > 0, x.shape) if masked else None

  def results(layer):
    build = lambda rngs: layer(8, use_scale=affine, use_bias=affine, dtype=jnp.dtype(dtype), rngs=rngs)
    net = functional(build)
    params, start = net.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p + jnp.arange(8.) / 8, params)

    def loss(params, x):
      y, statistics = net.apply(params, start, lambda norm: norm(x, use_running_average=False, mask=mask))
      assert y.dtype == dtype
      return (y.astype(jnp.float32) * dy).sum(), (y.astype(jnp.float32), statistics)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, (3 * x + 2).astype(dtype))

  for got, want in zip(*map(jax.tree.leaves, map(results, (BatchNorm, nnx.BatchNorm))), strict=True):
    np.testing.assert_allclose(got.astype(jnp.float32), want.astype(jnp.float32), rtol=tolerance,
                               atol=tolerance * float(jnp.abs(want).max()))


def normalized64(x, gain, offset, mask, dy, epsilon=1e-5):
  """Output, mean, variance and the gradients by x, gain and offset, in float64: definition and chain rule."""
  x, gain, offset, dy = (np.asarray(a, np.float64) for a in (x, gain, offset, dy))
  y, by_x, statistics, by_gain = np.zeros(x.shape), np.zeros(x.shape), [], []
  for c in range(x.shape[-1]):
    use = np.asarray(mask)[..., c]
    mean, var = x[..., c][use].mean(), x[..., c][use].var()
    deviation = np.sqrt(var + epsilon)
    z, by_z = (x[..., c] - mean) / deviation, dy[..., c] * gain[c]
    y[..., c] = z * gain[c] + offset[c]
    through = -by_z.sum() - (by_z * z).sum() * z  # z falls as the mean and the deviation rise
    by_x[..., c] = (by_z + np.where(use, through / use.sum(), 0)) / deviation
    statistics, by_gain = [*statistics, (mean, var)], [*by_gain, (dy[..., c] * z).sum()]
  return y, *np.array(statistics).T, by_x, np.array(by_gain), dy.sum(tuple(range(x.ndim - 1)))


@functools.cache
def batch_norm_step(dtype: str, masked: bool, devices: int):
  """(x, gain, offset, mask, dy, running mean) to what `normalized64` gives, but running statistics, momentum 0.9."""
  net, mesh = functional(lambda rngs: batch_norm(8, dtype=dtype, rngs=rngs)), make_mesh(devices=jax.devices()[:devices])

  def call(x, gain, offset, mask, dy, running):
    def loss(x, gain, offset):
      y, moved = net.apply({'scale': gain, 'bias': offset}, {'mean': running, 'var': jnp.ones(8)},
                           lambda norm: norm(x, use_running_average=False, mask=mask if masked else None))
      return (y.astype(jnp.float32) * dy).sum(), (y, moved['mean'], moved['var'])

    with laid_on(mesh):
      gradients, values = jax.grad(loss, (0, 1, 2), has_aux=True)(x, gain, offset)
    return *values, *gradients

  rows, whole = batch_sharding(mesh), replicated(mesh)
  return jax.jit(call, in_shardings=(rows, whole, whole, rows, rows, whole), out_shardings=whole)


@pytest.mark.parametrize('behind', [None, 0., 7.9, 300.])  # deviations of the running mean from the mean; None: it is 0
@pytest.mark.parametrize(('dtype', 'masked', 'devices'), [
  ('float32', False, 1), ('float32', True, 1), ('bfloat16', False, 1), ('bfloat16', True, 1), ('float32', False, 8)])
@pytest.mark.parametrize('shape', [(512, 8), (8, 32, 32, 8)])
def test_batch_norm_is_exact_however_far_the_mean_is_from_zero(shape, dtype, masked, devices, behind):
  check_batch_norm(batch_norm_step(dtype, masked, devices), shape, dtype, masked, behind)


@pytest.mark.parametrize(('masked', 'devices'), [(False, 1), (True, 1), (False, 8)])
def test_batch_norm_is_so_on_gpus_without_a_condition(masked, devices, monkeypatch):
  """The host would wait for its outcome."""
  step = lambda: batch_norm_step.__wrapped__('float32', masked, devices)  # traced anew
  args = [jax.ShapeDtypeStruct(shape, kind) for shape, kind in [
      ((8, 32, 32, 8), 'float32'), ((8,), 'float32'), ((8,), 'float32'), ((8, 32, 32, 8), bool),
      ((8, 32, 32, 8), 'float32'), ((8,), 'float32')]]
  assert 'cond[' in str(step().trace(*args).jaxpr)
  monkeypatch.setattr(layers, 'platform', lambda: 'gpu')
  assert 'cond[' not in str(step().trace(*args).jaxpr)
  for shape in ((8, 32, 32, 8), *([] if masked else [(512, 8)])):  # of each device's first example something is visible
    check_batch_norm(step(), shape, 'float32', masked, None)


def check_batch_norm(step, shape, dtype: str, masked: bool, behind: float | None) -> None:
  rng = np.random.default_rng(0)
  mask = np.broadcast_to(rng.random((*shape[:-1], 1)) < 0.6 if masked else True, shape)
  z, dy = (np.float32(jnp.asarray(rng.normal(size=shape), dtype)) for _ in range(2))
  gain, offset, sign = (np.float32(a) for a in (rng.uniform(0.5, 2, 8), rng.normal(size=8), rng.choice([-1, 1], 8)))
  deviation, rounding = np.geomspace(0.3, 30, 8), 2 ** -8 if dtype == 'bfloat16' else 0.
  # in bfloat16 numbers of 256 deviations and more are more than a deviation apart
  for ratio in (0., 3., 10., 100., *((1000., 3000., 30000.) if dtype == 'float32' else ())):
    x = jnp.asarray(deviation * (z + sign * ratio), dtype)
    running = np.float32(0 * sign if behind is None else deviation * (sign * ratio - behind))
    y, mean, var, *gradients = normalized64(x, gain, offset, mask, dy)
    scales = np.abs(y).max(), np.sqrt(var), 0.1 * var, *(np.abs(g).max(tuple(range(g.ndim - 1))) for g in gradients)
    want = y, 0.9 * running.astype(float) + 0.1 * mean, 0.9 + 0.1 * var, *gradients
    errors = [np.max(np.abs(np.asarray(a, np.float64) - b) / scale) for a, b, scale in zip(
      step(x, gain, offset, mask, dy, running), want, scales, strict=True)]
    most = np.array([rounding, 0, 0, rounding, 0, 0]) + (1e-3 if ratio <= 3000 else 1e-2)
    assert (errors < most).all(), (ratio, errors)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_batch_norm_by_running_statistics_rounds_its_output_alone(dtype):
  net = functional(lambda rngs: batch_norm(4, dtype=dtype, rngs=rngs))
  params, state = net.init(jax.random.key(0))
  state = {'mean': jnp.array([0.3, 10.1, 100.7, -33.3]), 'var': jnp.array([1.1, 0.9, 2.3, 0.1])}
  x = (state['mean'] + jnp.sqrt(state['var']) * jax.random.normal(jax.random.key(1), (64, 4))).astype(dtype)
  y, _ = net.apply(params, state, lambda norm: norm(x, use_running_average=True))
  want = (np.asarray(x, np.float64) - state['mean']) / np.sqrt(np.float64(state['var']) + 1e-5)
  assert y.dtype == dtype
  np.testing.assert_allclose(y.astype(jnp.float32), want, atol=1e-4, rtol=1e-5 if dtype == 'float32' else 2 ** -8)


@pytest.mark.parametrize('masked', [False, True])
def test_group_norm_is_exact_however_far_the_mean_is_from_zero(masked):
  net, rng = functional(lambda rngs: Norm('group', 64, rngs=rngs)), np.random.default_rng(0)
  params, _ = net.init(jax.random.key(0))
  z, dy = (np.float32(rng.normal(size=(3, 8, 8, 64))) for _ in range(2))
  visible = jnp.asarray(rng.random((3, 4, 4)) < 0.6) if masked else None
  mask = np.repeat(np.repeat(visible, 2, 1), 2, 2)[..., None] if masked else np.ones((3, 8, 8, 1), bool)

  @jax.jit
  def call(x):
    y, pull = jax.vjp(lambda x: net.apply(params, {}, lambda norm: norm(x, train=True, visible=visible))[0], x)
    return y, pull(dy)[0]

  by_group = lambda a: np.moveaxis(np.reshape(a, (3, 64, 32, 2)), 2, 1).reshape(-1, 128).T[:, None]  # [128, 1, 96]
  use = by_group(np.broadcast_to(mask, z.shape))[:, 0]
  for ratio in (0., 10., 1000., 3000., 30000.):
    x = np.float32(z + ratio * rng.choice([-1, 1], (3, 1, 1, 32)).repeat(2, -1))
    got = [by_group(a)[:, 0] for a in call(x)]
    y, _, _, by_x, _, _ = normalized64(by_group(x)[:, 0], np.ones(96), np.zeros(96), use, by_group(dy * mask)[:, 0])
    want = np.where(use, y, 0), by_x
    assert all(np.abs(a - b).max() < (1e-3 if ratio <= 3000 else 1e-2) * np.abs(b).max()
               for a, b in zip(got, want, strict=True)), ratio


def growth(build, x) -> float:
  """Bytes that the gradient keeps of a module for each of blocks 3 to 6; build(depth) -> (a factory, its call)."""
  def temporary(depth):
    make, call = build(depth)
    net = functional(make)
    loss = lambda params, mutable, x: net.apply(params, mutable, lambda module: call(module, x))[0].sum()
    compiled = jax.jit(jax.grad(loss)).lower(*jax.eval_shape(net.init, jax.random.key(0)), x).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  return (temporary(6) - temporary(2)) / 4


def test_the_gradient_of_a_block_keeps_no_weights_of_the_attention():
  tokens, heads = 256, 4
  grown = growth(lambda depth: (lambda rngs: Transformer(8, depth, heads, 8, rngs=rngs),
                                lambda trunk, x: trunk(x)), jnp.zeros((1, tokens, 8)))
  assert grown < 4 * heads * tokens ** 2


def test_the_gradient_of_a_residual_block_keeps_what_its_convolutions_made_and_read():
  def blocks(depth):
    block = lambda rngs: ResidualBlock(16, 16, stride=1, bottleneck=False, norm='batch', zero_init=False, rngs=rngs)
    return lambda rngs: nnx.List([block(rngs) for _ in range(depth)]), lambda module, x: functools.reduce(
        lambda x, block: block(x, train=True), module, x)

  x = jnp.zeros((8, 32, 32, 16))
  assert growth(blocks, x) < 4.5 * x.nbytes


@pytest.mark.parametrize(('norm', 'call', 'dtype'), [
  (layer_norm, lambda norm, x: norm(x), 'float32'),
  (batch_norm, lambda norm, x: norm(x, use_running_average=False), 'float32'),
  (batch_norm, lambda norm, x: norm(x, use_running_average=False), 'bfloat16')])
def test_the_gradient_of_a_norm_keeps_what_it_normalized_alone(norm, call, dtype):
  def norms(depth):
    return (lambda rngs: nnx.List([norm(64, dtype=dtype, rngs=rngs) for _ in range(depth)]),
            lambda module, x: functools.reduce(lambda x, norm: jnp.square(call(norm, x)), module, x))

  x = jnp.zeros((8, 32, 32, 64), dtype)
  assert growth(norms, x) < 2.5 * x.nbytes  # what is squared is the other


def test_group_norm_couples_no_examples():
  net = functional(resnet(depth=18, blocks=(1,), width=32, stem='cifar', norm='group', channels=3))
  params, mutable = drawn(net)
  all_, half = (run(net, params, mutable, lambda m, b=b: m(images(4)[:b], train=True))[0] for b in (4, 2))
  np.testing.assert_allclose(all_[:2], half, rtol=1e-5)


def test_zero_init_makes_blocks_the_identity():
  def block(zero_init):
    return ResidualBlock(4, 4, stride=1, bottleneck=False, norm='batch', zero_init=zero_init, rngs=nnx.Rngs(params=0))
  x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 4, 4, 4)))
  np.testing.assert_array_equal(block(True)(x, train=True), x)
  assert (block(False)(x, train=True) != x).any()


@pytest.mark.parametrize(('build', 'width'), [
  (vit(**TINY), 16), (resnet(depth=50, stem='cifar', channels=3), 2048),
  (resnet(depth=18, stem='imagenet', channels=3), 512),
  (wide_resnet(depth=28, widen=2, channels=3), 128)])
def test_width_is_that_of_the_features(build, width):
  assert functional_width(build) == width
  net = functional(build)
  out, _ = abstract(net, images(size=32))
  assert out.shape == (2, width) and out.dtype == jnp.float32


# ---------------------------------------------------------------------------------------------------------- heads

def test_mlp_equals_numpy():
  net = functional(lambda rngs: MLP(5, (7, 6), 4, batch_norm=True, last_batch_norm=True, rngs=rngs))
  params, mutable = drawn(net)
  assert all(set(layer) == {'kernel'} for layer in params['layers'].values())  # a norm follows each: no bias
  assert set(params['norms']) == {0, 1} and set(mutable['norms']) == {0, 1, 2}  # the last has no gain or offset
  x = jax.random.normal(jax.random.key(1), (12, 5))
  got, moved = run(net, params, mutable, lambda m: m(x, train=True))
  y = np.asarray(x, np.float64)
  for i in range(3):
    y = y @ np.asarray(params['layers'][i]['kernel'], np.float64)
    old, new = (state['norms'][i]['mean'] for state in (mutable, moved))
    np.testing.assert_allclose(new, 0.9 * old + 0.1 * y.mean(0), atol=1e-5)
    y = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
    if i < 2:
      norm = params['norms'][i]
      y = np.maximum(y * np.asarray(norm['scale'], np.float64) + np.asarray(norm['bias'], np.float64), 0)
  np.testing.assert_allclose(got, y, atol=1e-5)


def test_mlp_biases_are_where_no_norm_follows():
  def kinds(**kwargs):
    net = functional(lambda rngs: MLP(5, (7,), 4, rngs=rngs, **kwargs))
    params, _ = drawn(net)
    return [sorted(params['layers'][i]) for i in range(2)], sorted(params.get('norms', {}))
  assert kinds(batch_norm=True) == ([['kernel'], ['bias', 'kernel']], [0])
  assert kinds(batch_norm=False, last_bias=False) == ([['bias', 'kernel'], ['kernel']], [])
  assert kinds(batch_norm=True, last_batch_norm=True, last_affine=True) == ([['kernel'], ['kernel']], [0, 1])


def test_prototype_head_gives_cosines():
  net = functional(lambda rngs: PrototypeHead(6, 9, hidden=10, bottleneck=5, rngs=rngs))
  params, mutable = drawn(net)
  assert not mutable and set(params) == {'mlp', 'prototypes'}
  x = jax.random.normal(jax.random.key(1), (4, 6))
  got = run(net, params, {}, lambda m: m(x, train=True))[0]
  z, erf = np.asarray(x, np.float64), np.vectorize(math.erf)
  for i in range(3):
    layer = jax.tree.map(lambda a: np.asarray(a, np.float64), params['mlp']['layers'][i])
    z = z @ layer['kernel'] + layer['bias']
    z = z * (1 + erf(z / math.sqrt(2))) / 2 if i < 2 else z
  prototypes = np.asarray(params['prototypes'], np.float64)
  for i in range(4):
    for k in range(9):
      cosine = z[i] @ prototypes[:, k] / np.linalg.norm(z[i]) / np.linalg.norm(prototypes[:, k])
      assert abs(got[i, k] - cosine) < 1e-5
  # the length of a prototype is not learned
  scaled = run(net, params | {'prototypes': 3 * params['prototypes']}, {}, lambda m: m(x))[0]
  np.testing.assert_allclose(scaled, got, atol=1e-6)
  free = functional(lambda rngs: PrototypeHead(6, 9, hidden=10, bottleneck=5, normalize_last=False, rngs=rngs))
  gains = jnp.arange(9.0)
  np.testing.assert_allclose(run(free, params | {'gain': gains}, {}, lambda m: m(x))[0], got * gains, atol=1e-5)
  assert (init(free)[0]['gain'] == 1).all()


def test_zero_features_have_finite_gradients():
  net = functional(lambda rngs: PrototypeHead(6, 9, hidden=10, bottleneck=5, rngs=rngs))
  params, _ = drawn(net)
  gradient = jax.grad(lambda p: run(net, p, {}, lambda m: m(jnp.zeros((2, 6))))[0].sum())(params)
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_classifier():
  zero, small = (functional(lambda rngs, z=z: Classifier(64, 50, zero=z, rngs=rngs)) for z in (True, False))
  x = jax.random.normal(jax.random.key(1), (3, 64))
  assert not run(zero, *init(zero), lambda m: m(x, train=True))[0].any()
  params, _ = init(small)
  linear = params['linear']
  assert 0.017 < linear['kernel'].std() < 0.023 and not linear['bias'].any()
  np.testing.assert_allclose(run(small, params, {}, lambda m: m(x))[0], x @ linear['kernel'], atol=1e-5)


def test_every_parameter_has_a_gradient():
  for build in (vit(**TINY, registers=2, layer_scale=0.1, pool='mean'), wide_resnet(depth=10, widen=1, channels=3),
                resnet(depth=18, blocks=(1, 1), width=4, stem='imagenet', channels=3, zero_init=False)):
    net = functional(build)
    params, mutable = drawn(net)
    x = images(b=4, size=32 if 'stem' in params else 8)
    loss = lambda p, s, x, net=net: jnp.sin(net.apply(p, s, lambda m: m(x))[0]).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(params, mutable, x)
    silent = [jax.tree_util.keystr(path) for path, g in jax.tree_util.tree_leaves_with_path(gradient) if not g.any()]
    assert not silent
