"""MoCo v2: Improved Baselines with Momentum Contrastive Learning (arXiv:2003.04297v1).

  python -m pretrain train --config=configs/moco_v2.py:fashion_mnist --workdir=runs/moco_v2
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """MoCo v2 on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2003.04297v1 with the residual network and the views of configs/demo.py: a queue of 4,096
  keys instead of 65,536, and a teacher's momentum of 0.99 instead of 0.999, for a run of hundreds of steps.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 80.2 %, linear 81.5 % (n=1, docs/recipes.md); kNN 92.2 ± 0.5 %, linear 93.9 ± 1.5 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='moco_v2', hidden=(256,), dim=64, temperature=0.2, momentum=0.99, queue=4096)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """MoCo v2, ResNet-50 on ImageNet-1k for 200 epochs: arXiv:2003.04297v1 table 1 (mlp, aug+, cos).

  Settings of the authors' code with `--mlp --moco-t 0.2 --aug-plus --cos`, whose README gives 67.5 +- 0.1 % (linear).
  Deviations: crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps, not out of the whole
  photograph; batch normalisation is over the whole batch instead of 32 examples per device with shuffled keys. Encoder
  in bfloat16. No `evaluate`: the probe holds all features in memory. The set is one that `python -m data prepare`
  wrote; another place: --config.source.path=DIR.

  Cost: 1,000,911 steps of 256 examples (200 epochs); not run here.
  Published: linear, top-1 %, mean of five runs: 67.5±0.1; linear, top-1 %, the published model: 67.7.
  """
  c = on_imagenet()
  c.views = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 256
  c.epochs = 200.0
  c.backbone = RESNET50 | dict(zero_init=False)
  c.objective = dict(name='moco_v2', hidden=(2048,), dim=128, temperature=0.2, momentum=0.999, queue=65536)
  c.schedule = dict(name='cosine', peak=0.03)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  return c


README = 'facebookresearch/moco, README.md'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %, mean of five runs', value='67.5±0.1',
         source=README, seen='read'),
    dict(config='resnet50_imagenet', metric='linear, top-1 %, the published model', value='67.7',
         source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, 800 epochs', value='71.1', source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='MoCo v2', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
