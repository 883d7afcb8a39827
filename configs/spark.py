"""SparK: Designing BERT for Convolutional Networks (arXiv:2301.03580).

  python -m pretrain train --config=configs/spark.py:fashion_mnist --workdir=runs/spark
"""
from configs.common import RESNET, RESNET50, on_fashion_mnist, on_imagenet


def fashion_mnist():
  """SparK on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run: mask ratio and targets are those of arXiv:2301.03580; a ResNet of three blocks, patches of 4
  pixels.

  Cost: 400 steps of 128 examples; some minutes on two CPU cores.
  Result: kNN 65.5 ± 1.5 %, linear 71.8 ± 0.4 % (n=3; random backbone 56.8 ± 1.2 %, 66.3 ± 1.9 %) in the setting of
  docs/tables/learning_fashion_mnist.md. Measured before a change that docs/recipes.md names.
  """
  c = on_fashion_mnist(every_steps=200, log_every_steps=20)
  c.views = dict(name='mae', size=28, scale=(0.67, 1.0))
  c.batch = 128
  c.steps = 400
  c.backbone = RESNET | dict(width=16, stem='cifar')
  c.objective = dict(name='spark', mask_ratio=0.6, decoder_width=64)
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=40)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=5.0)
  return c


def resnet50_imagenet():
  """SparK, ResNet-50 on ImageNet-1k for 1,600 epochs: the defaults of the authors' code, pretrain/utils/arg_util.py.

  Their README: 80.6 % after fine-tuning at 224 pixels. Deviations: warm-up from 0 instead of 0.005 of the peak; crops
  are cut out of the 256 pixels that `python -m data prepare --size=256` keeps, bilinear. No `evaluate`: the probe holds
  all features in memory. Another place of the set: --config.source.path=DIR.

  Cost: 500,455 steps of 4,096 examples (1,600 epochs); not run here.
  Published: fine-tuned, top-1 %: 80.6.
  """
  c = on_imagenet()
  c.views = dict(name='mae', size=224, scale=(0.67, 1.0), flip=0.5)
  c.batch = 4096
  c.epochs = 1600.0
  c.backbone = RESNET50
  c.objective = dict(name='spark', mask_ratio=0.6, decoder_width=768)
  c.schedule = dict(name='cosine', peak=3.2e-3, warmup_steps=12511, end=3.2e-6)  # 2e-4 * 4096 / 256; 40 epochs
  c.optimizer = dict(name='lamb', b2=0.95, weight_decay=0.04, weight_decay_end=0.2, clip_norm=5.0)
  return c


PUBLISHED = [
    dict(config='resnet50_imagenet', metric='fine-tuned, top-1 %', value='80.6', source='keyu-tian/SparK, README.md',
         seen='read'),
]

TABLE = dict(table='learning_fashion_mnist', row='SparK', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
