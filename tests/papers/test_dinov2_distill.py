"""The distillation of DINOv2 as a whole against its twin: arXiv:2304.07193v2, section 5, "Model distillation"."""
import math

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.dinov2_distill import dinov2_distill
from tests import cases
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
