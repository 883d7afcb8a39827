"""iBOT as a whole against its twin: arXiv:2111.07832v3, section 3, eq. 1 to 3, algorithm 1.

Of the authors' main_ibot.py (`iBOTLoss`, the order of the passes) and loader.py (the masks). Packed and not, with and
without lengths of prototypes. Below, its loss of masked patches against the twin, by hand, and as DINO's.
"""
import math
from functools import partial

import jax
import numpy as np

from pretrain import losses
from pretrain.models.vit import vit
from pretrain.objectives.ibot import ibot, ibot_loss
from tests import cases
from tests.checks import Loss, assert_close, check_loss, in_order, normal
from tests.reference.block_mask import block_mask
from tests.reference.ibot import ibot as loss_twin
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
built = partial(
    ibot, vit(image=8, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, positions='sincos'), prototypes=5,
    hidden=8, bottleneck=4, mask_probability=PROBABILITY, mask_ratio=(LEAST, MOST),
    student_temperature=STUDENT_TEMPERATURE, teacher_temperature=TEMPERATURE,
    teacher_patch_temperature=PATCH_TEMPERATURE, teacher_temperature_start=START, teacher_warmup_steps=WARMUP,
    momentum=MOMENTUM, center_momentum=CENTER_MOMENTUM, freeze_prototypes_steps=FREEZE, steps=STEPS)
TWIN = Twin(
    built(normalize_last=False), batch, twin,
    encode=lambda _, memory, x: ViT(memory['teacher']['backbone'], patch=2)(x),
    images=lambda rng: rng.uniform(size=(3, 8, 8, 1)),
    memory=lambda rng, memory: memory | {'center': rng.normal(size=5) / 5, 'patch_center': rng.normal(size=5) / 5},
    hold=lambda step: {'head/prototypes': step < FREEZE, 'head/gain': step < FREEZE},
    grown={'head/mlp': 20.},
    moves={'global/0': ALL, 'global/1': ALL, 'local/0': {'loss', 'views'}, 'local/2': {'loss', 'views'},
           'index': {'loss', 'views', 'patches'}})


def test_its_twin():
  check(TWIN)


def test_its_twin_with_packed_crops():
  check(TWIN._replace(objective=built(normalize_last=False, packed=True)))


def test_its_twin_with_prototypes_of_length_1():
  check(TWIN._replace(objective=built(normalize_last=True), hold=lambda step: {'head/prototypes': step < FREEZE}))


# --- The loss ------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(ibot_loss)


def at(student: float, teacher: float) -> dict:
  """The temperatures of the loss."""
  return dict(student_temperature=student, teacher_temperature=teacher)


def hidden(seed: int, b: int, n: int):
  """A mask that hides different numbers of patches of the images, at least one."""
  mask = np.random.default_rng(seed).random((b, n)) < 0.5
  mask[0, -1] = True
  return mask


FAR = normal(0, 2, 3, 4, scale=1e4), normal(1, 2, 3, 4, scale=1e4), np.array([[1, 0, 0], [0, 0, 0]], bool), normal(
    2, 4, scale=1e4), 0.01, 0.01
LOSS = Loss(jit_loss, loss_twin, [
    (normal(0, 2, 3, 4), normal(1, 2, 3, 4), hidden(2, 2, 3), normal(3, 4), 1.0, 0.5),
    (normal(4, 3, 4, 3, scale=0.3), normal(5, 3, 4, 3, scale=0.3),
     np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool), normal(6, 3, scale=0.1), 0.1, 0.05)],
            moving=(0,), extremes=[FAR, (0 * FAR[0], *FAR[1:]), (FAR[0][:, :1].repeat(3, 1), *FAR[1:])], refused=[
                ((normal(0, 2, 3, 4), normal(1, 2, 1, 4), np.ones((2, 3), bool), normal(2, 4), 0.1, 0.1),
                 ['(2, 3, 4)', '(2, 1, 4)']),
                ((normal(0, 2, 3, 4), normal(1, 2, 3, 4), np.ones((2, 1), bool), normal(2, 4), 0.1, 0.1),
                 ['(2, 3)', '(2, 1)'])])


def test_its_loss():
  check_loss(LOSS)
  assert_close(in_order(jit_loss)(*FAR), loss_twin(*FAR))  # about 1e6


def test_ibot_by_hand():
  student = np.log(np.array([[[1, 3], [1, 1]], [[1, 3], [9, 9]]], np.float32))  # 1/4, 3/4 and 1/2, 1/2
  teacher = np.log(np.array([[[9, 1], [1, 4]], [[1, 1], [1, 1]]], np.float32))  # 9/10, 1/10; 1/5, 4/5; 1/2, 1/2
  zero = np.zeros(2, np.float32)
  first, half = -(0.9 * math.log(1 / 4) + 0.1 * math.log(3 / 4)), -(math.log(1 / 4) + math.log(3 / 4)) / 2
  both = np.array([[1, 1], [1, 0]], bool)  # by image, not by patch
  wanted = ((first + math.log(2)) / 2 + half) / 2
  assert_close(jit_loss(student, teacher, mask=both, center=zero, **at(1.0, 1.0)), wanted)
  one = np.array([[1, 0], [0, 0]], bool)  # an image without hidden patches counts 0, but is in the mean
  assert_close(jit_loss(student, teacher, mask=one, center=zero, **at(1.0, 1.0)), first / 2)
  # a center of log(9), 0 makes the teacher's first patch 1/2, 1/2; half a temperature squares the student's odds
  center = np.log(np.array([9, 1], np.float32))
  assert_close(jit_loss(student, teacher, mask=one, center=center, **at(1.0, 1.0)), half / 2)
  hot = -(math.log(1 / 10) + math.log(9 / 10)) / 2
  assert_close(jit_loss(student, teacher, mask=one, center=center, **at(0.5, 1.0)), hot / 2)
  cold = -(81 * math.log(1 / 4) + math.log(3 / 4)) / 82
  assert_close(jit_loss(student, teacher, mask=one, center=zero, **at(1.0, 0.5)), cold / 2)


def test_ibot_limits_and_invariances():
  student, teacher, center = normal(0, 3, 4, 5), normal(1, 3, 4, 5), normal(2, 5)
  mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
  nothing = np.zeros_like(mask)
  assert_close(jit_loss(student, teacher, mask=nothing, center=center, **at(0.1, 0.05)), 0, atol=0)
  assert np.all(np.asarray(jax.grad(jit_loss)(student, teacher, mask=nothing, center=center, **at(0.1, 0.05))) == 0)
  # all hidden: DINO's loss with the patches as examples and the student's view of the same image
  patches = np.stack([0 * student, student]).reshape(2, 12, 5)
  everything = jit_loss(student, teacher, mask=~nothing, center=center, **at(0.5, 0.25))
  assert_close(everything, losses.dino(patches, teacher.reshape(1, 12, 5), center=center, **at(0.5, 0.25)))
  loss = jit_loss(student, teacher, mask=mask, center=center, **at(0.5, 0.25))
  elsewhere = student + 100 * ~mask[..., None] * normal(3, 3, 4, 5), teacher - 100 * ~mask[..., None]
  assert_close(jit_loss(*elsewhere, mask=mask, center=center, **at(0.5, 0.25)), loss)
  order = np.array([2, 0, 3, 1])
  ordered = student[:, order], teacher[:, order]
  assert_close(jit_loss(*ordered, mask=mask[:, order], center=center, **at(0.5, 0.25)), loss)
  assert_close(jit_loss(student[::-1], teacher[::-1], mask=mask[::-1], center=center, **at(0.5, 0.25)), loss)
  assert_close(jit_loss(student[..., ::-1], teacher[..., ::-1], mask=mask, center=center[::-1], **at(0.5, 0.25)), loss)
  assert_close(jit_loss(student + 3, teacher + normal(4, 3, 4, 1), mask=mask, center=center, **at(0.5, 0.25)), loss)
  assert_close(jit_loss(student, teacher + center, mask=mask, center=2 * center, **at(0.5, 0.25)), loss)
  assert_close(jit_loss(student, teacher, mask=mask, center=center, **at(1e4, 0.25)), 2 / 3 * math.log(5), rtol=1e-3)
  gradient = np.asarray(jax.grad(jit_loss)(student, teacher, mask=mask, center=center, **at(0.5, 0.25)))
  assert np.all(gradient[~mask] == 0) and np.all(gradient[mask] != 0)
