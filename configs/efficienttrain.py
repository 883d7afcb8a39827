"""EfficientTrain: Exploring Generalized Curriculum Learning for Training Visual Backbones (arXiv:2211.09703).

Published numbers: on ImageNet-1k; the README is that of EfficientTrain++.

  python -m pretrain train --config=configs/efficienttrain.py:fashion_mnist --workdir=runs/efficienttrain
"""
from configs.common import IMAGENET, RESNET, SGD, VIT_224, on_fashion_mnist, on_imagenet


def fashion_mnist():
  """EfficientTrain's curriculum on the embedded 10,000 images of Fashion-MNIST.

  No row of a paper: as arXiv:2211.09703 (ET_training.py of the authors' code) five phases of equal length, low
  frequencies of 160, 160, 160, 192 and 224 of 224 pixels (here 20, 24 and 28 of 28) and RandAugment's magnitudes 1, 3,
  5, 7, 9 of 10. Against the same without it: --config.phases="()"

  Cost: 500 steps of 128 examples; no time measured.
  Result: accuracy 77.1 ± 1.0 %, with whole images 76.1 ± 0.6 % (n=5, docs/tables/efficienttrain.md).
  """
  c = on_fashion_mnist(every_steps=250, log_every_steps=20)
  c.views = dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, magnitude=0.9)
  c.batch = 128
  c.steps = 500
  c.phases = tuple((100 * (i + 1), dict(bandwidth=b, magnitude=m))
                   for i, (b, m) in enumerate([(20, 0.1), (20, 0.3), (20, 0.5), (24, 0.7)]))
  c.backbone = RESNET | dict(width=16, stem='cifar')
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=50)
  c.optimizer = SGD
  return c


def vit_s16_imagenet():
  """DeiT-S/16 on ImageNet-1k for 300 epochs by EfficientTrain's curriculum: arXiv:2211.09703, ET_training.py there.

  Five phases of 60 epochs: 160, 160, 160, 192, 224 of 224 pixels, RandAugment's magnitudes 1, 3, 5, 7, 9 of 10. The
  authors' README gives 80.3 -> 81.3 % for DeiT-S (with EfficientTrain++). Deviations: no mixup, cutmix and erasing;
  RandAugment and crops are those of `views.supervised`, out of 256 pixels (`python -m data prepare --size=256`).

  Cost: 93,835 steps of 4,096 examples; not run here.
  Published: DeiT-S, top-1 %, with EfficientTrain++: 81.3.
  """
  c = on_imagenet()
  c.views = dict(name='supervised', size=224, scale=(0.08, 1.0), operations=2, magnitude=0.9, probability=0.5)
  c.batch = 4096
  c.steps = 93_835  # 300 epochs
  c.phases = tuple((18_767 * (i + 1), dict(bandwidth=b, magnitude=m))
                   for i, (b, m) in enumerate([(160, 0.1), (160, 0.3), (160, 0.5), (192, 0.7)]))
  c.backbone = VIT_224 | dict(variant='S/16', drop_path=0.1)
  c.objective = dict(name='supervised', classes=1000, label_smoothing=0.1)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=6256, end=1e-6)  # 20 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=5.0)
  c.evaluate = dict(train=IMAGENET, test=IMAGENET | dict(split='validation'), size=224)
  return c


README = 'LeapLabTHU/EfficientTrain, README.md, "Highlights of our work"'

PUBLISHED = [
    dict(config='vit_s16_imagenet', metric='DeiT-S, top-1 %, with EfficientTrain++', value='81.3', source=README,
         seen='read'),
    dict(config=None, metric='DeiT-S, top-1 %, without', value='80.3', source=README, seen='read'),
    dict(config=None, metric='DeiT-T, top-1 %, with EfficientTrain++', value='74.4', source=README, seen='read'),
    dict(config=None, metric='DeiT-T, top-1 %, without', value='72.5', source=README, seen='read'),
]

TABLE = dict(table='efficienttrain', row='EfficientTrain', metric='accuracy',
             than=dict(row='whole images, as many pixels'),
             claim='Low frequencies first are better than whole images at equal computation.')
