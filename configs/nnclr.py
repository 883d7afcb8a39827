"""NNCLR: With a Little Help from My Friends (arXiv:2104.14548v2).

  python -m pretrain train --config=configs/nnclr.py:fashion_mnist --workdir=runs/nnclr
"""
from configs.common import on_imagenet, two_views


def fashion_mnist():
  """NNCLR on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2104.14548v2 with the residual network and the views of configs/demo.py and a queue of
  4,096 embeddings instead of 98,304.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 81.0 %, linear 83.7 % (n=1, docs/recipes.md); kNN 91.9 ± 0.6 %, linear 94.3 ± 0.7 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='nnclr', hidden=(256, 256), dim=64, predictor_hidden=256, temperature=0.1, queue=4096)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet18_imagenet100():
  """NNCLR, ResNet-18 on ImageNet-100 for 400 epochs: 80.16 % (linear) in solo-learn's README; no row of the paper.

  arXiv:2104.14548v2 (ResNet-50 on ImageNet-1k, 75.6 %) has no public code, and its settings could not be looked up.
  These are of vturrisi/solo-learn, scripts/pretrain/imagenet-100/nnclr.yaml and augmentations/asymmetric.yaml.
  Deviations: LARS multiplies its ratio by the rate, theirs takes the smaller of the two (clip_lr); the warm-up starts
  at 0; crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone in bfloat16. No
  `evaluate`: give it a labeled subset. The set is 100 classes of ImageNet; another place: --config.source.path=DIR.

  Cost: 197,951 steps of 256 examples (400 epochs); not run here.
  Published: linear on frozen features, top-1 %: 80.16; linear during pretraining, top-1 %: 79.80.
  """
  c = on_imagenet()
  c.source.path = 'data_sets/imagenet100'
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 256
  c.epochs = 400.0
  c.backbone = dict(name='resnet', depth=18, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='nnclr', hidden=(2048, 2048), dim=256, predictor_hidden=4096, temperature=0.2, queue=65536)
  c.schedule = dict(name='cosine', peak=0.4, warmup_steps=4950)  # 0.4 * 256 / 256; 10 epochs of 126,689 images
  c.optimizer = dict(name='lars', weight_decay=1e-5, momentum=0.9, trust_coefficient=0.02, rate_in_velocity=False)
  return c


SOLO = 'vturrisi/solo-learn, README.md, "ImageNet-100"'

PUBLISHED = [
    dict(config='resnet18_imagenet100', metric='linear on frozen features, top-1 %', value='80.16',
         source=SOLO, seen='read'),
    dict(config='resnet18_imagenet100', metric='linear during pretraining, top-1 %', value='79.80',
         source=SOLO, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, ImageNet-1k', value='75.6',
         source='arXiv:2104.14548, abstract', seen='read'),
]

TABLE = dict(table='learning_digits', row='NNCLR', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
