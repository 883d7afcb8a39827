"""Curriculum Labeling, WRN-28-2 on CIFAR-10 with 4,000 labels (arXiv:2001.06001v2; 94.91 % in the authors' README).

Settings of the command in that README, and the defaults of their main.py. Deviations: no mixup and no averaged weights,
which that number has; the policies of RandAugment are ours; no images are kept for validation, so there are 46,000
unlabeled ones; the rate falls on half a cosine to the last value of theirs, whose cosine is 750 epochs long.
The folder holds train/ and test/ with one folder per class; another place: --config.train.source.path=DIR and the same
for program.test.path.

  python -m pretrain program --config=configs/curriculum_labeling/wrn28_2_cifar10.py --workdir=runs/curriculum_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='curriculum_labeling', stepping=20.0,
                   test=dict(name='folder', path='data_sets/cifar10', split='test', size=32))
  c.train = dict(
      seed=0,
      source=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
      labels=dict(per_class=400, seed=0),
      views=dict(name='supervised', size=32, pad=4, flip=0.5, operations=2, cutout_share=0.5),
      batch=512,
      epochs=700.0,
      backbone=dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.4914, 0.4824, 0.4467),
                    std=(0.2471, 0.2435, 0.2616)),
      objective=dict(name='supervised', classes=10),
      schedule=dict(name='cosine', peak=0.1, end=0.00109),
      optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
      checkpoint=dict(every_steps=1000))
  return c
