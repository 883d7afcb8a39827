"""DINO: arXiv:2104.14294v2, section 3.1, eq. 2 to 4, algorithm 1; section 3.2.

The whole, packed crops too, against its twin. Its loss is of tests/test_losses_distillation.py. Of the authors'
main_dino.py and utils.py: the schedules, the passes by size (`MultiCropWrapper`), the centre.
"""
import math
from functools import partial

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.dino import dino
from tests import cases
from tests.reference.networks import Tiny, ViT, averaged, log_softmax, prototypes, softmax
from tests.twin import Twin, check, copied, tiny

B, LOCAL, STEPS, MOMENTUM, CENTER_MOMENTUM, FREEZE = 4, 3, 10, 0.7, 0.6, 2
STUDENT_TEMPERATURE, TEMPERATURES, EVERY = 0.3, (0.1, 0.15, 0.2), 2


def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 4, 4, 1)), 'local': rng.uniform(size=(B, LOCAL, 2, 8, 1))}


def backbone(params, statistics, crops, noise=None):
  """All crops of one size in one pass; that of `tiny` is told by their shape."""
  return Tiny(params['backbone'], statistics['backbone'])(crops.reshape(-1, 16), True, noise).reshape(*crops.shape[:2],
                                                                                                      -1)


def crops(rng):
  """Of 9 and 4 patches, for a ViT."""
  return {'global': rng.uniform(size=(B, 2, 6, 6, 1)), 'local': rng.uniform(size=(B, LOCAL, 4, 4, 1))}


def of_vit(params, statistics, crops, noise=None):
  """Crop by crop: what the objective computes of all crops of an image in one sequence."""
  del statistics, noise
  each = crops.reshape(-1, *crops.shape[2:])
  return ViT(params['backbone'], patch=2)(each).reshape(*crops.shape[:2], -1)


def entropy(p):
  return -sum(x * math.log(x) for x in p)


def twin(params, stopped, memory, batch, draws, step, backbone=backbone):
  del stopped  # the targets are the teacher's
  statistics, teacher_statistics = copied(memory['statistics']), copied(memory['teacher_statistics'])
  teacher, center = memory['teacher'], memory['center']
  given = prototypes(teacher['head'], backbone(teacher, teacher_statistics, batch['global']))  # [b, 2, k]
  noises = [noise for _, noise in draws] or [None, None]
  seen = np.concatenate([backbone(params, statistics, batch[key], noise)
                         for key, noise in zip(('global', 'local'), noises, strict=True)], 1)
  answers = log_softmax(prototypes(params['head'], seen) / STUDENT_TEMPERATURE)
  targets = softmax((given - center) / TEMPERATURES[step // EVERY])
  loss, terms = 0., 0
  for i in range(B):
    for there in range(2):
      for here in range(2 + LOCAL):
        if here != there:
          loss -= targets[i, there] @ answers[i, here]
          terms += 1
  entropies = [entropy(targets[i, v]) for i in range(B) for v in range(2)]

  def after(params):
    tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * step / STEPS) + 1) / 2
    mean = sum(given[i, v] for i in range(B) for v in range(2)) / (2 * B)
    return params, {'statistics': statistics, 'teacher_statistics': teacher_statistics,
                    'teacher': averaged(teacher, params, tau),
                    'center': CENTER_MOMENTUM * center + (1 - CENTER_MOMENTUM) * mean}

  return loss / terms, {'teacher_entropy': np.mean(entropies),
                        'teacher_spread': entropy(targets.mean((0, 1)))}, after


CASE = cases.Case(dict(prototypes=128, hidden=64, bottleneck=32, student_temperature=0.1, teacher_temperature=0.07,
                       teacher_temperature_start=0.04, teacher_warmup_steps=3, momentum=0.9, center_momentum=0.9,
                       freeze_prototypes_steps=2),
                  cases.CROPS,
                  turn=3, backbone=cases.VIT)
built = partial(dino, prototypes=5, hidden=8, bottleneck=4, student_temperature=STUDENT_TEMPERATURE,
                teacher_temperature=TEMPERATURES[-1], teacher_temperature_start=TEMPERATURES[0], teacher_warmup_steps=6,
                teacher_warmup_every=EVERY, momentum=MOMENTUM, center_momentum=CENTER_MOMENTUM,
                freeze_prototypes_steps=FREEZE, steps=STEPS)
TWIN = Twin(
    built(tiny()), batch, twin,
    encode=lambda _, memory, x: Tiny(memory['teacher']['backbone'], memory['teacher_statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    memory=lambda rng, memory: memory | {'center': rng.normal(size=5) / 5},
    hold=lambda step: {'head/prototypes': step < FREEZE},
    grown={'head/mlp': 20.},
    moves={'global/0': {'loss', 'teacher_entropy', 'teacher_spread'},
           'global/1': {'loss', 'teacher_entropy', 'teacher_spread'}, 'local/0': {'loss'}, 'local/2': {'loss'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_with_packed_crops():
  small = vit(image=6, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, positions='sincos')
  check(TWIN._replace(
      objective=built(small, packed=True), batch=crops, twin=partial(twin, backbone=of_vit),
      encode=lambda _, memory, x: ViT(memory['teacher']['backbone'], patch=2)(x),
      images=lambda rng: rng.uniform(size=(3, 6, 6, 1))))
