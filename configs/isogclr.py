"""iSogCLR: Not All Semantics are Created Equal (arXiv:2305.11965v1).

Published numbers: the authors' READMEs have no numbers, the paper's tables could not be looked up.

  python -m pretrain train --config=configs/isogclr.py:fashion_mnist --workdir=runs/isogclr
"""
from configs.common import on_folder, two_views


def fashion_mnist():
  """iSogCLR on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2305.11965v1 with the residual network and the views of configs/demo.py; the options of the
  temperatures are those of the authors' script for CIFAR-100.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 82.5 %, linear 83.5 % (n=1, docs/recipes.md); kNN 94.5 ± 0.4 %, linear 95.3 ± 0.7 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='isogclr', hidden=(256,), dim=64, temperature=0.1, temperature_range=(0.05, 1.0),
                     temperature_rate=0.03, gradient_rate=0.5, rho=0.4, average_rate=0.8)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet18_cifar100():
  """iSogCLR, ResNet-18 on CIFAR-100 for 400 epochs: the command of the README of arXiv:2305.11965v1.

  Settings of that command and of the code's defaults. Deviations: biases and norms are neither decayed nor scaled by
  LARS, whose ratio multiplies what enters the velocity, theirs the velocity, as the rate does; the loss is a mean of
  the views, theirs a sum; the warm-up starts at 0; for the average see the objective. The folder holds train/ and test/
  with one folder per class; another place: --config.source.path=DIR and the same for evaluate.train.path and
  evaluate.test.path.

  Cost: 156,250 steps of 128 examples (400 epochs); not run here.
  Published: no number published in this setting.
  """
  c = on_folder('data_sets/cifar100', checkpoint_steps=1000, evaluate_steps=5000)
  c.views = dict(name='simclr', size=32, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 128
  c.epochs = 400.0
  c.backbone = dict(name='resnet', depth=18, stem='cifar', channels=3, zero_init=False, mean=(0.5071, 0.4867, 0.4408),
                    std=(0.2675, 0.2565, 0.2761))
  c.objective = dict(name='isogclr', hidden=(8192, 8192), dim=8192, temperature=0.1, temperature_range=(0.05, 1.0),
                     temperature_rate=0.03, gradient_rate=0.5, rho=0.4, average_rate=0.8)
  c.schedule = dict(name='cosine', peak=0.8, end=8e-4, warmup_steps=3900)  # 10 epochs
  c.optimizer = dict(name='lars', weight_decay=5e-4, momentum=0.9, rate_in_velocity=False)
  return c


PUBLISHED = []

TABLE = dict(table='isogclr_long_tail', row='iSogCLR', column='long tail', metric='linear',
             than=dict(row='InfoNCE, 0.1'),
             claim='A temperature per example is better than one for all where classes are imbalanced.')
