"""MAE on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run: mask ratio, normalised targets, optimizer and view are those of arXiv:2111.06377v3 table 8; model,
decoder and batch are small, and the peak rate is higher than 1.5e-4 a 256 examples, for 100 times fewer epochs.

  python -m pretrain train --config=configs/mae/fashion_mnist.py --workdir=runs/mae_fashion_mnist
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
  c.objective = dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2, standardize=True)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=80)
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.95, weight_decay=0.05)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
