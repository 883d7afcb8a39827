"""DeeperCluster: Unsupervised Pre-Training of Image Features on Non-Curated Data (arXiv:1905.01278).

  python -m pretrain program --config=configs/deepercluster.py:fashion_mnist --workdir=runs/deepercluster
"""
from ml_collections import ConfigDict

from configs.common import FASHION_MNIST, FASHION_MNIST_TEST, RESNET


def fashion_mnist():
  """DeeperCluster on the embedded Fashion-MNIST: 100 clusters of 10,000 images, made four times.

  A small-scale run: 4 super-clusters, their rotations, three epochs between two clusterings and a constant rate, as in
  the authors' code for arXiv:1905.01278; 25 clusters in each instead of 80,000, a ResNet of three blocks instead of
  VGG-16 on edges, and batches of 128 images.

  Cost: five runs of 240 steps of 128 examples; no time measured.
  Result: kNN 89.1 ± 2.4 %, linear 93.0 ± 1.3 % (n=3; random backbone 69.5 ± 0.9 %, 78.1 ± 0.2 %) in the setting of
  docs/tables/learning_digits.md.
  """
  c = ConfigDict()
  c.program = dict(name='deepercluster', super_clusters=4, clusters=25, cycles=4)
  c.train = dict(
      seed=0,
      source=FASHION_MNIST,
      views=dict(name='supervised', size=28, scale=(0.3, 1.0), flip=0.5),
      batch=128,
      steps=240,
      backbone=RESNET | dict(width=16, stem='cifar'),
      objective=dict(name='deepercluster', rotations=4),
      schedule=dict(name='constant', peak=0.05, warmup_steps=20),
      optimizer=dict(name='sgd', momentum=0.9, weight_decay=1e-5),
      checkpoint=dict(every_steps=240),
      evaluate=dict(train=FASHION_MNIST, test=FASHION_MNIST_TEST, every_steps=0))
  return c


PAPER = 'arXiv:1905.01278, abstract'

PUBLISHED = [
    dict(config=None, metric='ImageNet top-1 %, VGG-16 pretrained so, then with all labels', value='74.9',
         source=PAPER, seen='read'),
    dict(config=None, metric='the same, above training from scratch, points', value='0.8', source=PAPER, seen='read'),
]

TABLE = dict(table='learning_digits', row='DeeperCluster', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
