"""MoCo v2, ResNet-50 on ImageNet-1k for 200 epochs: arXiv:2003.04297v1 table 1 (mlp, aug+, cos).

Settings of the authors' code with `--mlp --moco-t 0.2 --aug-plus --cos`, whose README gives 67.5 +- 0.1 % (linear).
Deviations: crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps, not out of the whole
photograph; batch normalisation is over the whole batch instead of 32 examples a device with shuffled
keys. Encoder in bfloat16. No `evaluate`: the probe holds all features in memory.
The set is one that `python -m data prepare` wrote; another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/moco_v2/resnet50_imagenet.py --workdir=runs/moco_v2_resnet50
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 256
  c.epochs = 200.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, zero_init=False,
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='moco_v2', hidden=(2048,), dim=128, temperature=0.2, momentum=0.999, queue=65536)
  c.schedule = dict(name='cosine', peak=0.03)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  c.checkpoint = dict(every_steps=2000)
  return c
