"""The distillation of DINOv2 as a whole against its twin: arXiv:2304.07193v2, section 5, "Model distillation".

Its value and slope against the twin of the loss; the frozen teacher, the average that is kept, and the limit.
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain import losses
from pretrain.method.objective import flat
from pretrain.models.functional import functional
from pretrain.models.heads import PrototypeHead
from pretrain.models.vit import vit
from pretrain.objectives.dinov2_distill import dinov2_distill
from tests import cases
from tests.checks import assert_close, normal
from tests.reference import koleo as koleo_twin
from tests.reference.dino import dino
from tests.reference.ibot import ibot
from tests.reference.networks import ViT, averaged, log_softmax, prototypes, unit
from tests.twin import Twin, check

B, LOCAL, STEPS, MOMENTUM, FREEZE, KOLEO = 4, 3, 10, 0.7, 2, 0.3
STUDENT_TEMPERATURE, START, TEMPERATURE, WARMUP = 0.3, 0.02, 0.06, 5


def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 8, 8, 1)), 'local': rng.uniform(size=(B, LOCAL, 4, 4, 1))}


def see(params, crops):
  """Class tokens [b, v, d], and tokens of patches [b, v, n, d]; no crop hides any."""
  backbone = ViT(params['backbone'], patch=2)
  tokens = np.stack([backbone.encode(backbone.embed(crops[:, v])) for v in range(crops.shape[1])], 1)
  return tokens[:, :, 0], tokens[:, :, 1:]


def assign(logits, temperature):
  """Sinkhorn-Knopp, three times, over all rows of [..., k]."""
  q = np.exp(logits.reshape(-1, logits.shape[-1]) / temperature)
  q /= q.sum()
  for _ in range(3):
    for k in range(q.shape[1]):
      q[:, k] /= q[:, k].sum() * q.shape[1]
    for n in range(len(q)):
      q[n] /= q[n].sum() * len(q)
  return (q * len(q)).reshape(logits.shape)


def koleo(x):
  x, total = unit(x), 0.
  for i in range(B):
    total -= math.log(min(np.sqrt(((x[i] - x[j]) ** 2).sum()) for j in range(B) if j != i)) / B
  return total


def entropy(p):
  return -sum(x * math.log(x) for x in p)


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the frozen teacher's
  assert not draws
  teacher, temperature = memory['frozen_teacher'], START + (TEMPERATURE - START) * step / (WARMUP - 1)
  given, given_patches = see(teacher, batch['global'])
  targets = assign(prototypes(teacher['head'], given), temperature)
  patch_targets = assign(prototypes(teacher['patch_head'], given_patches), temperature)

  seen, seen_patches = see(params, batch['global'])
  answers = log_softmax(prototypes(params['head'], np.concatenate([seen, see(params, batch['local'])[0]], 1)) /
                        STUDENT_TEMPERATURE)
  patch_answers = log_softmax(prototypes(params['patch_head'], seen_patches) / STUDENT_TEMPERATURE)
  n, views, patches = seen_patches.shape[2], 0., 0.
  for i in range(B):
    for there in range(2):
      for here in range(2 + LOCAL):
        if here != there:
          views -= targets[i, there] @ answers[i, here] / B / (2 * (1 + LOCAL))
      for j in range(n):
        patches -= patch_targets[i, there, j] @ patch_answers[i, there, j] / n / (2 * B)
  near = koleo(seen[:, 0]) + koleo(seen[:, 1])

  def after(params):
    tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * step / STEPS) + 1) / 2
    return params, {'frozen_teacher': teacher, 'ema': averaged(memory['ema'], params, tau)}

  entropies = [entropy(targets[i, v]) for i in range(B) for v in range(2)]
  return views + patches + KOLEO * near, {
      'views': views, 'patches': patches, 'koleo': near, 'teacher_entropy': np.mean(entropies),
      'teacher_spread': entropy(targets.mean((0, 1)))}, after


def network(width, heads):
  return vit(image=8, channels=1, patch=2, width=width, depth=2, heads=heads, mlp=16, positions='sincos')


ALL = {'loss', 'views', 'patches', 'koleo', 'teacher_entropy', 'teacher_spread'}
CASE = cases.Case(dict(teacher=cases.TEACHER, prototypes=128, patch_prototypes=96, hidden=64, bottleneck=32,
                       patch_bottleneck=32, koleo_weight=0.1, student_temperature=0.1,
                       teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=3,
                       momentum=0.9, freeze_prototypes_steps=0),
                  cases.CROPS, backbone=cases.VIT)
TWIN = Twin(
    dinov2_distill(network(8, 2), teacher=network(12, 3), prototypes=5, patch_prototypes=6, hidden=8,
                   bottleneck=4, patch_bottleneck=5, koleo_weight=KOLEO,
                   student_temperature=STUDENT_TEMPERATURE, teacher_temperature=TEMPERATURE,
                   teacher_temperature_start=START, teacher_warmup_steps=WARMUP, momentum=MOMENTUM,
                   freeze_prototypes_steps=FREEZE, steps=STEPS), batch, twin,
    encode=lambda _, memory, x: ViT(memory['ema']['backbone'], patch=2)(x),
    images=lambda rng: rng.uniform(size=(3, 8, 8, 1)),
    rate=lambda step: {f'{head}/{name}': float(step >= FREEZE) for head in ('head', 'patch_head')
                       for name in ('prototypes', 'gain')},
    grown={'head/mlp': 20.},
    moves={'global/0': ALL, 'global/1': ALL, 'local/0': {'loss', 'views'}, 'local/2': {'loss', 'views'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(student, teacher, student_patches, teacher_patches, tokens, center, patch_center, student_temperature,
              teacher_temperature, koleo_weight):
  """DINO + iBOT over all patches of the global crops + weight times the sum over the global crops of KoLeo.

  arXiv:2304.07193v2 section 5, 'Model distillation' (from memory): DINOv2's own training, but the teacher is a larger
  frozen model, the student's averaged weights are only kept as the final model, masking and stochastic depth are off,
  and iBOT's loss is on the two global crops; so every patch counts, and the student sees the same crop as the teacher.
  From the code of the pre-training (ssl_meta_arch.py, ssl_default_config.yaml; the distillation's own code is not in
  it): DINO and iBOT weigh 1, KoLeo 0.1 times a sum (not a mean) over the global crops, on the class tokens before the
  head. That KoLeo stays during distillation is read from the section's naming only the exceptions.

  The teacher's probabilities come from a centre, as in dino and ibot. For Sinkhorn-Knopp targets, which DINOv2 uses,
  give their logarithm as the teacher's logits, centres of zero and a teacher temperature of 1.

  Args:
    student: logits [v, b, k] of the class tokens of all crops, the g global ones first.
    teacher: logits [g, b, k] of the global crops, constants.
    student_patches, teacher_patches: logits [g, b, n, l] of the patches of the whole global crops.
    tokens: [g, b, d], the student's class tokens before the head.
    center: [k].
    patch_center: [l].
    student_temperature, teacher_temperature: positive floats.
    koleo_weight: float.

  Returns:
    (loss, {'dino', 'ibot', 'koleo'}), floats; koleo unweighted.
  """
  terms = {'dino': dino(student, teacher, center, student_temperature, teacher_temperature), 'ibot': 0.0, 'koleo': 0.0}
  shown = np.ones(np.shape(student_patches)[1:3], bool)
  for own, target, token in zip(student_patches, teacher_patches, tokens, strict=True):
    part = ibot(own, target, shown, patch_center, student_temperature, teacher_temperature)
    terms['ibot'] += part / len(tokens)
    terms['koleo'] += koleo_twin.koleo(token)
  return terms['dino'] + terms['ibot'] + koleo_weight * terms['koleo'], terms


def heads_of(build):
  def parts(rngs):
    f = build(rngs)
    head = lambda k: PrototypeHead(f.width, k, hidden=64, bottleneck=32, normalize_last=False, rngs=rngs)
    return nnx.Dict(backbone=f, head=head(128), patch_head=head(96))
  return functional(parts)


@functools.cache
def begun():
  made = dinov2_distill(cases.VIT, **CASE.kwargs, steps=10)
  params, memory = jax.jit(made.init)(jax.random.key(0))
  batch = jax.jit(CASE.views)({k: jnp.asarray(v) for k, v in cases.raw(0).items()}, jax.random.key(2))
  return made, params, memory, batch


@functools.partial(jax.jit, static_argnums=0)
def logits_of(build, params, images):
  """Class tokens before and after the head, patches after theirs."""
  return heads_of(build).apply(params, {}, lambda m: (
      m.backbone(images), m.head(m.backbone(images)),
      m.patch_head(m.backbone.patches(m.backbone.encode(m.backbone.embed(images))))))[0]


def by_view(x, views: int):
  return np.moveaxis(np.asarray(x, np.float64).reshape(cases.B, views, *x.shape[1:]), 0, 1)


def by_loss_twin(params, memory, batch, temperature: float):
  """Loss and terms of the slow twin, of what the two networks say in float32."""
  large, small = flat(batch['global']), flat(batch['local'])
  features, s, s_patches = logits_of(cases.VIT, params, large)
  _, local, _ = logits_of(cases.VIT, params, small)
  _, t, t_patches = logits_of(cases.TEACHER, memory['frozen_teacher'], large)
  t = np.log(losses.sinkhorn(t, temperature, iterations=3))
  t_patches = np.log(losses.sinkhorn(flat(t_patches), temperature, iterations=3)).reshape(t_patches.shape)
  return loss_twin(
      np.concatenate([by_view(s, 2), by_view(local, 2)]), by_view(t, 2), by_view(s_patches, 2), by_view(t_patches, 2),
      by_view(features, 2), np.zeros(128), np.zeros(96), 0.1, 1.0, 0.1)


def test_the_loss_and_its_slope_are_the_twins():
  """The gradient is held against the twin's finite difference along itself and along a random direction."""
  made, params, memory, batch = begun()
  params = jax.tree.map(lambda x: x + normal(x.size, *x.shape, scale=0.1), params)  # features far from each other
  step, temperature = 1, np.linspace(0.04, 0.07, 3)[1]
  (value, (_, metrics)), grads = jax.jit(jax.value_and_grad(made.loss, has_aux=True))(
      params, memory, batch, jax.random.key(1), step)
  wanted, terms = by_loss_twin(params, memory, batch, temperature)
  assert_close(value, wanted)
  assert_close([metrics[name] for name in ('views', 'patches', 'koleo')], [terms[n] for n in ('dino', 'ibot', 'koleo')])
  leaves, tree = jax.tree.flatten(grads)
  along, across = leaves, [normal(n, *x.shape) for n, x in enumerate(leaves)]
  for direction, far in ((along, 1e-3), (across, 1e-2)):  # as far as the slope is small: the twin's logits are float32
    size = np.sqrt(sum(float(jnp.sum(x * x)) for x in direction))
    unit = jax.tree.unflatten(tree, [x / size for x in direction])
    moved = [jax.tree.map(lambda p, x, h=h: p + h * x, params, unit) for h in (far, -far)]
    ahead, behind = (by_loss_twin(p, memory, batch, temperature)[0] for p in moved)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda x, g: float(jnp.vdot(x, g)), unit, grads)))
    assert_close(slope, (ahead - behind) / (2 * far), rtol=1e-3)


# --- The objective -------------------------------------------------------------------------------------------------

def test_the_teacher_is_frozen_and_the_average_is_the_model():
  made, params, memory, batch = begun()
  _, (carry, _) = made.loss(params, memory, batch, jax.random.key(1), 0)
  moved = jax.tree.map(lambda x: x + 1, params)
  _, after = made.update(moved, memory, carry, 0)
  for name in ('frozen_teacher', 'frozen_teacher_statistics'):
    jax.tree.map(np.testing.assert_array_equal, after[name], memory[name])
  jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old + 0.1, atol=1e-5), after['ema'], params)
  images = cases.raw(0)['image'] / np.float32(255)
  np.testing.assert_array_equal(made.encode(moved, memory, images), made.encode(params, memory, images))


def test_a_teacher_that_says_nothing_gives_uniform_targets():
  made, params, memory, batch = begun()
  nothing = memory | {'frozen_teacher': jax.tree.map(jnp.zeros_like, memory['frozen_teacher'])}
  _, (_, metrics) = made.loss(params, nothing, batch, jax.random.key(1), 0)
  assert metrics['views'] >= np.log(128) and metrics['patches'] >= np.log(96)
  assert_close(metrics['teacher_entropy'], np.log(128))


def test_patches_of_another_size_are_refused():
  other = vit(image=8, channels=1, patch=2, width=32, depth=1, heads=2, mlp=64)
  made = dinov2_distill(cases.VIT, **CASE.kwargs | {'teacher': other}, steps=10)
  *_, batch = begun()
  with pytest.raises(ValueError, match='soft_cross_entropy'):
    jax.eval_shape(lambda key: made.loss(*made.init(key), batch, key, 0), jax.random.key(0))
