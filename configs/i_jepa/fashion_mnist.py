"""I-JEPA on the embedded 10,000 images of Fashion-MNIST: a few minutes on two CPU cores.

A small-scale run of arXiv:2301.08243v3: its target blocks; on a grid of 7 x 7 patches the context block is the whole
image, as 4 targets could cover a smaller one; a small predictor, and a teacher's momentum that starts at 0.99.

  python -m pretrain train --config=configs/i_jepa/fashion_mnist.py --workdir=runs/i_jepa_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='mae', size=28, scale=(0.4, 1.0), flip=0.0)
  c.batch = 256
  c.steps = 800
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, pool='mean',
                    positions='sincos', mean=(0.286,), std=(0.353,))
  c.objective = dict(name='i_jepa', targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                     context_scale=(1.0, 1.0), context_patches=20, predictor_width=64, predictor_depth=2,
                     predictor_heads=2, momentum=0.99)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=80)
  c.optimizer = dict(name='adamw', weight_decay=0.05)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
