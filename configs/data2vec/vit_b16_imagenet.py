"""data2vec, ViT-B/16 on ImageNet-1k for 800 epochs: arXiv:2202.03555v3, the command in the authors' README.

Deviations: learned positions instead of a shared relative bias; no colour jitter (theirs 0.4) and no dropout of
attention (theirs 0.05); crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone in
bfloat16. No `evaluate`: the probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/data2vec/vit_b16_imagenet.py --workdir=runs/data2vec_vit_b16_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='mae', size=224, scale=(0.08, 1.0))
  c.batch = 2048
  c.epochs = 800.0
  c.backbone = dict(name='vit', variant='B/16', image=224, channels=3, drop_path=0.25, layer_scale=1e-4, pool='mean',
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='data2vec', mask_ratio=0.6123, smallest_block=16, layers=6, beta=2.0, momentum_start=0.9998,
                     momentum=0.9998, momentum_steps=1)  # 120 of 196 patches
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=6256, end=1e-5)  # 10 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=3.0)
  c.checkpoint = dict(every_steps=2000)
  return c
