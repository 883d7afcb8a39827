"""SimMIM, ViT-B/16 on ImageNet-1k for 800 epochs: arXiv:2111.09886v2, vit_base__800ep of the authors' code.

Their README gives 83.8 % (fine-tuned). Deviations: the rate falls linearly from epoch 700 on, theirs to a tenth at
once; it warms up from 0; learned positions instead of a shared relative bias; crops are cut out of the 256 pixels that
`python -m data prepare --size=256` keeps. Backbone in bfloat16. No `evaluate`: the probe holds all features in memory.
Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/simmim/vit_b16_imagenet.py --workdir=runs/simmim_vit_b16_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='mae', size=224, scale=(0.67, 1.0))
  c.batch = 2048
  c.epochs = 800.0
  c.backbone = dict(name='vit', variant='B/16', image=224, channels=3, drop_path=0.1, layer_scale=0.1, pool='mean',
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='simmim', mask_ratio=0.6, mask_size=32)
  c.schedule = dict(name='warmup_stable_decay', peak=4e-4, warmup_steps=6256, decay_steps=62557, end=0.0,
                    shape='linear')  # 1e-4 * 2048 / 512; 10 and 100 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=5.0)
  c.checkpoint = dict(every_steps=2000)
  return c
