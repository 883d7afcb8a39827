"""The distillation of DINOv2: Learning Robust Visual Features without Supervision (arXiv:2304.07193v2).

Published numbers: of the distilled models, pretrained on LVD-142M, on ImageNet-1k.

  python -m pretrain program --config=configs/dinov2_distill.py:fashion_mnist --workdir=runs/dinov2_distill
"""
from ml_collections import ConfigDict

from configs.common import CROPS, FASHION_MNIST, FASHION_MNIST_TEST, VIT


def fashion_mnist():
  """DINOv2 and its distillation on the embedded 10,000 images of Fashion-MNIST: a narrower student of a frozen teacher.

  A small-scale run of arXiv:2304.07193v2, section 5: both runs have the views and the schedules of
  `configs/dinov2.py:fashion_mnist`, the student half the teacher's width.

  Cost: two runs of 600 steps of 128 examples; no time measured.
  Result: kNN 58.4 ± 2.2 %, linear 56.2 ± 0.4 % (n=3; random backbone 50.7 ± 1.8 %, 62.5 ± 2.9 %) in the setting of
  docs/tables/learning_digits.md. Measured before a change that docs/recipes.md names.
  """
  c = ConfigDict()
  c.program = dict(name='dinov2_distill')
  large, small = VIT, VIT | dict(width=64, mlp=128)
  run = dict(
      seed=0,
      source=FASHION_MNIST,
      views=CROPS,
      batch=128,
      steps=600,
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6),
      optimizer=dict(name='adamw', weight_decay=0.04, clip_norm=3.0),
      checkpoint=dict(every_steps=150),
      evaluate=dict(train=FASHION_MNIST, test=FASHION_MNIST_TEST, every_steps=0))
  heads = dict(prototypes=1024, patch_prototypes=1024, hidden=256, bottleneck=64, patch_bottleneck=64, koleo_weight=0.1,
               student_temperature=0.1, teacher_temperature=0.07, teacher_temperature_start=0.04,
               teacher_warmup_steps=180, momentum=0.98, freeze_prototypes_steps=78)  # one epoch
  c.teacher = run | dict(backbone=large, objective=heads | dict(name='dinov2', mask_ratio=(0.1, 0.5)))
  c.student = run | dict(backbone=small, objective=heads | dict(name='dinov2_distill', teacher=large))
  return c


MODELS = 'facebookresearch/dinov2, README.md, "Pretrained models", without registers'

PUBLISHED = [
    dict(config=None, metric='kNN, top-1 %, ViT-S/14', value='79.0', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-S/14', value='81.1', source=MODELS, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-B/14', value='82.1', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-B/14', value='84.5', source=MODELS, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-L/14', value='83.5', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-L/14', value='86.3', source=MODELS, seen='read'),
]

TABLE = dict(table='learning_digits', row='DINOv2, distilled', metric='linear, pretrained', than=dict(row='DINOv2'),
             claim='A small model distilled from a large one is better than one trained from scratch.')
