"""DeeperCluster on the embedded Fashion-MNIST: 100 clusters of 10,000 images, made four times; five runs of 240 steps.

A small-scale run: 4 super-clusters, their rotations, three epochs between two clusterings and a constant rate, as in
the authors' code for arXiv:1905.01278; 25 clusters in each instead of 80,000, a ResNet of three blocks instead of
VGG-16 on edges, and batches of 128 images.

  python -m pretrain program --config=configs/deepercluster/fashion_mnist.py --workdir=runs/deepercluster
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='deepercluster', super_clusters=4, clusters=25, cycles=4)
  c.train = dict(
      seed=0,
      source=dict(name='fashion_mnist', split='train'),
      views=dict(name='supervised', size=28, scale=(0.3, 1.0), flip=0.5),
      batch=128,
      steps=240,
      backbone=dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,)),
      objective=dict(name='deepercluster', rotations=4),
      schedule=dict(name='constant', peak=0.05, warmup_steps=20),
      optimizer=dict(name='sgd', momentum=0.9, weight_decay=1e-5),
      checkpoint=dict(every_steps=240),
      evaluate=dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=0))
  return c
