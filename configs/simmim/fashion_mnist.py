"""SimMIM on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2111.09886v2: its mask ratio; squares of one patch of 4 pixels instead of 32 pixels, of which
28 pixels have none; a small ViT with sine-cosine positions.

  python -m pretrain train --config=configs/simmim/fashion_mnist.py --workdir=runs/simmim_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='mae', size=28, scale=(0.67, 1.0))
  c.batch = 256
  c.steps = 800
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, pool='mean',
                    positions='sincos', mean=(0.286,), std=(0.353,))
  c.objective = dict(name='simmim', mask_ratio=0.6, mask_size=4)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=80)
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=5.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
