"""BYOL on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2006.07733v3 with the residual network of configs/demo.py: narrow heads, blur half as often,
no solarize (grey clothes on black), AdamW, and a teacher's momentum of 0.98 instead of 0.996, for hundreds of steps.

  python -m pretrain train --config=configs/byol/fashion_mnist.py --workdir=runs/byol_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='byol', size=28, scale=(0.4, 1.0), blur=(0.5, 0.1), solarize=(0.0, 0.0))
  c.batch = 256
  c.steps = 300
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=32, stem='imagenet', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='byol', hidden=256, dim=64, predictor_hidden=256, momentum=0.98)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
