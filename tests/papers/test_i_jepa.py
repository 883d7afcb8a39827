"""I-JEPA as a whole against its twin: arXiv:2301.08243v3, section 3.

Of the authors' src/train.py (targets, loss, momentum), src/models/vision_transformer.py (the predictor) and
src/masks/multiblock.py (sizes of blocks).
"""
import math

import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.i_jepa import i_jepa
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.reference.networks import ViT, averaged, linear, sincos, transformer
from tests.twin import Twin, check

B, GRID, STEPS, MOMENTUM = 6, 5, 10, 0.7
TARGETS, TARGET_SCALE, TARGET_ASPECT, CONTEXT_SCALE, CONTEXT = 2, (0.15, 0.3), (0.5, 1.5), (0.7, 0.9), 12
N = GRID * GRID


def batch(rng):
  return {'image': rng.uniform(size=(B, 2 * GRID, 2 * GRID, 1)), 'index': rng.permutation(100)[:B]}


def size(draw, scale, aspect):
  """(height, width), both from one draw; at most a side (the authors: one less)."""
  patches = int(N * (scale[0] + draw * (scale[1] - scale[0])))
  ratio = aspect[0] + draw * (aspect[1] - aspect[0])
  return min(round(math.sqrt(patches * ratio)), GRID), min(round(math.sqrt(patches / ratio)), GRID)


SMALLEST = min(h * w for h, w in (size(draw, TARGET_SCALE, TARGET_ASPECT) for draw in np.linspace(0, 1, 1000)))


def block(draws, scale, aspect):
  height, width = size(draws[0], scale, aspect)
  top, left = (math.floor(draw * (GRID - side + 1)) for draw, side in zip(draws[1:], (height, width), strict=True))
  return {i * GRID + j for i in range(top, top + height) for j in range(left, left + width)}


def masks(draws):
  """For each example the places of its context, and of each target."""
  (_, blocks), (_, noise) = draws
  examples = []
  for i in range(B):
    targets = [block(u, TARGET_SCALE, TARGET_ASPECT) for u in blocks[i, 1:]]
    context = block(blocks[i, 0], CONTEXT_SCALE, (1, 1)).difference(*targets)
    chosen = sorted(context, key=lambda place, i=i: noise[i, 0, place])
    kept = [sorted(sorted(target, key=lambda place, i=i, m=m: noise[i, m, place])[:SMALLEST])
            for m, target in enumerate(targets, 1)]
    examples.append(([chosen[j % len(chosen)] for j in range(CONTEXT)], kept, len(chosen)))
  visible = [n for *_, n in examples]
  assert min(visible) < CONTEXT < max(visible)  # some repeat theirs, some leave out some
  return examples


def standardize(x):
  mean = x.mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  teacher, examples = memory['teacher'], masks(draws)
  whole = ViT(teacher['backbone'], patch=2)
  outputs = standardize(whole.patches(whole.encode(whole.embed(batch['image']))))
  student, p, positions = ViT(params['backbone'], patch=2), params['predictor'], sincos(GRID, GRID, 12)
  tokens = student.embed(batch['image'])
  loss = 0.
  for i, (context, targets, _) in enumerate(examples):
    seen = linear(p['embed'], student.patches(student.encode(tokens[i:i + 1, context]))) + positions[context]
    for places in targets:
      asked = p['mask_token'] + positions[places]
      predicted = linear(p['predict'], transformer(p['trunk'], np.concatenate([seen, asked[None]], 1))[1][0, CONTEXT:])
      for j, place in enumerate(places):
        for d in range(8):
          miss = abs(predicted[j, d] - outputs[i, place, d])
          loss += (miss ** 2 / 2 if miss < 1 else miss - 0.5) / (B * TARGETS * SMALLEST * 8)

  def after(params):
    tau = MOMENTUM + (1 - MOMENTUM) * step / STEPS
    return params, {'teacher': averaged(teacher, params, tau)}

  rows = outputs.reshape(-1, 8)
  return loss, {'target_std': np.mean([np.std(rows[:, d]) for d in range(8)])}, after


CASE = cases.Case(dict(targets=1, target_scale=(0.25, 0.25), target_aspect=(1., 1.), context_scale=(1., 1.),
                       context_patches=2, predictor_width=32, predictor_depth=1, predictor_heads=2, momentum=0.9),
                  mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True, backbone=cases.VIT)
TWIN = Twin(
    i_jepa(vit(image=2 * GRID, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, pool='mean'), targets=TARGETS,
           target_scale=TARGET_SCALE, target_aspect=TARGET_ASPECT, context_scale=CONTEXT_SCALE,
           context_patches=CONTEXT, predictor_width=12, predictor_depth=2, predictor_heads=2, momentum=MOMENTUM,
           steps=STEPS), batch, twin,
    encode=lambda _, memory, x: ViT(memory['teacher']['backbone'], patch=2, pool='mean')(x),
    images=lambda rng: rng.uniform(size=(3, 2 * GRID, 2 * GRID, 1)),
    moves={'image': {'loss', 'target_std'}, 'index': {'loss'}})


def test_its_twin():
  check(TWIN)
