"""Barlow Twins, ResNet-50 on ImageNet-1k for 1,000 epochs: arXiv:2103.03230v3 table 1.

Settings of the authors' code and of its first command, which multiplies the loss by 0.024; the README gives 73.5 %.
Deviations: biases and norms learn at the rate of the weights, theirs at 0.024 of it; crops are cut out of the 256
pixels that `python -m data prepare --size=256` keeps, not out of the whole photograph, by bilinear instead of bicubic
interpolation. Encoder in bfloat16. No `evaluate`: the probe holds all features in memory; give it a labeled subset.
The set is one that `python -m data prepare` wrote; another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/barlow_twins/resnet50_imagenet.py --workdir=runs/barlow_twins_resnet50
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 2048
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='barlow_twins', hidden=(8192, 8192), dim=8192, weight=0.0051, scale=0.024)
  c.schedule = dict(name='cosine', peak=1.6, end=1.6e-3, warmup_steps=6255)  # 0.2 * 2048 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=2000)
  return c
