"""data2vec on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2202.03555v3: its mask ratio and loss; the target is the mean of the last 2 of 3 blocks
instead of 6 of 12, rectangles are from 4 patches of 49 instead of 16 of 196, and the teacher's momentum is 0.99 to
0.999.

  python -m pretrain train --config=configs/data2vec/fashion_mnist.py --workdir=runs/data2vec_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='mae', size=28, scale=(0.4, 1.0))
  c.batch = 256
  c.steps = 800
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, pool='mean',
                    positions='sincos', mean=(0.286,), std=(0.353,))
  c.objective = dict(name='data2vec', mask_ratio=0.6, smallest_block=4, layers=2, beta=2.0, momentum_start=0.99,
                     momentum=0.999, momentum_steps=800)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=80)
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=3.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
