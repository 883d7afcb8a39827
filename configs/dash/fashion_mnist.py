"""Dash on the embedded Fashion-MNIST, 25 labels a class of 10,000 images.

A small-scale run: base, lowest threshold and temperature are those of the authors' script (idstcv/Dash), the constant
is USB's; the warm-up and the steps between thresholds are chosen for a run of 1,200 steps. Everything else is as in
configs/fixmatch/fashion_mnist.py.

  python -m pretrain train --config=configs/dash/fashion_mnist.py --workdir=runs/dash_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=112)
  c.views = dict(name='fixmatch')
  c.batch = 16
  c.steps = 1200
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='dash', classes=10, constant=1.0001, base=1.27, lowest=0.05, every_steps=50,
                     warmup_steps=100, estimate_steps=20, temperature=0.5, unlabeled_weight=1.0, ema_momentum=0.99)
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=300)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300)
  return c
