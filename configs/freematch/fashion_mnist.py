"""FreeMatch on the embedded Fashion-MNIST, 25 labels a class of 10,000 images: a few minutes on two CPU cores.

A small-scale run: weights and the ratio of 7 unlabeled examples for each labeled one are those for CIFAR-10 with 250
labels in USB (microsoft/Semi-supervised-learning, config/classic_cv/freematch); the momentum of the thresholds is
0.99 instead of 0.999, the run being short. Everything else is as in configs/fixmatch/fashion_mnist.py.

  python -m pretrain train --config=configs/freematch/fashion_mnist.py --workdir=runs/freematch_fashion_mnist
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
  c.objective = dict(name='freematch', classes=10, momentum=0.99, unlabeled_weight=1.0, fairness_weight=0.001,
                     ema_momentum=0.99)
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=300)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300)
  return c
