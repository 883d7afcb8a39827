"""I-JEPA: Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (arXiv:2301.08243v3).

Published numbers: the authors' README has no numbers, the paper's tables could not be looked up.

  python -m pretrain train --config=configs/i_jepa.py:fashion_mnist --workdir=runs/i_jepa
"""
from configs.common import VIT_224, masked, on_imagenet


def fashion_mnist():
  """I-JEPA on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2301.08243v3: its target blocks; on a grid of 7 x 7 patches the context block is the whole
  image, as 4 targets could cover a smaller one; a small predictor, and a teacher's momentum that starts at 0.99.

  Cost: 800 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 71.1 ± 0.6 %, linear 79.0 ± 0.5 % (n=3; random backbone 65.8 ± 2.3 %, 76.2 ± 1.1 %) in the setting of
  docs/tables/learning_fashion_mnist.md.
  """
  c = masked()
  c.views = dict(name='mae', size=28, scale=(0.4, 1.0), flip=0.0)
  c.objective = dict(name='i_jepa', targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                     context_scale=(1.0, 1.0), context_patches=20, predictor_width=64, predictor_depth=2,
                     predictor_heads=2, momentum=0.99)
  c.optimizer = dict(name='adamw', weight_decay=0.05)
  return c


def vit_h14_imagenet():
  """I-JEPA, ViT-H/14 on ImageNet-1k for 300 epochs: arXiv:2301.08243v3, in1k_vith14_ep300 of the authors' code.

  Deviations: masks have static shapes (`masks.multi_block`); the rate warms up from 0 (theirs from 2e-4); crops are cut
  out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone in bfloat16. No `evaluate`: the probe
  holds all features in memory. Another place of the set: --config.source.path=DIR.

  Cost: 187,670 steps of 2,048 examples (300 epochs); not run here.
  Published: no number published in this setting.
  """
  c = on_imagenet()
  c.views = dict(name='mae', size=224, scale=(0.3, 1.0), flip=0.0)
  c.batch = 2048
  c.epochs = 300.0
  c.backbone = VIT_224 | dict(variant='H/14', positions='sincos', pool='mean')
  c.objective = dict(name='i_jepa', targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                     context_scale=(0.85, 1.0), context_patches=69, predictor_width=384, predictor_depth=12,
                     predictor_heads=16, momentum=0.996)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=25023, end=1e-6)  # 40 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.4)
  return c


PUBLISHED = []

TABLE = dict(table='learning_fashion_mnist', row='I-JEPA', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
