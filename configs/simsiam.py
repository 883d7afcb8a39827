"""SimSiam: Exploring Simple Siamese Representation Learning (arXiv:2011.10566v1).

  python -m pretrain train --config=configs/simsiam.py:fashion_mnist --workdir=runs/simsiam
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """SimSiam on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2011.10566v1 with the residual network and the views of configs/demo.py: narrow heads, the
  predictor's bottleneck a quarter of their width as in the paper, and AdamW.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 77.7 %, linear 80.8 % (n=1, docs/recipes.md); kNN 88.4 ± 1.1 %, linear 90.8 ± 0.3 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='simsiam', hidden=(256, 256), dim=256, predictor_hidden=64)
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """SimSiam, ResNet-50 on ImageNet-1k for 100 epochs in batches of 512: arXiv:2011.10566v1, section 3.

  Settings of the authors' code; 67.7 % (linear) with a rate of the predictor that follows the cosine of all, as here,
  and 68.1 % with one that stays at 0.1 (table 1). Deviations: biases and norms are not decayed; crops are cut out of
  the 256 pixels that `python -m data prepare --size=256` keeps; those of `views.simclr`. Backbone in bfloat16. No
  `evaluate`: the probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  Cost: 250,227 steps of 512 examples (100 epochs); not run here.
  Published: linear, top-1 %: 67.7.
  """
  c = on_imagenet()
  c.views = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 512
  c.epochs = 100.0
  c.backbone = RESNET50
  c.objective = dict(name='simsiam', hidden=(2048, 2048), dim=2048, predictor_hidden=512)
  c.schedule = dict(name='cosine', peak=0.1)  # 0.05 * 512 / 256
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  return c


README = 'facebookresearch/simsiam, README.md, "Models and Logs"'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='67.7',
         source='arXiv:2011.10566, table 1', seen='read'),
    dict(config=None, metric='linear, top-1 %, the predictor at a constant rate', value='68.1',
         source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, batch 256', value='68.3', source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='SimSiam', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
