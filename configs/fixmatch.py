"""FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence (arXiv:2001.07685v2).

Published numbers: with RandAugment, WRN-28-2.

  python -m pretrain train --config=configs/fixmatch.py:fashion_mnist --workdir=runs/fixmatch
"""
from configs.common import CIFAR10_COLORS, WRN28_2, few_labels, fixmatch_cifar10


def fashion_mnist():
  """FixMatch on the embedded Fashion-MNIST, 25 labels per class of 10,000 images.

  A small-scale run: threshold, weight, 7 unlabeled examples for each labeled one and the optimizer are those of
  arXiv:2001.07685v2 table 4; a ResNet of three blocks instead of WRN-28-2, labeled batches of 16 instead of 64, 1,200
  steps instead of 2^20, and so a faster moving average.

  Cost: 1,200 steps of 16 labeled and 112 unlabeled examples; a few minutes on two CPU cores.
  Result: kNN 81.2 %, linear 82.1 % (n=1, docs/recipes.md); accuracy 74.2 ± 1.0 % (n=5) in the setting of
  docs/tables/labels_fashion_mnist.md. Measured before a change that docs/recipes.md names.
  """
  c = few_labels()
  c.objective = dict(name='fixmatch', classes=10, threshold=0.95, unlabeled_weight=1.0, ema_momentum=0.99)
  return c


def wrn28_2_cifar10():
  """FixMatch (RA), WRN-28-2 on CIFAR-10 with 250 labels (arXiv:2001.07685v2).

  The rate falls as 0.03 cos(7 pi k / 16 K); 2^20 steps. The folder holds train/ and test/ with one folder per class;
  another place: --config.source.path=DIR and the same for evaluate.train.path and evaluate.test.path.

  Cost: 1,048,576 steps of 64 labeled and 448 unlabeled examples; not run here.
  Published: accuracy, %, CIFAR-10, 250 labels: 94.93 ± 0.65; accuracy, %, CIFAR-10, 250 labels, best, TorchSSL:
  95.14±0.05; error, %, CIFAR-10, 250 labels, best, USB: 4.97±0.05.
  """
  c = fixmatch_cifar10()
  c.views = dict(name='fixmatch', probability=0.5)
  c.backbone = WRN28_2 | CIFAR10_COLORS
  c.objective = dict(name='fixmatch', classes=10, threshold=0.95, unlabeled_weight=1.0, ema_momentum=0.999)
  return c


PAPER = 'arXiv:2001.07685'
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='accuracy, %, CIFAR-10, 40 labels', value='86.19 ± 3.37',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels', value='94.93 ± 0.65',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config=None, metric='accuracy, %, CIFAR-10, 4,000 labels', value='95.74 ± 0.05',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels, best, TorchSSL', value='95.14±0.05',
         source=TORCHSSL, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels, best, USB', value='4.97±0.05',
         source=USB, seen='read'),
]

TABLE = dict(table='labels_fashion_mnist', row='FixMatch', column='4', metric='accuracy', than=dict(row='UDA'),
             claim='With 4 labels per class, hard pseudo-labels are better than the soft targets of UDA.')
