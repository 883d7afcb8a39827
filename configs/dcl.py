"""DCL: Decoupled Contrastive Learning (arXiv:2110.06848v3).

  python -m pretrain train --config=configs/dcl.py:fashion_mnist --workdir=runs/dcl
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """DCL on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2110.06848v3 with the residual network and the views of configs/demo.py; sigma=0.5 gives
  DCLW.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 82.3 %, linear 83.2 % (n=1, docs/recipes.md); kNN 93.3 ± 0.7 %, linear 94.9 ± 0.4 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='dcl', hidden=(256,), dim=64, temperature=0.2, sigma=None)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """DCL, ResNet-50 on ImageNet-1k for 200 epochs in batches of 256: arXiv:2110.06848v3, 68.2 % (linear, abstract).

  The paper's rates could not be looked up. Optimizer and views are those of the run of 100 epochs that lightly
  publishes (lightly-ai/lightly, benchmarks/imagenet/resnet50/dcl.py; 65.1 %), which are SimCLR's: LARS, the rate with
  the square root of the batch. Deviations: crops are cut out of the 256 pixels that `python -m data prepare --size=256`
  keeps. Backbone in bfloat16. No `evaluate`: the probe holds all features in memory; give it a labeled subset. Another
  place of the set: --config.source.path=DIR.

  Cost: 1,000,911 steps of 256 examples (200 epochs); not run here.
  Published: linear, top-1 %: 68.2.
  """
  c = on_imagenet(checkpoint_steps=5000)
  c.views = dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5)
  c.batch = 256
  c.epochs = 200.0
  c.backbone = RESNET50 | dict(zero_init=False)
  c.objective = dict(name='dcl', hidden=(2048,), dim=128, temperature=0.1, sigma=None)
  c.schedule = dict(name='cosine', peak=1.2, warmup_steps=50040)  # 0.075 * sqrt(256); 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  return c


ABSTRACT = 'arXiv:2110.06848v3, abstract'
LIGHTLY = 'lightly-ai/lightly, docs/source/getting_started/benchmarks.rst'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='68.2', source=ABSTRACT, seen='read'),
    dict(config=None, metric='points above SimCLR in the same setting', value='6.4', source=ABSTRACT, seen='read'),
    dict(config=None, metric='linear, top-1 %, DCL with NNCLR, batch 512, 400 epochs', value='72.3',
         source=ABSTRACT, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, batch 256, 100 epochs, DCL', value='65.1',
         source=LIGHTLY, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, batch 256, 100 epochs, DCLW', value='64.5',
         source=LIGHTLY, seen='read'),
]

TABLE = dict(table='dcl_batch_size', row='DCL', column='32', metric='linear', than=dict(row='InfoNCE (SimCLR)'),
             claim='At a small batch (32), a loss without the positive in its denominator is better than InfoNCE.')
