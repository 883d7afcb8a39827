"""Supervised, WRN-28-2 on CIFAR-10 with all labels: 4.55 to 4.60 % error in USB, three seeds.

Settings of USB (microsoft/Semi-supervised-learning,
config/classic_cv/fullysupervised/fullysupervised_cifar10_250_0.yaml and semilearn/), the ceiling of its semi-supervised
methods. Deviations: shifted images are padded with black, theirs mirrored; no moving average of the parameters is
evaluated. configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/supervised/wrn28_2_cifar10.py --workdir=runs/supervised_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.views = dict(name='supervised', size=32, pad=4)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225))
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
