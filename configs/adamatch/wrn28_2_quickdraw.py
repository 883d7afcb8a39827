"""AdaMatch, WRN-28-2 on the sketches "quickdraw" of DomainNet, 32 pixels, 10 labels a class: the README's command.

Settings of the authors' code for arXiv:2106.04732v2 (google-research/adamatch, semi_supervised/adamatch.py, its
defaults): 2^23 labeled images in batches of 64; the rate falls on a cosine to a quarter. Deviation: RandAugment and
Cutout of FixMatch in place of CTAugment. The folder holds train/ and test/ (the lists of DomainNet) with one folder per
class; another place: --config.source.path=DIR and the same for evaluate.train.path and evaluate.test.path.

  python -m pretrain train --config=configs/adamatch/wrn28_2_quickdraw.py --workdir=runs/adamatch_wrn28_2_quickdraw
"""
import math

from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/quickdraw', split='train', size=32)
  c.labels = dict(per_class=10, seed=1)
  c.unlabeled = dict(batch=192)
  c.views = dict(name='fixmatch', labeled_strong=True)
  c.batch = 64
  c.steps = 131072
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='adamatch', classes=345, threshold=0.9, unlabeled_weight=1.0, labeled_momentum=0.999,
                     window=128, ema_momentum=0.999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=math.acos(0.25) / math.pi)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-3)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/quickdraw', split='train', size=32),
                    test=dict(name='folder', path='data_sets/quickdraw', split='test', size=32), every_steps=20000)
  return c
