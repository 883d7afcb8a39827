"""VideoMAE on clips of the embedded 10,000 images of Fashion-MNIST, in which a crop moves: minutes on two CPU cores.

A small-scale run of arXiv:2203.12602v3 with the model and schedule of configs/mae/fashion_mnist.py; no real video is
embedded. For videos: c.source = dict(name='clips', ...) and views without `frames`.

  python -m pretrain train --config=configs/videomae/fashion_mnist.py --workdir=runs/videomae_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='videomae', size=28, scale=(0.4, 1.0), frames=4)
  c.batch = 128
  c.steps = 400
  c.backbone = dict(name='vit', image=28, channels=1, frames=4, tubelet=2, patch=4, width=128, depth=3, heads=2,
                    mlp=256, pool='mean', positions='sincos', mean=(0.286,), std=(0.353,))
  c.objective = dict(name='videomae', mask_ratio=0.9, decoder_width=64, decoder_depth=1, decoder_heads=2,
                     standardize=True)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=40)
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.95, weight_decay=0.05)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
