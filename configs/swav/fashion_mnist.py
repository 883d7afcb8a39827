"""SwAV on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2006.09882v5 with the residual network of configs/demo.py: 128 prototypes instead of 3,000, 2
local crops instead of 6, no queue.

  python -m pretrain train --config=configs/swav/fashion_mnist.py --workdir=runs/swav_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 jitter=(0.64, 0.64, 0.64, 0.16), blur=(0.5, 0.5, 0.5), solarize=0.0)
  c.batch = 256
  c.steps = 300
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=32, stem='imagenet', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='swav', hidden=(256,), dim=64, prototypes=128, temperature=0.1, epsilon=0.05, iterations=3,
                     freeze_prototypes_steps=40)  # one epoch
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
