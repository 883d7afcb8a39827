"""MixMatch, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:1905.02249v2): 11.08 % error, five splits.

Settings of the authors' code, google-research/mixmatch (mixmatch.py with the flags of runs/table1.sh): 2^26 labeled
images in batches of 64, a constant rate; the paper has ten times the weight decay. Deviations: labels are as many of
each class; batch statistics as in the objective. configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/mixmatch/wrn28_2_cifar10.py --workdir=runs/mixmatch_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0, strongs=2)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='mixmatch', classes=10, temperature=0.5, alpha=0.75, unlabeled_weight=75.0, ramp_steps=16384,
                     ema_momentum=0.999)
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
