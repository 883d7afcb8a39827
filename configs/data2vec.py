"""data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language (arXiv:2202.03555v3).

Published numbers: the authors' README has no numbers for images, the paper's tables could not be looked up.

  python -m pretrain train --config=configs/data2vec.py:fashion_mnist --workdir=runs/data2vec
"""
from configs.common import VIT_224, masked, on_imagenet


def fashion_mnist():
  """data2vec on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2202.03555v3: its mask ratio and loss; the target is the mean of the last 2 of 3 blocks
  instead of 6 of 12, rectangles are from 4 patches of 49 instead of 16 of 196, and the teacher's momentum is 0.99 to
  0.999.

  Cost: 800 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 59.2 ± 2.4 %, linear 67.8 ± 0.7 % (n=3; random backbone 58.0 ± 0.3 %, 64.7 ± 1.4 %) in the setting of
  docs/tables/learning_fashion_mnist.md.
  """
  c = masked()
  c.views = dict(name='mae', size=28, scale=(0.4, 1.0))
  c.objective = dict(name='data2vec', mask_ratio=0.6, smallest_block=4, layers=2, beta=2.0, momentum_start=0.99,
                     momentum=0.999, momentum_steps=800)
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=3.0)
  return c


def vit_b16_imagenet():
  """data2vec, ViT-B/16 on ImageNet-1k for 800 epochs: arXiv:2202.03555v3, the command in the authors' README.

  Deviations: learned positions instead of a shared relative bias; no colour jitter (theirs 0.4) and no dropout of
  attention (theirs 0.05); crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone
  in bfloat16. No `evaluate`: the probe holds all features in memory. Another place of the set:
  --config.source.path=DIR.

  Cost: 500,455 steps of 2,048 examples (800 epochs); not run here.
  Published: no number published in this setting.
  """
  c = on_imagenet()
  c.views = dict(name='mae', size=224, scale=(0.08, 1.0))
  c.batch = 2048
  c.epochs = 800.0
  c.backbone = VIT_224 | dict(variant='B/16', drop_path=0.25, layer_scale=1e-4, pool='mean')
  c.objective = dict(name='data2vec', mask_ratio=0.6123, smallest_block=16, layers=6, beta=2.0, momentum_start=0.9998,
                     momentum=0.9998, momentum_steps=1)  # 120 of 196 patches
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=6256, end=1e-5)  # 10 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=3.0)
  return c


PUBLISHED = []

TABLE = dict(table='learning_fashion_mnist', row='data2vec', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
