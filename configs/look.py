"""LOOK: Rethinking Supervised Pre-training for Better Downstream Transferring (arXiv:2110.06014).

  python -m pretrain train --config=configs/look.py:fashion_mnist --workdir=runs/look

Published numbers and the paper's settings could not be looked up: only its abstract could be read.
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """LOOK on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2110.06014 with the residual network and the views of configs/demo.py. The labels of the
  training images are used. The queue holds 4,096 of the 10,000 images, some 410 of a class; an image votes with its 100
  nearest neighbours, so that a class need not be one cluster. The teacher's momentum is 0.99, for a run of hundreds of
  steps.

  Cost: 300 steps of 256 examples; some three minutes on two CPU cores.
  Result: kNN 84.2 %, linear 84.2 % (n=1, this row; random backbone 69.5 %, 71.0 %, raw pixels 81.2 %, 85.6 %).
  """
  c = two_views()
  c.objective = dict(name='look', hidden=(256,), dim=64, neighbors=100, temperature=0.1, momentum=0.99, queue=4096)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """LOOK, ResNet-50 on ImageNet-1k with the settings of MoCo v2: no row of the paper.

  arXiv:2110.06014 pre-trains on ImageNet; its network, length, rate, queue, temperature and k could not be looked up.
  All but k is that of configs/moco_v2.py:resnet50_imagenet, with its deviations. A queue of 65,536 holds some 65 images
  of each class, and k = 50 is less than that. The set is one that `python -m data prepare` wrote; another place:
  --config.source.path=DIR.

  Cost: 1,000,911 steps of 256 examples (200 epochs); not run here.
  Published: no number published in this setting.
  """
  c = on_imagenet()
  c.views = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=0.5, blur=0.5)
  c.batch = 256
  c.epochs = 200.0
  c.backbone = RESNET50 | dict(zero_init=False)
  c.objective = dict(name='look', hidden=(2048,), dim=128, neighbors=50, temperature=0.2, momentum=0.999, queue=65536)
  c.schedule = dict(name='cosine', peak=0.03)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  return c


PUBLISHED = []
