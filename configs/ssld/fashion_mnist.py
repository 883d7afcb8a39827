"""SSLD on the embedded Fashion-MNIST: a teacher of 25 labels a class, a smaller student of all 10,000 images, no label.

A small-scale run: Jensen-Shannon divergence of the two distributions, as in arXiv:2103.05959; ResNets of three blocks.

  python -m pretrain program --config=configs/ssld/fashion_mnist.py --workdir=runs/ssld
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='ssld', test=dict(name='fashion_mnist', split='test'))
  backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=24, stem='cifar', channels=1, mean=(0.286,),
                  std=(0.353,))
  run = dict(seed=0, batch=64, views=dict(name='supervised', size=28, scale=(0.5, 1.0), flip=0.5),
             schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
             optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
             checkpoint=dict(every_steps=200))
  c.teacher = run | dict(
      source=dict(name='fashion_mnist', split='train'), labels=dict(per_class=25, seed=0), steps=400,
      backbone=backbone, objective=dict(name='supervised', classes=10))
  c.student = run | dict(
      steps=600, backbone=backbone | dict(width=16),
      objective=dict(name='distill', classes=10, temperature=1.0, divergence='js'))
  return c
