"""Noisy Student on the embedded Fashion-MNIST, 25 labels a class of 10,000 images: three runs of 400 steps.

A small-scale run: soft labels of a confidence of at least 0.3, 800 images of each class, RandAugment, and a student
that is larger than the first teacher, as in arXiv:1911.04252v4; ResNets of three blocks instead of EfficientNets.

  python -m pretrain program --config=configs/noisy_student/fashion_mnist.py --workdir=runs/noisy_student
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='noisy_student', threshold=0.3, per_class=800, generations=2,
                   test=dict(name='fashion_mnist', split='test'))
  backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                  std=(0.353,))
  run = dict(seed=0, batch=64, steps=400, schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
             optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
             checkpoint=dict(every_steps=200))
  c.teacher = run | dict(
      source=dict(name='fashion_mnist', split='train'),
      labels=dict(per_class=25, seed=0),
      views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
      backbone=backbone,
      objective=dict(name='supervised', classes=10))
  c.student = run | dict(
      views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
      backbone=backbone | dict(width=24),
      objective=dict(name='distill', classes=10, temperature=1.0))
  return c
