"""DINO on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2104.14294v2 with the small residual network of configs/demo.py: 1,024 prototypes instead of
65,536, 2 local crops, a teacher temperature of 0.04 throughout, and a teacher's momentum that starts at 0.98 instead of
0.996, for a run of hundreds of steps. At 0.07 the teacher stayed near the uniform distribution and taught little.

  python -m pretrain train --config=configs/dino/fashion_mnist.py --workdir=runs/dino_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 blur=(0.2, 0.1, 0.1), solarize=0.0)
  c.batch = 256
  c.steps = 300
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=32, stem='imagenet', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='dino', prototypes=1024, hidden=256, bottleneck=64, student_temperature=0.1,
                     teacher_temperature=0.04, teacher_temperature_start=0.04, teacher_warmup_steps=1, momentum=0.98,
                     center_momentum=0.9, freeze_prototypes_steps=40)  # one epoch
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30, end=1e-6)
  c.optimizer = dict(name='adamw', weight_decay=1e-4, clip_norm=3.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
