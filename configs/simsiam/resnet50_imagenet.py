"""SimSiam, ResNet-50 on ImageNet-1k for 100 epochs in batches of 512: arXiv:2011.10566v1, section 3.

Settings of the authors' code; 67.7 % (linear) with a rate of the predictor that follows the cosine of all, as here, and
68.1 % with one that stays at 0.1 (table 1). Deviations: biases and norms are not decayed; crops are cut out of the 256
pixels that `python -m data prepare --size=256` keeps; those of `views.simclr`. Backbone in bfloat16. No `evaluate`:
the probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/simsiam/resnet50_imagenet.py --workdir=runs/simsiam_resnet50_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 512
  c.epochs = 100.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='simsiam', hidden=(2048, 2048), dim=2048, predictor_hidden=512)
  c.schedule = dict(name='cosine', peak=0.1)  # 0.05 * 512 / 256
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  c.checkpoint = dict(every_steps=2000)
  return c
