"""Supervised learning, which the other methods are held against: the baseline is no row of a paper.

Published numbers: WRN-28-2.

  python -m pretrain train --config=configs/supervised.py:fashion_mnist --workdir=runs/supervised
"""
from configs.common import IMAGENET_COLORS, RESNET, SGD, WRN28_2, on_fashion_mnist, on_folder


def fashion_mnist():
  """Supervised baseline on the embedded 10,000 images of Fashion-MNIST.

  No row of a paper: a small-scale run with a ResNet of three blocks, and all labels, which the others are held against.

  Cost: 1,200 steps of 128 examples; two or three minutes on two CPU cores.
  Result: kNN 88.1 %, linear 89.8 % (n=1, docs/recipes.md).
  """
  c = on_fashion_mnist(every_steps=400, log_every_steps=20)
  c.views = dict(name='supervised', size=28, pad=2, flip=0.5)
  c.batch = 128
  c.steps = 1200
  c.backbone = RESNET | dict(width=16, stem='cifar')
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=100)
  c.optimizer = SGD
  return c


def wrn28_2_cifar10():
  """Supervised, WRN-28-2 on CIFAR-10 with all labels: 4.55 to 4.60 % error in USB, three seeds.

  Settings of USB (microsoft/Semi-supervised-learning,
  config/classic_cv/fullysupervised/fullysupervised_cifar10_250_0.yaml and semilearn/), the ceiling of its
  semi-supervised methods. Deviations: shifted images are padded with black, theirs mirrored; no moving average of the
  parameters is evaluated. configs/fixmatch.py:wrn28_2_cifar10 says where the images are.

  Cost: 1,048,576 steps of 64 examples; not run here.
  Published: error, best, %, CIFAR-10, all labels (the column of 250): 4.55±0.09; accuracy, best, %, CIFAR-10, all
  labels (the column of 250): 95.39±0.04.
  """
  c = on_folder('data_sets/cifar10', checkpoint_steps=5000, evaluate_steps=20000)
  c.views = dict(name='supervised', size=32, pad=4)
  c.batch = 64
  c.steps = 1048576
  c.backbone = WRN28_2 | IMAGENET_COLORS
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = SGD
  return c


USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, best, %, CIFAR-10, all labels (the column of 250)', value='4.55±0.09',
         source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='accuracy, best, %, CIFAR-10, all labels (the column of 250)',
         value='95.39±0.04', source=TORCHSSL, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, no others', value='55.96±1.95', source=USB, seen='read'),
]
