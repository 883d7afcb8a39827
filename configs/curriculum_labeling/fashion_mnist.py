"""Curriculum Labeling on the embedded Fashion-MNIST, 25 labels a class of 10,000 images: six runs of 400 steps.

A small-scale run: 20 % more of the pseudo labels each cycle, Nesterov momentum, weight decay 5e-4 and a rate of 0.1 as
in the authors' code for arXiv:2001.06001v2; a ResNet of three blocks instead of WRN-28-2, RandAugment without mixup and
averaged weights, and 400 steps instead of 700 epochs.

  python -m pretrain program --config=configs/curriculum_labeling/fashion_mnist.py --workdir=runs/curriculum_labeling
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='curriculum_labeling', stepping=20.0, test=dict(name='fashion_mnist', split='test'))
  c.train = dict(
      seed=0,
      source=dict(name='fashion_mnist', split='train'),
      labels=dict(per_class=25, seed=0),
      views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
      batch=64,
      steps=400,
      backbone=dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,)),
      objective=dict(name='supervised', classes=10),
      schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
      optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
      checkpoint=dict(every_steps=200))
  return c
