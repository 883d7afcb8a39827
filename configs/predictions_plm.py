"""Predictions For Pre-training Language Models (arXiv:2011.09031v4).

  python -m pretrain program --config=configs/predictions_plm.py:fashion_mnist --workdir=runs/predictions_plm
"""
from ml_collections import ConfigDict

from configs.common import CLASSIFIER, FASHION_MNIST, FASHION_MNIST_TEST


def fashion_mnist():
  """A model's labels learned before the true ones, on the embedded Fashion-MNIST, 25 labels per class: three runs.

  The method of arXiv:2011.09031v4 on images: a model of the labels labels all 10,000 images, on which a new network is
  trained and then fine-tuned; 400 steps each, at one rate.

  Cost: three runs of 400 steps of 64 examples; no time measured.
  Result: no number measured.
  """
  c = ConfigDict()
  c.program = dict(name='predictions_plm', unlabeled=FASHION_MNIST, test=FASHION_MNIST_TEST)
  c.finetune = CLASSIFIER | dict(source=FASHION_MNIST, labels=dict(per_class=25, seed=0))
  c.pretrain = CLASSIFIER
  return c


PAPER = 'arXiv:2011.09031, abstract'

PUBLISHED = [
    dict(config=None, metric='improvement with a small labeled set, points', value='3.6', source=PAPER, seen='read'),
    dict(config=None, metric='improvement with a large labeled set, points', value='0.2', source=PAPER, seen='read'),
]
