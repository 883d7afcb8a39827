"""Pseudo-Label, WRN-28-2 on CIFAR-10 with 250 labels, as compared in arXiv:1905.02249v2: 49.98 % error.

The number as arXiv:1904.12848 quotes it in table 9; Lee's paper (ICML 2013 workshop) is about MNIST. Settings of
google-research/mixmatch (pseudo_label.py with the flags of runs/table1.sh). Deviation: all unlabeled images count,
theirs those with a confidence above 0.95. configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/pseudo_label/wrn28_2_cifar10.py --workdir=runs/pseudo_label_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='pseudo_label', classes=10, unlabeled_weight=1.0, ramp_start_step=0, ramp_end_step=419430,
                     ema_momentum=0.999)
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
