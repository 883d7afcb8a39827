"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (arXiv:2104.02057v4).

  python -m pretrain train --config=configs/moco_v3.py:fashion_mnist --workdir=runs/moco_v3
"""
from configs.common import VIT, VIT_224, on_imagenet, two_views


def fashion_mnist():
  """MoCo v3 on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2104.02057v4 with the Vision Transformer of configs/mae.py:fashion_mnist, heads of 256
  hidden units and the views of configs/demo.py.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 78.4 ± 0.7 %, linear 86.0 ± 0.8 % (n=3; random backbone 58.4 ± 6.2 %, 82.9 ± 1.6 %) in the setting of
  docs/tables/learning_digits.md.
  """
  c = two_views()
  c.backbone = VIT | dict(positions='sincos')
  c.objective = dict(name='moco_v3', hidden=(256, 256), dim=64, predictor_hidden=256, temperature=0.2, momentum=0.99,
                     freeze_patches=True)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=0.1)
  return c


def vit_b16_imagenet():
  """MoCo v3, ViT-B/16 on ImageNet-1k for 300 epochs: arXiv:2104.02057v4, 76.7 % (linear) in the authors' README.

  Settings of the authors' CONFIG.md. Deviations: crops are cut out of the 256 pixels that `python -m data prepare
  --size=256` keeps, not out of the whole photograph. Encoder in bfloat16. No `evaluate`: the probe holds all features
  in memory; give it a labeled subset. The set is one that `python -m data prepare` wrote; another place:
  --config.source.path=DIR.

  Cost: 93,835 steps of 4,096 examples (300 epochs); not run here.
  Published: linear, top-1 %: 76.7; fine-tuned, top-1 %: 83.2.
  """
  c = on_imagenet()
  c.views = dict(name='byol', size=224, scale=(0.2, 1.0))
  c.batch = 4096
  c.epochs = 300.0
  c.backbone = VIT_224 | dict(variant='B/16', positions='sincos')
  c.objective = dict(name='moco_v3', hidden=(4096, 4096), dim=256, predictor_hidden=4096, temperature=0.2,
                     momentum=0.99, freeze_patches=True)
  c.schedule = dict(name='cosine', peak=2.4e-3, warmup_steps=12511)  # 1.5e-4 * 4096 / 256; 40 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.1, decay_1d=True)
  return c


README = 'facebookresearch/moco-v3, README.md'

PUBLISHED = [
    dict(config='vit_b16_imagenet', metric='linear, top-1 %', value='76.7', source=README, seen='read'),
    dict(config='vit_b16_imagenet', metric='fine-tuned, top-1 %', value='83.2', source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='MoCo v3', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
