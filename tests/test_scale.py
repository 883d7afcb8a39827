"""Levers for memory and devices: the numbers stay, the memory goes down, and what cannot be is refused."""
import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from pretrain import config, losses, objectives
from pretrain.config import ConfigError
from pretrain.machine import sharding
from pretrain.models.attention import KINDS, attend, block_of
from pretrain.models.functional import Leaf, functional
from pretrain.models.layers import REMAT
from pretrain.models.resnet import resnet
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.models.wide_resnet import wide_resnet
from pretrain.objectives.clip import clip_loss
from pretrain.objectives.dcl import dcl_loss, dclw
from pretrain.objectives.isogclr import isogclr_loss
from pretrain.objectives.moco_v2 import moco_loss
from pretrain.objectives.siglip import siglip_loss
from pretrain.objectives.sup_con import sup_con_loss
from pretrain.plan import hlo
from pretrain.step import StepOptions, compile_step
from pretrain.views.simclr import simclr as simclr_views
from tests.cases import SIZE, of_papers
from tests.checks import assert_close, normal

pytestmark = pytest.mark.suite('scale')

CASES = of_papers()

ROOT = Path(__file__).parents[1]


# --- losses in chunks ------------------------------------------------------------------------------------------------

Z1, Z2 = normal(0, 24, 8), normal(1, 24, 8)
CHUNKED = {
    'nt_xent': (lambda a, b, chunk: losses.nt_xent(a, b, temperature=0.1, chunk=chunk), 16),
    'info_nce': (lambda a, b, chunk: losses.info_nce(a, b, positive=jnp.arange(len(a))[::-1], temperature=0.1,
                                                     chunk=chunk), 1),
    'moco': (lambda a, b, chunk: moco_loss(a, jnp.roll(a, 1, 1), queue=b, temperature=0.1, chunk=chunk), 4),
    'sup_con': (lambda a, b, chunk: sup_con_loss(jnp.stack([a, b], 1), jnp.arange(len(a)) // 3, temperature=0.1,
                                                 chunk=chunk), 8),
    'sup_con of one view': (lambda a, b, chunk: sup_con_loss((a + b)[:, None], jnp.arange(len(a)) % 5, temperature=.1,
                                                             chunk=chunk), 2),
    'dcl': (lambda a, b, chunk: dcl_loss(a, b, temperature=0.1, chunk=chunk), 12),
    'dclw': (lambda a, b, chunk: dclw(a, b, temperature=0.1, sigma=0.5, chunk=chunk), 1),
    'isogclr': (lambda a, b, chunk: isogclr_loss(a, b, average=jnp.arange(len(a)) % 3.,
                                                 temperature=jnp.linspace(.1, .5, len(a)), rho=.3, average_rate=.8,
                                                 chunk=chunk)[0], 16),
    'clip': (lambda a, b, chunk: clip_loss(a, b, scale=7.0, chunk=chunk), 6),
    'siglip': (lambda a, b, chunk: siglip_loss(a, b, scale=7.0, bias=-3.0, chunk=chunk), 8),
}


@pytest.mark.parametrize('name', CHUNKED)
def test_a_loss_in_chunks_is_the_loss(name):
  loss, chunk = CHUNKED[name]
  both = [jax.jit(jax.value_and_grad(functools.partial(loss, chunk=c), argnums=(0, 1)))(Z1, Z2) for c in (None, chunk)]
  for got, want in zip(*map(jax.tree.leaves, reversed(both)), strict=True):
    assert_close(got, want, rtol=1e-5, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize('name', CHUNKED)
def test_a_loss_in_chunks_holds_a_chunk(name):
  loss, _ = CHUNKED[name]
  z = jax.ShapeDtypeStruct((2048, 16), jnp.float32)
  memory = [jax.jit(jax.grad(functools.partial(loss, chunk=c), argnums=(0, 1))).lower(z, z).compile()
            .memory_analysis().temp_size_in_bytes for c in (None, 128)]
  assert memory[1] < memory[0] / 4


@pytest.mark.parametrize('name', CHUNKED)
def test_on_eight_devices_none_holds_more_than_a_chunk(name):
  """Rows stay where they are: no array of a device has more numbers than both sides' embeddings."""
  loss, _ = CHUNKED[name]
  n, d, chunk = 512, 8, 32
  split = sharding.batch_sharding(sharding.make_mesh(data=8))
  step = jax.jit(jax.value_and_grad(functools.partial(loss, chunk=chunk), argnums=(0, 1)), in_shardings=split)
  a, b = normal(0, n, d), normal(1, n, d)
  compiled = step.lower(a, b).compile()
  sizes = [math.prod(sides) for line in compiled.as_text().splitlines() for _, sides, _ in hlo.shapes(line)]
  assert n * chunk // 8 <= max(sizes) <= 2 * n * d < n * n // 8
  want = jax.jit(jax.value_and_grad(functools.partial(loss, chunk=None), argnums=(0, 1)))(a, b)
  for got, wanted in zip(*map(jax.tree.leaves, (compiled(a, b), want)), strict=True):
    assert_close(got, wanted, rtol=1e-5, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize('name', [name for name in CASES if 'chunk' in config.schema(config.find(objectives, name))])
def test_objectives_hand_the_chunk_on(name):
  case = CASES[name]

  def program(**chunk):
    made = config.build(objectives, dict(name=name, **case.kwargs, **chunk), 'test', backbone=case.backbone, steps=10,
                        examples=100)
    state = jax.eval_shape(made.init, jax.random.key(0))
    loss = lambda params, memory, batch: made.loss(params, memory, case.views(batch, jax.random.key(0)),
                                                   jax.random.key(1), 0)
    return str(jax.make_jaxpr(loss)(*state, case.batch(0)))

  assert program(chunk=4).count('scan[') > program().count('scan[')


def test_a_chunk_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match='divides the 48 columns, got 7; nearest: 6'):
    losses.nt_xent(Z1, Z2, temperature=0.1, chunk=7)


# --- GradCache -------------------------------------------------------------------------------------------------------

VIEWS = simclr_views(size=16, scale=(0.3, 1.), jitter=0.5, blur=0.)


def simclr_step(backbone, batch: int = 64, mesh=None, **parts):
  abstract = {'image': jax.ShapeDtypeStruct((batch, 16, 16, 1), jnp.uint8),
              'index': jax.ShapeDtypeStruct((batch,), jnp.int32), 'epoch': jax.ShapeDtypeStruct((batch,), jnp.int32)}
  objective = config.build(objectives, dict(name='simclr', hidden=(32,), dim=16, temperature=0.2), 'test',
                           backbone=backbone)
  mesh = mesh or sharding.make_mesh(devices=jax.devices()[:1])
  return compile_step(objective, VIEWS, optax.sgd(0.1), optax.constant_schedule(0.1), seed=0, batch=abstract, mesh=mesh,
                      options=StepOptions(**parts)), abstract


def test_the_memory_of_grad_cache_goes_with_the_part():
  """Its gradient is the whole batch's: tests/test_objectives.py, for every objective that has parts."""
  backbone = vit(image=16, channels=1, patch=4, width=32, depth=3, heads=2, mlp=128)
  memory = []
  for parts in (1, 8):
    made, abstract = simclr_step(backbone, grad_cache=parts)
    memory.append(made.step.lower(made.abstract, abstract).compile().memory_analysis().temp_size_in_bytes)
  assert memory[1] < memory[0] / 4


def test_grad_cache_is_refused_where_examples_meet_in_the_backbone():
  wide = dict(depth=18, blocks=(1,), width=32, stem='cifar', channels=1)
  with pytest.raises(ConfigError, match='config.grad_cache: 2 parts.*batch normalisation'):
    simclr_step(resnet(**wide), grad_cache=2)
  simclr_step(resnet(**wide, norm='group'), grad_cache=2)
  with pytest.raises(ConfigError, match='config.grad_cache: 3 does not divide'):
    simclr_step(resnet(**wide, norm='group'), grad_cache=3)
  with pytest.raises(ConfigError, match='one of accumulate and grad_cache'):
    simclr_step(resnet(**wide, norm='group'), grad_cache=2, accumulate=2)
  with pytest.raises(ConfigError, match='grad_cache=4 computes the gradient of the whole batch'):
    simclr_step(resnet(**wide, norm='group'), accumulate=4)


# --- attention -------------------------------------------------------------------------------------------------------

MASK = np.tril(np.ones((20, 20), bool))[None, None]
SEGMENTS = np.stack([np.arange(20) // 7, np.arange(20) % 2, np.zeros(20), np.arange(20) > 15]).astype(np.int32)


def attention(kind: str, mesh=None, mask=None, segments=None, head: int = 64, n: int = 20):
  """Value and gradients in q, k and v of a sum of what `attend` gives, float32[4, n, 2, head], on a mesh."""
  q, k, v, weight = (normal(i, 4, n, 2, head) for i in range(4))

  def loss(q, k, v):
    with sharding.laid_on(mesh or sharding.make_mesh(devices=jax.devices()[:1])):
      qkv = jnp.stack((q, k, v), 2)
      return jnp.sum(weight * attend(qkv, kind=kind, mask=mask, segments=segments))

  given = (q, k, v) if mesh is None else sharding.place((q, k, v), mesh)
  return jax.device_get(jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*given))


def assert_same(got, want):
  """Trees, to 1e-5 of an array's largest number; one that is 0 but for rounding, to 1e-8 of all arrays' largest."""
  floor = 1e-3 * max(np.abs(x).max() for x in jax.tree.leaves(want))
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(np.abs(b).max(), floor))


@pytest.mark.parametrize(('head', 'n', 'segments'), [
  (64, 20, None), (88, 20, SEGMENTS), (64, 20, SEGMENTS[:1]), (64, 128, None),
  pytest.param(88, 197, None, marks=pytest.mark.slow), pytest.param(64, 1025, None, marks=pytest.mark.slow)])
def test_the_splash_kernel_is_plain_attention(head, n, segments):
  """Interpreted: what it computes, not what a TPU makes of it. 1,025 tokens are three blocks, padded."""
  got, want = (attention(kind, segments=segments, head=head, n=n) for kind in ('splash', 'xla'))
  assert_same(got, want)


def test_segments_are_a_mask_of_blocks():
  same = SEGMENTS[:, None, :, None] == SEGMENTS[:, None, None, :]
  assert_same(attention('xla', segments=SEGMENTS), attention('xla', mask=same))
  assert_same(attention('xla', segments=SEGMENTS, mask=MASK), attention('xla', mask=MASK & same))


def test_attention_image_by_image_is_that_of_the_whole_batch():
  n = 200
  image_by_image, whole = (attention('xla', n=n, mask=mask) for mask in (None, np.ones((1, 1, n, n), bool)))
  assert_same(image_by_image, whole)
  assert_same(attention('xla', sharding.make_mesh(data=4, tensor=2), n=n), whole)


def test_the_splash_kernel_on_a_mesh_is_the_one_on_a_device():
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  assert_same(attention('splash', mesh, segments=SEGMENTS), attention('xla', segments=SEGMENTS))


def test_blocks_of_tokens_are_as_large_as_they_can_be_without_more_padding():
  assert {n: block_of(n) for n in (10, 197, 257, 1024, 1025, 1300)} == {
      10: 128, 197: 256, 257: 384, 1024: 1024, 1025: 384, 1300: 768}


def test_a_step_with_the_splash_kernel_is_the_step_without(monkeypatch):
  """A whole step on a mesh: `monkeypatch` lets through what CPUs may not have otherwise."""
  monkeypatch.setitem(KINDS, 'splash', None)
  ends, start = [], None
  for kind in ('splash', 'xla'):
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    made, abstract = simclr_step(vit(image=16, channels=1, patch=4, width=64, depth=1, heads=2, mlp=64, scan=True,
                                     remat='everything', attention=kind), 16, mesh)
    batch = {'image': np.random.default_rng(0).integers(0, 256, abstract['image'].shape, np.uint8),
             'index': np.arange(16, dtype=np.int32), 'epoch': np.zeros(16, np.int32)}
    start = jax.device_get(made.init()) if start is None else start
    state, metrics = made.step(jax.device_put(start, made.layout), sharding.place(batch, mesh))
    ends.append(jax.device_get((state.params, metrics['loss'])))
  assert_same(*ends)


def test_attention_that_cannot_be_had_is_refused_in_words():
  tiny = dict(image=8, channels=1, patch=4, width=64, depth=1, heads=2, mlp=64)
  build = lambda **more: jax.eval_shape(functional(vit(**tiny | more)).init, jax.random.key(0))
  with pytest.raises(ValueError, match=r"one of \('xla', 'splash', 'cudnn'\), got 'flash'"):
    build(attention='flash')
  for kind, device in (('splash', 'tpu'), ('cudnn', 'gpu')):
    with pytest.raises(ValueError, match=rf"'{kind}' is a kernel for {device}s, and this is a cpu; .*\('xla',\)"):
      build(attention=kind)
  abstract = AbstractMesh((1, 1, 1, 1), ('replica', 'data', 'fsdp', 'tensor'))
  with sharding.laid_on(abstract):  # no devices, as where only shapes are planned
    with pytest.raises(ValueError, match="'cudnn' wants dtype='bfloat16'.*got 'float32' and 32"):
      build(attention='cudnn')
    with pytest.raises(ValueError, match="got 'bfloat16' and 36"):
      build(attention='cudnn', dtype='bfloat16', width=72)
    build(attention='cudnn', dtype='bfloat16')
  with pytest.raises(ValueError, match="'splash' takes no mask, only segments; wanted 'xla'"):
    attention('splash', mask=MASK)
  with pytest.raises(ValueError, match="'splash' has no causal mask"):
    text(vocabulary=9, length=4, width=8, depth=1, heads=1, mlp=8, causal=True, pool='last', attention='splash')


# --- packed crops ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['dino', *(pytest.param(name, marks=pytest.mark.slow) for name in ('ibot', 'dinov2'))])
def test_packed_crops_are_crops_one_by_one(name):
  case, values, start = CASES[name], [], None
  backbone = vit(image=SIZE, channels=1, patch=4, width=32, depth=1, heads=2, mlp=32, registers=1)
  batch = jax.eval_shape(lambda b: case.views(b, jax.random.key(0)), case.batch(0))
  batch = {k: jnp.asarray(case.batch(0)[k] if k == 'index' else np.abs(normal(i, *x.shape, scale=.3)))
           for i, (k, x) in enumerate(batch.items())}
  for packed in (False, True):
    made = config.build(objectives, dict(name=name, packed=packed, **case.kwargs), 'test', backbone=backbone, steps=10)
    start = jax.jit(made.init)(jax.random.key(0)) if start is None else start
    loss = lambda params, memory, made=made: made.loss(params, memory, batch, jax.random.key(1), 0)[0]
    values.append(jax.device_get(jax.jit(jax.value_and_grad(loss))(*start)))
  assert_same(*values)


def test_packed_crops_of_a_residual_network_are_refused():
  with pytest.raises(ValueError, match='packed=True.*wanted a ViT, got ResNet'):
    config.build(objectives, dict(name='dino', packed=True, **CASES['dino'].kwargs), 'test', steps=10,
                 backbone=resnet(depth=18, blocks=(1,), width=32, stem='cifar', channels=1))


# --- remat of residual networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(('model', 'build'), [
  (resnet, dict(depth=18, blocks=(1, 1), width=32, stem='cifar')), (wide_resnet, dict(depth=10, widen=2))])
def test_remat_changes_the_memory_of_a_residual_network_and_no_number(model, build):
  """Nor do the running statistics move twice."""
  nets = {remat: functional(model(channels=1, remat=remat, **build)) for remat in REMAT}
  params, statistics = jax.jit(nets['none'].init)(jax.random.key(0))
  images = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 16, 16, 1)), jnp.float32)

  def loss(params, net):
    features, after = net.apply(params, statistics, lambda m: m(images, train=True))
    return jnp.sum(features ** 2), after

  compiled = {remat: jax.jit(jax.value_and_grad(functools.partial(loss, net=net), has_aux=True)).lower(params).compile()
              for remat, net in nets.items()}
  want = compiled['none'](params)
  for one in compiled.values():
    assert_same(one(params), want)
  memory = {remat: one.memory_analysis().temp_size_in_bytes for remat, one in compiled.items()}
  assert memory['everything'] < memory['dots'] < memory['none']
  with pytest.raises(ValueError, match="remat to be one of .*got 'some'"):
    model(channels=1, remat='some', **build)


# --- layouts ---------------------------------------------------------------------------------------------------------


def layout(rules=(), **sizes):
  mesh = sharding.make_mesh(**sizes)
  objective = config.build(objectives, dict(name='supervised', classes=4), 'test', backbone=vit(
      image=8, channels=1, patch=4, width=64, depth=1, heads=2, mlp=128))
  shapes = jax.eval_shape(objective.init, jax.random.key(0))
  spec = {path.replace('params/', '0/'): leaf for path, leaf in objective.spec().items()}
  found = sharding.shardings(shapes, mesh, spec, rules)
  return {re.sub(r'^0/|trunk/', '', jax.tree_util.keystr(path, simple=True, separator='/')): tuple(s.spec)
          for path, s in jax.tree_util.tree_leaves_with_path(found)}


def test_tensor_splits_the_features_between_two_layers_and_fsdp_the_largest_other_dimension():
  got = layout(fsdp=4, tensor=2)
  block = 'backbone/blocks/0/'
  assert got[block + 'attention/qkv/kernel'] == ('fsdp', None, 'tensor')
  assert got[block + 'attention/out/kernel'] == ('tensor', None, 'fsdp')
  assert got[block + 'mlp1/kernel'] == ('fsdp', 'tensor')
  assert got[block + 'mlp2/kernel'] == ('tensor', 'fsdp')
  assert got[block + 'mlp1/bias'] == ('tensor',)
  assert got[block + 'norm1/scale'] == ()


def test_the_first_rule_that_matches_wins():
  got = layout((('mlp1/kernel', ('tensor', None)), ('mlp./kernel', (None, 'fsdp'))), fsdp=4, tensor=2)
  assert got['backbone/blocks/0/mlp1/kernel'] == ('tensor',)
  assert got['backbone/blocks/0/mlp2/kernel'] == (None, 'fsdp')


def test_rules_that_match_nothing_or_name_no_axis_are_refused():
  with pytest.raises(ConfigError, match="'mlp7/kernel' is found in no path.*nearest: .*mlp./kernel"):
    layout((('mlp7/kernel', (None, 'fsdp')),), fsdp=8, data=1)
  with pytest.raises(ConfigError, match="wants the axis 'fdsp'; nearest: 'fsdp'"):
    layout((('mlp1/kernel', (None, 'fdsp')),), fsdp=8, data=1)


def test_a_scan_over_layers_leaves_examples_on_their_devices():
  """Without `sharding.rows_stay` the loop's carry was split by features: more all-to-alls, and six times the memory."""
  compiled = {}
  for scan in (False, True):
    made, abstract = simclr_step(vit(image=16, channels=1, patch=4, width=64, depth=4, heads=4, mlp=256, scan=scan),
                                 mesh=sharding.make_mesh(fsdp=8))
    compiled[scan] = made.step.lower(made.abstract, abstract).compile()
  moved = {scan: len(re.findall(r' all-to-all\(', one.as_text())) for scan, one in compiled.items()}
  assert moved[True] <= moved[False]  # those of the loss, which puts two views behind each other
  assert compiled[True].memory_analysis().temp_size_in_bytes < 2 * compiled[False].memory_analysis().temp_size_in_bytes


def test_parameters_gathered_once_give_the_same_step_with_fewer_gathers():
  """A block's kernels are gathered forwards, again backwards, or once; remat and scan keep XLA from merging the two."""
  deep = vit(image=16, channels=1, patch=4, width=64, depth=3, heads=4, mlp=256, scan=True, remat='everything')
  gathers, results = {}, {}
  for once in (False, True):
    mesh = sharding.make_mesh(data=2, fsdp=4)
    made, abstract = simclr_step(deep, mesh=mesh, gather_once=once)
    compiled = made.step.lower(made.abstract, abstract).compile()
    gathers[once] = hlo.costs(compiled.as_text()).collectives
    rows = {'image': np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), np.uint8),
            'index': np.arange(64, dtype=np.int32), 'epoch': np.zeros(64, np.int32)}
    state, metrics = compiled(made.init(), sharding.place(rows, mesh))
    assert jax.tree.map(lambda x: x.sharding, state.params) == made.layout.params
    results[once] = jax.device_get((state.params, metrics['loss'], metrics['grad_norm']))
  wire = {once: sum(c.wire for c in each if c.kind == 'all-gather') for once, each in gathers.items()}
  assert wire[True] < 0.7 * wire[False]
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), results[True], results[False])


@pytest.mark.parametrize('package', ['objectives', 'models', 'views', 'losses'])
def test_no_method_model_or_view_knows_of_devices(package):
  for path in sorted((ROOT / 'pretrain' / package).rglob('*.py')):
    source = path.read_text()
    assert not re.search(r'jax\.sharding|NamedSharding|PartitionSpec|shard_map|axis_name|jax\.devices', source), path


def test_large_arrays_that_no_axis_divides_are_named():
  shape = lambda *sides: jax.ShapeDtypeStruct(sides, np.float32)
  tree = {'odd': shape(1001, 1003), 'even': shape(1024, 1024), 'small': shape(7, 9)}
  laid_out = lambda mesh: sharding.abstract(tree, sharding.shardings(tree, mesh))
  mesh = sharding.make_mesh(fsdp=8, data=1)
  assert sharding.left_whole(laid_out(mesh), mesh) == ['odd [1001, 1003]']
  head = {'head/prototypes': shape(6, 4096)}  # 8 does not divide 6; the other dimension is tensor's, if there is tensor
  said = {'head/prototypes': Leaf(axes=(None, 'tensor'))}
  specs = lambda mesh: jax.tree.leaves(sharding.shardings(head, mesh, said))[0].spec
  assert specs(mesh) == PartitionSpec(None, 'fsdp')
  assert specs(sharding.make_mesh(fsdp=4, tensor=2, data=1)) == PartitionSpec(None, 'tensor')
  mesh = sharding.make_mesh(data=8)  # nothing is to be split
  assert sharding.left_whole(laid_out(mesh), mesh) == []
