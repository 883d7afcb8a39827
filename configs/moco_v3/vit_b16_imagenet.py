"""MoCo v3, ViT-B/16 on ImageNet-1k for 300 epochs: arXiv:2104.02057v4, 76.7 % (linear) in the authors' README.

Settings of the authors' CONFIG.md. Deviations: crops are cut out of the 256 pixels that
`python -m data prepare --size=256` keeps, not out of the whole photograph. Encoder in bfloat16. No `evaluate`: the
probe holds all features in memory; give it a labeled subset.
The set is one that `python -m data prepare` wrote; another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/moco_v3/vit_b16_imagenet.py --workdir=runs/moco_v3_vit
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='byol', size=224, scale=(0.2, 1.0))
  c.batch = 4096
  c.epochs = 300.0
  c.backbone = dict(name='vit', variant='B/16', image=224, channels=3, positions='sincos', mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='moco_v3', hidden=(4096, 4096), dim=256, predictor_hidden=4096, temperature=0.2,
                     momentum=0.99, freeze_patches=True)
  c.schedule = dict(name='cosine', peak=2.4e-3, warmup_steps=12511)  # 1.5e-4 * 4096 / 256; 40 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.1, decay_1d=True)
  c.checkpoint = dict(every_steps=2000)
  return c
