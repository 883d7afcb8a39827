"""DINOv2 and its distillation on the embedded 10,000 images of Fashion-MNIST: a narrower student of a frozen teacher.

A small-scale run of arXiv:2304.07193v2, section 5: both runs have the views and the schedules of
`configs/dinov2/fashion_mnist.py`, the student half the teacher's width.

  python -m pretrain program --config=configs/dinov2_distill/fashion_mnist.py --workdir=runs/dinov2_distill
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='dinov2_distill')
  vit = dict(name='vit', image=28, channels=1, patch=4, mean=(0.286,), std=(0.353,), depth=3, heads=2)
  large, small = vit | dict(width=128, mlp=256), vit | dict(width=64, mlp=128)
  run = dict(
      seed=0,
      source=dict(name='fashion_mnist', split='train'),
      views=dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 blur=(0.2, 0.1, 0.1), solarize=0.0),
      batch=128,
      steps=600,
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6),
      optimizer=dict(name='adamw', weight_decay=0.04, clip_norm=3.0),
      checkpoint=dict(every_steps=150),
      evaluate=dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=0))
  heads = dict(prototypes=1024, patch_prototypes=1024, hidden=256, bottleneck=64, patch_bottleneck=64, koleo_weight=0.1,
               student_temperature=0.1, teacher_temperature=0.07, teacher_temperature_start=0.04,
               teacher_warmup_steps=180, momentum=0.98, freeze_prototypes_steps=78)  # one epoch
  c.teacher = run | dict(backbone=large, objective=heads | dict(name='dinov2', mask_ratio=(0.1, 0.5)))
  c.student = run | dict(backbone=small, objective=heads | dict(name='dinov2_distill', teacher=large))
  return c
