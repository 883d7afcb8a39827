"""MixMatch on the embedded Fashion-MNIST, 25 labels a class of 10,000 images.

A small-scale run: temperature, alpha and two views are those of arXiv:1905.02249v2 for CIFAR-10, as many unlabeled as
labeled examples. The paper's weight of 75 after a ramp of its share of the run (1/64, 19 steps) made the model believe
what it guessed before it knew anything (69.6 % against 73.7, one seed, a smaller batch): here 10, after half the run.
Everything else is as in configs/fixmatch/fashion_mnist.py.

  python -m pretrain train --config=configs/mixmatch/fashion_mnist.py --workdir=runs/mixmatch_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0, strongs=2)
  c.batch = 64
  c.steps = 1200
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='mixmatch', classes=10, temperature=0.5, alpha=0.75, unlabeled_weight=10.0, ramp_steps=600,
                     ema_momentum=0.99)
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=300)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300)
  return c
