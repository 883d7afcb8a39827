"""DINOv2's distillation on the embedded 10,000 images of Fashion-MNIST: a narrower student of a finished teacher.

A small-scale run of arXiv:2304.07193v2, section 5, whose teacher is the average in the run of
`configs/dinov2/fashion_mnist.py`, which has to be there first; not run to its end here.

  python -m pretrain train --config=configs/dinov2/fashion_mnist.py --workdir=runs/dinov2_fashion_mnist
  python -m pretrain train --config=configs/dinov2_distill/fashion_mnist.py --workdir=runs/dinov2_distill_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 blur=(0.2, 0.1, 0.1), solarize=0.0)
  c.batch = 128
  c.steps = 600
  vit = dict(name='vit', image=28, channels=1, patch=4, mean=(0.286,), std=(0.353,), depth=3, heads=2)
  c.backbone = vit | dict(width=64, mlp=128)
  c.initialize = dict(teacher='runs/dinov2_fashion_mnist', averaged=True)
  c.objective = dict(name='dinov2_distill', teacher=vit | dict(width=128, mlp=256), prototypes=1024,
                     patch_prototypes=1024, hidden=256, bottleneck=64, patch_bottleneck=64, koleo_weight=0.1,
                     student_temperature=0.1, teacher_temperature=0.07, teacher_temperature_start=0.04,
                     teacher_warmup_steps=180, momentum=0.98, freeze_prototypes_steps=78)  # one epoch
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=3.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=150)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=150)
  return c
