"""I-JEPA, ViT-H/14 on ImageNet-1k for 300 epochs: arXiv:2301.08243v3, in1k_vith14_ep300 of the authors' code.

Deviations: masks have static shapes (`masks.multi_block`); the rate warms up from 0 (theirs from 2e-4); crops are cut
out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone in bfloat16. No `evaluate`: the probe
holds all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/i_jepa/vit_h14_imagenet.py --workdir=runs/i_jepa_vit_h14_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='mae', size=224, scale=(0.3, 1.0), flip=0.0)
  c.batch = 2048
  c.epochs = 300.0
  c.backbone = dict(name='vit', variant='H/14', image=224, channels=3, positions='sincos', pool='mean',
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='i_jepa', targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                     context_scale=(0.85, 1.0), context_patches=69, predictor_width=384, predictor_depth=12,
                     predictor_heads=16, momentum=0.996)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=25023, end=1e-6)  # 40 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.4)
  c.checkpoint = dict(every_steps=2000)
  return c
