"""VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning (arXiv:2105.04906v3).

  python -m pretrain train --config=configs/vicreg.py:fashion_mnist --workdir=runs/vicreg
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """VICReg on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2105.04906v3 with the residual network and the views of configs/demo.py and 256 features
  instead of 8,192; the weights are the paper's.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 81.2 %, linear 81.4 % (n=1, docs/recipes.md); kNN 92.3 ± 1.1 %, linear 94.9 ± 0.4 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='vicreg', hidden=(256, 256), dim=256, invariance=25.0, variance=25.0, covariance=1.0)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """VICReg, ResNet-50 on ImageNet-1k for 1,000 epochs: arXiv:2105.04906v3 table 1, 73.2 %.

  Settings of the authors' code, views too: they are BYOL's; in the paper both are blurred with probability 0.5 and
  solarized with 0.1. Deviations: crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps,
  not out of the whole photograph, by bilinear instead of bicubic interpolation. Encoder in bfloat16. No `evaluate`: the
  probe holds all features in memory; give it a labeled subset. The set is one that `python -m data prepare` wrote;
  another place: --config.source.path=DIR.

  Cost: 625,569 steps of 2,048 examples (1,000 epochs); not run here.
  Published: linear, top-1 %: 73.2.
  """
  c = on_imagenet()
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 2048
  c.epochs = 1000.0
  c.backbone = RESNET50
  c.objective = dict(name='vicreg', hidden=(8192, 8192), dim=8192, invariance=25.0, variance=25.0, covariance=1.0)
  c.schedule = dict(name='cosine', peak=1.6, end=1.6e-3, warmup_steps=6255)  # 0.2 * 2048 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  return c


PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='73.2',
         source='facebookresearch/vicreg, README.md, "Pre-trained Models"', seen='read'),
]

TABLE = dict(table='learning_digits', row='VICReg', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
