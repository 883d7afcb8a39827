"""MoCo v3 on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2104.02057v4 with the Vision Transformer of configs/mae/fashion_mnist.py, heads of 256 hidden
units and the views of configs/demo.py.

  python -m pretrain train --config=configs/moco_v3/fashion_mnist.py --workdir=runs/moco_v3_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='simclr', size=28, scale=(0.4, 1.0), jitter=0.8, blur=0.5)
  c.batch = 256
  c.steps = 300
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, positions='sincos',
                    mean=(0.286,), std=(0.353,))
  c.objective = dict(name='moco_v3', hidden=(256, 256), dim=64, predictor_hidden=256, temperature=0.2, momentum=0.99,
                     freeze_patches=True)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=0.1)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
