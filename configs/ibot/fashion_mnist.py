"""iBOT on the embedded 10,000 images of Fashion-MNIST: some ten minutes on two CPU cores.

A small-scale run of arXiv:2111.07832v3: masks, centres and weights as there; 1,024 prototypes instead of 8,192, 2 local
crops, a teacher temperature of 0.04 throughout and a teacher's momentum that starts at 0.98, for hundreds of steps.

  python -m pretrain train --config=configs/ibot/fashion_mnist.py --workdir=runs/ibot_fashion_mnist
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
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='ibot', prototypes=1024, hidden=256, bottleneck=64, normalize_last=True, mask_probability=0.5,
                     mask_ratio=(0.1, 0.5), student_temperature=0.1, teacher_temperature=0.04,
                     teacher_patch_temperature=0.04, teacher_temperature_start=0.04, teacher_warmup_steps=1,
                     momentum=0.98, center_momentum=0.9, freeze_prototypes_steps=78)  # one epoch
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=3.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=150)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=150)
  return c
