"""DINOv2's distillation: its loss against the twin, the frozen teacher, the average that is kept, and its limit."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain import config, losses, train
from pretrain.config import ConfigError
from pretrain.interop import initialize
from pretrain.method.objective import flat
from pretrain.models.functional import functional
from pretrain.models.heads import PrototypeHead
from pretrain.models.vit import vit
from pretrain.objectives.dinov2_distill import dinov2_distill
from tests.cases import TEACHER, VIT, B, of_papers, raw
from tests.checks import assert_close, normal
from tests.reference import dinov2_distillation as twin
from tests.test_train import assert_same, final, tiny

CASES = of_papers()

CASE = CASES['dinov2_distill']


def net(build):
  def parts(rngs):
    f = build(rngs)
    head = lambda k: PrototypeHead(f.width, k, hidden=64, bottleneck=32, normalize_last=False, rngs=rngs)
    return nnx.Dict(backbone=f, head=head(128), patch_head=head(96))
  return functional(parts)


@functools.cache
def begun():
  made = dinov2_distill(VIT, **CASE.kwargs, steps=10)
  params, memory = jax.jit(made.init)(jax.random.key(0))
  batch = jax.jit(CASE.views)({k: jnp.asarray(v) for k, v in raw(0).items()}, jax.random.key(2))
  return made, params, memory, batch


@functools.partial(jax.jit, static_argnums=0)
def logits(build, params, images):
  """Class tokens before and after the head, patches after theirs."""
  return net(build).apply(params, {}, lambda m: (
      m.backbone(images), m.head(m.backbone(images)),
      m.patch_head(m.backbone.patches(m.backbone.encode(m.backbone.embed(images))))))[0]


def by_view(x, views: int):
  return np.moveaxis(np.asarray(x, np.float64).reshape(B, views, *x.shape[1:]), 0, 1)


def twins(params, memory, batch, temperature: float):
  """Loss and terms of the slow twin, of what the two networks say in float32."""
  large, small = flat(batch['global']), flat(batch['local'])
  features, s, s_patches = logits(VIT, params, large)
  _, local, _ = logits(VIT, params, small)
  _, t, t_patches = logits(TEACHER, memory['frozen_teacher'], large)
  t = np.log(losses.sinkhorn(t, temperature, iterations=3))
  t_patches = np.log(losses.sinkhorn(flat(t_patches), temperature, iterations=3)).reshape(t_patches.shape)
  return twin.dinov2_distillation(
      np.concatenate([by_view(s, 2), by_view(local, 2)]), by_view(t, 2), by_view(s_patches, 2), by_view(t_patches, 2),
      by_view(features, 2), np.zeros(128), np.zeros(96), 0.1, 1.0, 0.1)


def test_the_loss_and_its_slope_are_the_twins():
  """The gradient is held against the twin's finite difference along itself and along a random direction."""
  made, params, memory, batch = begun()
  params = jax.tree.map(lambda x: x + normal(x.size, *x.shape, scale=0.1), params)  # features far from each other
  step, temperature = 1, np.linspace(0.04, 0.07, 3)[1]
  (value, (_, metrics)), grads = jax.jit(jax.value_and_grad(made.loss, has_aux=True))(
      params, memory, batch, jax.random.key(1), step)
  wanted, terms = twins(params, memory, batch, temperature)
  assert_close(value, wanted)
  assert_close([metrics[name] for name in ('views', 'patches', 'koleo')], [terms[n] for n in ('dino', 'ibot', 'koleo')])
  leaves, tree = jax.tree.flatten(grads)
  along, across = leaves, [normal(n, *x.shape) for n, x in enumerate(leaves)]
  for direction, far in ((along, 1e-3), (across, 1e-2)):  # as far as the slope is small: the twin's logits are float32
    size = np.sqrt(sum(float(jnp.sum(x * x)) for x in direction))
    unit = jax.tree.unflatten(tree, [x / size for x in direction])
    ahead, behind = (twins(jax.tree.map(lambda p, x, h=h: p + h * x, params, unit), memory, batch, temperature)[0]
                     for h in (far, -far))
    slope = sum(jax.tree.leaves(jax.tree.map(lambda x, g: float(jnp.vdot(x, g)), unit, grads)))
    assert_close(slope, (ahead - behind) / (2 * far), rtol=1e-3)


def test_the_teacher_is_frozen_and_the_average_is_the_model():
  made, params, memory, batch = begun()
  _, (carry, _) = made.loss(params, memory, batch, jax.random.key(1), 0)
  moved = jax.tree.map(lambda x: x + 1, params)
  _, after = made.update(moved, memory, carry, 0)
  for name in ('frozen_teacher', 'frozen_teacher_statistics'):
    jax.tree.map(np.testing.assert_array_equal, after[name], memory[name])
  jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old + 0.1, atol=1e-5), after['ema'], params)
  images = raw(0)['image'] / np.float32(255)
  np.testing.assert_array_equal(made.encode(moved, memory, images), made.encode(params, memory, images))


def test_a_teacher_that_says_nothing_gives_uniform_targets():
  made, params, memory, batch = begun()
  nothing = memory | {'frozen_teacher': jax.tree.map(jnp.zeros_like, memory['frozen_teacher'])}
  _, (_, metrics) = made.loss(params, nothing, batch, jax.random.key(1), 0)
  assert metrics['views'] >= np.log(128) and metrics['patches'] >= np.log(96)
  assert_close(metrics['teacher_entropy'], np.log(128))


def test_patches_of_another_size_are_refused():
  other = vit(image=8, channels=1, patch=2, width=32, depth=1, heads=2, mlp=64)
  made = dinov2_distill(VIT, **CASE.kwargs | {'teacher': other}, steps=10)
  *_, batch = begun()
  with pytest.raises(ValueError, match='soft_cross_entropy'):
    jax.eval_shape(lambda key: made.loss(*made.init(key), batch, key, 0), jax.random.key(0))


def test_the_teacher_is_the_average_in_another_run(tmp_path):
  heads = dict(prototypes=64, patch_prototypes=64, hidden=32, bottleneck=16, patch_bottleneck=16)
  options = heads | dict(koleo_weight=0.1, student_temperature=0.1, teacher_temperature=0.07, momentum=0.9,
                         teacher_temperature_start=0.04, teacher_warmup_steps=3, freeze_prototypes_steps=0)
  views = dict(name='dino', size=8, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))
  large = tiny('steps=1', 'schedule.warmup_steps=0', 'backbone.width=48', 'backbone.heads=3') | {
      'views': views, 'objective': dict(name='dinov2', mask_ratio=(0.3, 0.6), **options)}
  assert train.train(large, tmp_path / 'large', quiet=True) == train.DONE
  teacher = {'image': 8, 'channels': 1, 'patch': 4, 'width': 48, 'depth': 1, 'heads': 3, 'mlp': 64, 'name': 'vit'}
  small = tiny() | {'views': views, 'objective': dict(name='dinov2_distill', teacher=teacher, **options),
                    'initialize': dict(teacher=str(tmp_path / 'large'), averaged=True)}
  run = config.call(train.prepare, small, 'config')
  assert run.initialize is not None
  frozen = initialize.start(run.initialize, run.training).memory['frozen_teacher']
  there = final(tmp_path / 'large', large)[0].memory['teacher']
  assert frozen.keys() == {'backbone', 'head', 'patch_head'}
  assert_same(jax.device_get(frozen), {part: there[part] for part in frozen})
  with pytest.raises(ConfigError, match='config.initialize.teacher: the objective wants'):
    config.call(train.prepare, small | {'initialize': None}, 'config')
  other = small | {'objective': small['objective'] | {'teacher': teacher | {'mlp': 32}}}
  with pytest.raises(ConfigError, match='another architecture.*teacher/backbone'):
    train.train(other, tmp_path / 'small', quiet=True)
