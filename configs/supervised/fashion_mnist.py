"""Supervised baseline on the embedded 10,000 images of Fashion-MNIST: two or three minutes on two CPU cores.

No row of a paper: a small-scale run with a ResNet of three blocks, and all labels, which the others are held against.

  python -m pretrain train --config=configs/supervised/fashion_mnist.py --workdir=runs/supervised_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='supervised', size=28, pad=2, flip=0.5)
  c.batch = 128
  c.steps = 1200
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=100)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=400)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=400)
  return c
