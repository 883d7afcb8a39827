"""AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation (arXiv:2106.04732v2).

Published numbers: USB's; the paper's tables, for DomainNet, could not be looked up.

  python -m pretrain train --config=configs/adamatch.py:fashion_mnist --workdir=runs/adamatch
"""
import math

from configs.common import WRN28_2, few_labels, on_folder


def fashion_mnist():
  """AdaMatch on the embedded Fashion-MNIST, 25 labels per class of 10,000 images.

  A small-scale run: threshold, weight, window and the ratio of 3 unlabeled examples for each labeled one are the
  defaults of the authors' code (google-research/adamatch, semi_supervised/adamatch.py), whose strong views are
  CTAugment's; the moving averages are faster, the run being short. Everything else is as in
  configs/fixmatch.py:fashion_mnist.

  Cost: 1,200 steps of 16 labeled and 48 unlabeled examples; a few minutes on two CPU cores.
  Result: accuracy 73.3 ± 0.6 % (n=5) in the setting of docs/tables/labels_fashion_mnist.md.
  """
  c = few_labels()
  c.unlabeled = dict(batch=48)
  c.views = dict(name='fixmatch', labeled_strong=True)
  c.objective = dict(name='adamatch', classes=10, threshold=0.9, unlabeled_weight=1.0, labeled_momentum=0.99,
                     window=128, ema_momentum=0.99)
  return c


def wrn28_2_quickdraw():
  """AdaMatch, WRN-28-2 on the sketches "quickdraw" of DomainNet, 32 pixels, 10 labels per class: the README's command.

  Settings of the authors' code for arXiv:2106.04732v2 (google-research/adamatch, semi_supervised/adamatch.py, its
  defaults): 2^23 labeled images in batches of 64; the rate falls on a cosine to a quarter. Deviation: RandAugment and
  Cutout of FixMatch in place of CTAugment. The folder holds train/ and test/ (the lists of DomainNet) with one folder
  per class; another place: --config.source.path=DIR and the same for evaluate.train.path and evaluate.test.path.

  Cost: 131,072 steps of 64 labeled and 192 unlabeled examples; not run here.
  Published: no number published in this setting.
  """
  c = on_folder('data_sets/quickdraw', checkpoint_steps=5000, evaluate_steps=20000)
  c.labels = dict(per_class=10, seed=1)
  c.unlabeled = dict(batch=192)
  c.views = dict(name='fixmatch', labeled_strong=True)
  c.batch = 64
  c.steps = 131072
  c.backbone = WRN28_2 | dict(channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='adamatch', classes=345, threshold=0.9, unlabeled_weight=1.0, labeled_momentum=0.999,
                     window=128, ema_momentum=0.999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=math.acos(0.25) / math.pi)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-3)
  return c


USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, without interpolated logits', value='5.01±0.11',
         source=USB, seen='read'),
]

TABLE = dict(table='labels_fashion_mnist', row='AdaMatch', column='4', metric='accuracy', than=dict(row='FixMatch'),
             claim='With 4 labels per class, better than FixMatch, which it extends.')
