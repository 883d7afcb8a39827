"""UDA: Unsupervised Data Augmentation for Consistency Training (arXiv:1904.12848v6).

Published numbers: WRN-28-2.

  python -m pretrain train --config=configs/uda.py:fashion_mnist --workdir=runs/uda
"""
from configs.common import WRN28_2, few_labels, fixmatch_cifar10


def fashion_mnist():
  """UDA on the embedded Fashion-MNIST, 25 labels per class of 10,000 images.

  A small-scale run: threshold, temperature and weight are those for CIFAR-10 in USB
  (microsoft/Semi-supervised-learning, config/classic_cv/uda), as is the ratio of 7 unlabeled examples for each labeled
  one. Everything else is as in configs/fixmatch.py:fashion_mnist.

  Cost: 1,200 steps of 16 labeled and 112 unlabeled examples; a few minutes on two CPU cores.
  Result: accuracy 73.9 ± 0.6 % (n=5) in the setting of docs/tables/labels_fashion_mnist.md.
  """
  c = few_labels()
  c.objective = dict(name='uda', classes=10, threshold=0.8, temperature=0.4, unlabeled_weight=1.0,
                     ema_momentum=0.99)
  return c


def wrn28_2_cifar10():
  """UDA, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:1904.12848v6): 94.57 % accuracy in the authors' README.

  Settings of the authors' code (google-research/uda, image/scripts/run_cifar10_gpu.sh and the defaults of
  image/main.py). Deviations: labels are as many of each class; augmented images are new each time (theirs: one of 100
  kept ones), the operations are FixMatch's, of continuous strengths (theirs: fifteen, of nine strengths).
  configs/fixmatch.py:wrn28_2_cifar10 says where the images are.

  Cost: 500,000 steps of 64 labeled and 448 unlabeled examples; not run here.
  Published: accuracy, %, CIFAR-10, 250 labels: 94.57 +- 0.96; error, %, CIFAR-10, 250 labels: 5.43 ± 0.96.
  """
  c = fixmatch_cifar10()
  c.views = dict(name='fixmatch', probability=0.5)
  c.steps = 500000
  c.backbone = WRN28_2 | dict(channels=3, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
  c.objective = dict(name='uda', classes=10, threshold=0.8, temperature=0.4, unlabeled_weight=1.0, ema_momentum=0.9999)
  return c


README = 'google-research/uda, README.md'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels', value='94.57 +- 0.96',
         source=README, seen='read'),
    dict(config=None, metric='accuracy, %, CIFAR-10, 4,000 labels', value='95.68 +- 0.08', source=README, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='5.43 ± 0.96',
         source='arXiv:1904.12848, table 9', seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, USB', value='5.12±0.15', source=USB, seen='read'),
]

TABLE = dict(table='labels_fashion_mnist', row='UDA', column='4', metric='accuracy', than=dict(row='MixMatch'),
             claim='With 4 labels per class, consistency under strong augmentation is better than MixMatch.')
