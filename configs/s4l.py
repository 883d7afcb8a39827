"""S4L: Self-Supervised Semi-Supervised Learning (arXiv:1905.03670v2).

Published numbers: on ImageNet-1k with 10 % of the labels.

  python -m pretrain train --config=configs/s4l.py:fashion_mnist --workdir=runs/s4l
"""
from configs.common import few_labels


def fashion_mnist():
  """S4L-Rotation on the embedded Fashion-MNIST, 25 labels per class of 10,000 images.

  A small-scale run: rotations weigh as much as classes and there are as many unlabeled as labeled examples, as in the
  authors' script for ImageNet. Everything else is as in configs/fixmatch.py:fashion_mnist.

  Cost: 1,200 steps of 64 labeled and 64 unlabeled examples; no time measured.
  Result: accuracy 65.5 ± 1.6 % (n=5) in the setting of docs/tables/labels_fashion_mnist.md. Measured before a change
  that docs/recipes.md names.
  """
  c = few_labels()
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0)
  c.batch = 64
  c.objective = dict(name='s4l', classes=10, rotation_weight=1.0, ema_momentum=0.99)
  return c


README = 'google-research/s4l, README.md'

PUBLISHED = [
    dict(config=None, metric='top-5 %, S4L-Rotation, the paper', value='83.82', source=README, seen='read'),
    dict(config=None, metric='top-5 %, S4L-Rotation, their code', value='83.85', source=README, seen='read'),
    dict(config=None, metric='top-1 %, S4L-Rotation, their code', value='61.37', source=README, seen='read'),
    dict(config=None, metric='top-5 %, labels alone, the paper', value='80.43', source=README, seen='read'),
]

TABLE = dict(table='labels_fashion_mnist', row='S4L', column='4', metric='accuracy',
             than=dict(row='supervised, 16 images a step'),
             claim='With 4 labels per class, turned unlabeled images help: better than the labels alone.')
