"""iBOT as a whole against its twin: arXiv:2111.07832v3, section 3, eq. 1 to 3, algorithm 1.

Of the authors' main_ibot.py (`iBOTLoss`, the order of the passes) and loader.py (the masks).
"""
import math

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.ibot import ibot
from tests import cases
from tests.reference.block_mask import block_mask
from tests.reference.networks import ViT, averaged, log_softmax, prototypes, softmax
from tests.twin import Twin, check

B, LOCAL, STEPS, MOMENTUM, CENTER_MOMENTUM, FREEZE, GRID = 4, 3, 10, 0.7, 0.6, 2, 4
STUDENT_TEMPERATURE, START, TEMPERATURE, PATCH_TEMPERATURE, WARMUP = 0.3, 0.1, 0.2, 0.26, 5
PROBABILITY, LEAST, MOST = 0.6, 0.2, 0.6


def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 8, 8, 1)), 'local': rng.uniform(size=(B, LOCAL, 4, 4, 1)),
          'index': rng.permutation(100)[:B]}


def masks(draws):
  """bool[b, 2, n]: each view's draws are whether and how much it hides, rectangles, and what joins them."""
  hidden = np.zeros((B, 2, GRID * GRID), bool)
  for v in range(2):
    (_, chance), (_, rectangles), (_, noise) = draws[3 * v:3 * v + 3]
    for i in range(B):
      ratio = LEAST + (MOST - LEAST) * chance[i, 1] if chance[i, 0] < PROBABILITY else 0.
      hidden[i, v] = block_mask(rectangles[i], noise[i], GRID, GRID, int(ratio * GRID * GRID),
                                smallest=(GRID // 3) ** 2)
  assert 0 < hidden.any(-1).sum() < 2 * B
  return hidden


def see(params, crops, hidden=None):
  """Logits of the class tokens [b, v, k] and of the patches [b, v, n, k]."""
  backbone = ViT(params['backbone'], patch=2)
  masks = [() if hidden is None else (hidden[:, v], params['mask_token']['mask_token']) for v in range(crops.shape[1])]
  tokens = [backbone.encode(backbone.embed(crops[:, v], *mask)) for v, mask in enumerate(masks)]
  logits = prototypes(params['head'], np.stack(tokens, 1))
  return logits[:, :, 0], logits[:, :, 1:]


def entropy(p):
  return -sum(x * math.log(x) for x in p)


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  teacher, hidden = memory['teacher'], masks(draws)
  given, given_patches = see(teacher, batch['global'])
  seen, seen_patches = see(params, batch['global'], hidden)
  seen = np.concatenate([seen, see(params, batch['local'])[0]], 1)
  answers, patch_answers = (log_softmax(x / STUDENT_TEMPERATURE) for x in (seen, seen_patches))
  share = step / (WARMUP - 1)
  targets = softmax((given - memory['center']) / (START + (TEMPERATURE - START) * share))
  patch_targets = softmax((given_patches - memory['patch_center']) / (START + (PATCH_TEMPERATURE - START) * share))
  views = patches = 0.
  for i in range(B):
    for there in range(2):
      for here in range(2 + LOCAL):
        if here != there:
          views -= targets[i, there] @ answers[i, here] / B / (2 * (1 + LOCAL))
      places = np.flatnonzero(hidden[i, there])
      for n in places:
        patches -= patch_targets[i, there, n] @ patch_answers[i, there, n] / len(places) / B / 2

  def after(params):
    tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * step / STEPS) + 1) / 2
    return params, {'teacher': averaged(teacher, params, tau), 'center': center(memory['center'], given),
                    'patch_center': center(memory['patch_center'], given_patches)}

  entropies = [entropy(targets[i, v]) for i in range(B) for v in range(2)]
  return views + patches, {'views': views, 'patches': patches, 'teacher_entropy': np.mean(entropies),
                           'teacher_spread': entropy(targets.mean((0, 1)))}, after


def center(old, logits):
  rows = logits.reshape(-1, logits.shape[-1])
  return CENTER_MOMENTUM * old + (1 - CENTER_MOMENTUM) * sum(rows) / len(rows)


ALL = {'loss', 'views', 'patches', 'teacher_entropy', 'teacher_spread'}
CASE = cases.Case(dict(prototypes=128, hidden=64, bottleneck=32, normalize_last=True, mask_probability=0.5,
                       mask_ratio=(0.3, 0.6), student_temperature=0.1, teacher_temperature=0.07,
                       teacher_patch_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=3,
                       momentum=0.9, center_momentum=0.9, freeze_prototypes_steps=4),
                  cases.CROPS,
                  turn=5, draws=True, backbone=cases.VIT)
TWIN = Twin(
    ibot(vit(image=8, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, positions='sincos'), prototypes=5,
         hidden=8, bottleneck=4, normalize_last=False, mask_probability=PROBABILITY, mask_ratio=(LEAST, MOST),
         student_temperature=STUDENT_TEMPERATURE, teacher_temperature=TEMPERATURE,
         teacher_patch_temperature=PATCH_TEMPERATURE, teacher_temperature_start=START,
         teacher_warmup_steps=WARMUP, momentum=MOMENTUM, center_momentum=CENTER_MOMENTUM,
         freeze_prototypes_steps=FREEZE, steps=STEPS), batch, twin,
    encode=lambda _, memory, x: ViT(memory['teacher']['backbone'], patch=2)(x),
    images=lambda rng: rng.uniform(size=(3, 8, 8, 1)),
    memory=lambda rng, memory: memory | {'center': rng.normal(size=5) / 5, 'patch_center': rng.normal(size=5) / 5},
    hold=lambda step: {'head/prototypes': step < FREEZE, 'head/gain': step < FREEZE},
    grown={'head/mlp': 20.},
    moves={'global/0': ALL, 'global/1': ALL, 'local/0': {'loss', 'views'}, 'local/2': {'loss', 'views'},
           'index': {'loss', 'views', 'patches'}})


def test_its_twin():
  check(TWIN)
