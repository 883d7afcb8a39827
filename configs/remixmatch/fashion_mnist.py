"""ReMixMatch on the embedded Fashion-MNIST, 25 labels a class of 10,000 images.

A small-scale run: temperature, alpha, window and weights are those of arXiv:1911.09785v2, two strong views (the paper:
up to 8). A ramp of the same share of the run as in the authors' code (1/64, 19 steps) is over before anything is known
(51.1 % against 71.3, one seed, a smaller batch): here it takes half the run. Everything else is as in
configs/fixmatch/fashion_mnist.py.

  python -m pretrain train --config=configs/remixmatch/fashion_mnist.py --workdir=runs/remixmatch_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', labeled_strong=True, strongs=2)
  c.batch = 64
  c.steps = 1200
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='remixmatch', classes=10, temperature=0.5, alpha=0.75, window=128, unlabeled_weight=1.5,
                     anchor_weight=0.5, rotation_weight=0.5, ramp_steps=600, ema_momentum=0.99)
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=300)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300)
  return c
