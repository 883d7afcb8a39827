"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction (arXiv:2103.03230v3).

  python -m pretrain train --config=configs/barlow_twins.py:fashion_mnist --workdir=runs/barlow_twins
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """Barlow Twins on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2103.03230v3 with the residual network and the views of configs/demo.py, 256 features
  instead of 8,192, and a weight of 0.02, as there are fewer off-diagonal terms.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 81.0 %, linear 82.7 % (n=1, docs/recipes.md); kNN 92.2 ± 0.6 %, linear 94.4 ± 0.6 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='barlow_twins', hidden=(256, 256), dim=256, weight=0.02)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """Barlow Twins, ResNet-50 on ImageNet-1k for 1,000 epochs: arXiv:2103.03230v3 table 1.

  Settings of the authors' code and of its first command, which multiplies the loss by 0.024; the README gives 73.5 %.
  Deviations: biases and norms learn at the rate of the weights, theirs at 0.024 of it; crops are cut out of the 256
  pixels that `python -m data prepare --size=256` keeps, not out of the whole photograph, by bilinear instead of bicubic
  interpolation. Encoder in bfloat16. No `evaluate`: the probe holds all features in memory; give it a labeled subset.
  The set is one that `python -m data prepare` wrote; another place: --config.source.path=DIR.

  Cost: 625,569 steps of 2,048 examples (1,000 epochs); not run here.
  Published: linear, top-1 %: 73.5.
  """
  c = on_imagenet()
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 2048
  c.epochs = 1000.0
  c.backbone = RESNET50
  c.objective = dict(name='barlow_twins', hidden=(8192, 8192), dim=8192, weight=0.0051, scale=0.024)
  c.schedule = dict(name='cosine', peak=1.6, end=1.6e-3, warmup_steps=6255)  # 0.2 * 2048 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  return c


PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='73.5',
         source='facebookresearch/barlowtwins, README.md, "Pretrained Model"', seen='read'),
]

TABLE = dict(table='learning_digits', row='Barlow Twins', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
