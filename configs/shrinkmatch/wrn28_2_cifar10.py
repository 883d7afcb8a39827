"""ShrinkMatch, WRN-28-2 on CIFAR-10 with 40 labels (arXiv:2308.06777v1): 94.92 % in the authors' README, five seeds.

Settings of the authors' code, CIFAR/ with --DA. configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/shrinkmatch/wrn28_2_cifar10.py --workdir=runs/shrinkmatch_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=4, seed=0)
  c.unlabeled = dict(batch=448)
  c.views = dict(name='fixmatch', probability=0.5)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.4914, 0.4822, 0.4465),
                    std=(0.2471, 0.2435, 0.2616))
  c.objective = dict(name='shrinkmatch', classes=10, hidden=(32, 32), threshold=0.95, momentum=0.999, window=32,
                     unlabeled_weight=1.0, ema_momentum=0.999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
