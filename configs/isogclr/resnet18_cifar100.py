"""iSogCLR, ResNet-18 on CIFAR-100 for 400 epochs: the command of the README of arXiv:2305.11965v1.

Settings of that command and of the code's defaults. Deviations: biases and norms are neither decayed nor scaled by
LARS, whose ratio multiplies what enters the velocity, theirs the velocity, as the rate does; the loss is a mean of the
views, theirs a sum; the warm-up starts at 0; for the average see the objective. The folder holds train/ and test/ with
one folder per class; another place: --config.source.path=DIR and the same for evaluate.train.path and
evaluate.test.path.

  python -m pretrain train --config=configs/isogclr/resnet18_cifar100.py --workdir=runs/isogclr_resnet18
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar100', split='train', size=32)
  c.views = dict(name='simclr', size=32, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 128
  c.epochs = 400.0
  c.backbone = dict(name='resnet', depth=18, stem='cifar', channels=3, zero_init=False, mean=(0.5071, 0.4867, 0.4408),
                    std=(0.2675, 0.2565, 0.2761))
  c.objective = dict(name='isogclr', hidden=(8192, 8192), dim=8192, temperature=0.1, temperature_range=(0.05, 1.0),
                     temperature_rate=0.03, gradient_rate=0.5, rho=0.4, average_rate=0.8)
  c.schedule = dict(name='cosine', peak=0.8, end=8e-4, warmup_steps=3900)  # 10 epochs
  c.optimizer = dict(name='lars', weight_decay=5e-4, momentum=0.9, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=1000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar100', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar100', split='test', size=32), every_steps=5000)
  return c
