"""ReMixMatch, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:1911.09785v2), eight strong views of each image.

Settings of the authors' code, google-research/remixmatch (cta/cta_remixmatch.py with the flags of runs/ssl/cifar10.sh):
2^26 labeled images in batches of 64, a constant rate. Deviations: RandAugment and Cutout of FixMatch in place of
CTAugment; labels are as many of each class; those of the objective. configs/fixmatch/wrn28_2_cifar10.py says where the
images are.

  python -m pretrain train --config=configs/remixmatch/wrn28_2_cifar10.py --workdir=runs/remixmatch_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', labeled_strong=True, strongs=8)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='remixmatch', classes=10, temperature=0.5, alpha=0.75, window=128, unlabeled_weight=1.5,
                     anchor_weight=0.5, rotation_weight=0.5, ramp_steps=16384, ema_momentum=0.999)
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
