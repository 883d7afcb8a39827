"""DINOv2 as a whole, its crops packed, against its twin: arXiv:2304.07193v2, section 4 (section 5: packing).

Of the authors' dinov2/train/ssl_meta_arch.py (who gets what, weights) and dinov2/loss/*.py.
"""
import math

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.dinov2 import dinov2
from tests import cases
from tests.reference.block_mask import block_mask
from tests.reference.networks import ViT, averaged, log_softmax, prototypes, unit
from tests.twin import Twin, check

B, LOCAL, STEPS, MOMENTUM, FREEZE, GRID, KOLEO = 4, 3, 10, 0.7, 2, 4, 0.3
STUDENT_TEMPERATURE, START, TEMPERATURE, WARMUP = 0.3, 0.02, 0.06, 5
LEAST, MOST = 0.2, 0.6


def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 8, 8, 1)), 'local': rng.uniform(size=(B, LOCAL, 4, 4, 1)),
          'index': rng.permutation(100)[:B]}


def masks(draws):
  """bool[b, 2, n]: one view of an example hides something."""
  (_, chance), (_, rectangles), (_, noise) = draws
  hidden = np.zeros((B, 2, GRID * GRID), bool)
  for i in range(B):
    count = int((LEAST + (MOST - LEAST) * chance[i, 1]) * GRID * GRID)
    v = 0 if chance[i, 0] < 0.5 else 1
    hidden[i, v] = block_mask(rectangles[i], noise[i], GRID, GRID, count, smallest=4, largest=GRID * GRID // 2)
  assert 0 < hidden[:, 0].any(-1).sum() < B
  return hidden


def see(params, crops, hidden=None):
  """Class tokens [b, v, d], and tokens of patches [b, v, n, d]."""
  backbone = ViT(params['backbone'], patch=2)
  masks = [() if hidden is None else (hidden[:, v], params['mask_token']['mask_token']) for v in range(crops.shape[1])]
  tokens = np.stack([backbone.encode(backbone.embed(crops[:, v], *mask)) for v, mask in enumerate(masks)], 1)
  return tokens[:, :, 0], tokens[:, :, 1:]


def assign(logits, temperature):
  """Sinkhorn-Knopp, three times, over rows [n, k]."""
  q = np.exp(logits / temperature).T
  q /= q.sum()
  for _ in range(3):
    for k in range(len(q)):
      q[k] /= q[k].sum() * len(q)
    for n in range(q.shape[1]):
      q[:, n] /= q[:, n].sum() * q.shape[1]
  return (q * q.shape[1]).T


def koleo(x):
  x, total = unit(x), 0.
  for i in range(B):
    total -= math.log(min(np.sqrt(((x[i] - x[j]) ** 2).sum()) for j in range(B) if j != i)) / B
  return total


def entropy(p):
  return -sum(x * math.log(x) for x in p)


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  teacher, hidden = memory['teacher'], masks(draws)
  temperature = START + (TEMPERATURE - START) * step / (WARMUP - 1)
  given, given_patches = see(teacher, batch['global'])
  targets = assign(prototypes(teacher['head'], given.reshape(2 * B, -1)), temperature).reshape(B, 2, -1)
  patch_targets = np.zeros((B, 2, GRID * GRID, 6))
  patch_targets[hidden] = assign(prototypes(teacher['patch_head'], given_patches[hidden]), temperature)

  seen, seen_patches = see(params, batch['global'], hidden)
  answers = log_softmax(prototypes(params['head'], np.concatenate([seen, see(params, batch['local'])[0]], 1)) /
                        STUDENT_TEMPERATURE)
  patch_answers = log_softmax(prototypes(params['patch_head'], seen_patches) / STUDENT_TEMPERATURE)
  views = patches = 0.
  for i in range(B):
    for there in range(2):
      for here in range(2 + LOCAL):
        if here != there:
          views -= targets[i, there] @ answers[i, here] / B / (2 * (1 + LOCAL))
      places = np.flatnonzero(hidden[i, there])
      for n in places:
        patches -= patch_targets[i, there, n] @ patch_answers[i, there, n] / len(places) / (2 * B)
  near = koleo(seen[:, 0]) + koleo(seen[:, 1])

  def after(params):
    tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * step / STEPS) + 1) / 2
    return params, {'teacher': averaged(teacher, params, tau)}

  entropies = [entropy(targets[i, v]) for i in range(B) for v in range(2)]
  return views + patches + KOLEO * near, {
      'views': views, 'patches': patches, 'koleo': near, 'teacher_entropy': np.mean(entropies),
      'teacher_spread': entropy(targets.mean((0, 1)))}, after


ALL = {'loss', 'views', 'patches', 'koleo', 'teacher_entropy', 'teacher_spread'}
CASE = cases.Case(dict(prototypes=128, patch_prototypes=96, hidden=64, bottleneck=32, patch_bottleneck=32,
                       mask_ratio=(0.3, 0.6), koleo_weight=0.1, student_temperature=0.1, teacher_temperature=0.07,
                       teacher_temperature_start=0.04, teacher_warmup_steps=3, momentum=0.9,
                       freeze_prototypes_steps=2),
                  cases.CROPS, draws=True, backbone=cases.VIT)
TWIN = Twin(
    dinov2(vit(image=8, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, positions='sincos'),
           prototypes=5, patch_prototypes=6, hidden=8, bottleneck=4, patch_bottleneck=5,
           mask_ratio=(LEAST, MOST), koleo_weight=KOLEO, student_temperature=STUDENT_TEMPERATURE,
           teacher_temperature=TEMPERATURE, teacher_temperature_start=START, teacher_warmup_steps=WARMUP,
           momentum=MOMENTUM, freeze_prototypes_steps=FREEZE, steps=STEPS, packed=True),
    batch, twin,
    encode=lambda _, memory, x: ViT(memory['teacher']['backbone'], patch=2)(x),
    images=lambda rng: rng.uniform(size=(3, 8, 8, 1)),
    rate=lambda step: {f'{head}/{name}': float(step >= FREEZE) for head in ('head', 'patch_head')
                       for name in ('prototypes', 'gain')},
    grown={'head/mlp': 20.},
    moves={'global/0': ALL, 'global/1': ALL, 'local/0': {'loss', 'views'}, 'local/2': {'loss', 'views'},
           'index': {'loss', 'views', 'patches', 'koleo'}})


def test_its_twin():
  check(TWIN)
