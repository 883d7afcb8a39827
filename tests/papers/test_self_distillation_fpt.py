"""Self-distillation for further pre-training against its twin: arXiv:2210.02871v3, section 3.2 and algorithm 2."""
import numpy as np

from pretrain.models.vit import vit
from pretrain.objectives.self_distillation_fpt import self_distillation_fpt
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.papers.test_mae import MEAN, PATCH, RATIO, SIDE, STD, B, backbone, batch, mae_loss
from tests.twin import Twin, check

WEIGHT = 0.7


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  student, teacher = backbone(params)(batch['image']), backbone(memory['frozen_teacher'])(batch['image'])
  reconstruction, distillation = mae_loss(params, batch['image'], noise), 0.
  for i in range(B):
    distillation += np.sum((student[i] - teacher[i]) ** 2) / B
  metrics = {'masked': reconstruction, 'distance': distillation}
  return reconstruction + WEIGHT * distillation, metrics, lambda params: (params, memory)


CASE = cases.Case(dict(weight=1., mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2,
                       standardize=True), mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True, backbone=cases.VIT)
TWIN = Twin(
    self_distillation_fpt(
        vit(image=SIDE, channels=2, patch=PATCH, width=8, depth=2, heads=2, mlp=16, mean=MEAN, std=STD), weight=WEIGHT,
        mask_ratio=RATIO, decoder_width=12, decoder_depth=1, decoder_heads=3, standardize=True), batch, twin,
    encode=lambda params, _, x: backbone(params)(x),
    images=lambda rng: rng.uniform(size=(3, SIDE, SIDE, 2)),
    moves={'image': {'loss', 'masked', 'distance'}, 'index': {'loss', 'masked'}})


def test_its_twin():
  check(TWIN)
