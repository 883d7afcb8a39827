"""BYOL, ResNet-50 on ImageNet-1k for 1000 epochs: arXiv:2006.07733v3, section 3.3 and appendix B.

The abstract gives 74.3 % (linear). Deviations: crops are cut out of the 256 pixels that `python -m data prepare
--size=256` keeps, not out of the whole photograph; those of `views.byol`. Backbone in bfloat16. No `evaluate`: the
probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/byol/resnet50_imagenet.py --workdir=runs/byol_resnet50_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 4096
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='byol', hidden=4096, dim=256, predictor_hidden=4096, momentum=0.996)
  c.schedule = dict(name='cosine', peak=3.2, warmup_steps=3128)  # 0.2 * 4096 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1.5e-6, momentum=0.9, trust_coefficient=0.001, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=2000)
  return c
