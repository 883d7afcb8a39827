"""SimCLRv2's pretraining with its memory on the embedded 10,000 images of Fashion-MNIST: minutes on two CPU cores.

A small-scale run of arXiv:2006.10029v2, section 2, with the residual network and the views of configs/demo.py: a queue
of 4,096 keys instead of 65,536, and a momentum of 0.99 instead of 0.999, for a run of hundreds of steps.

  python -m pretrain train --config=configs/simclr_v2/fashion_mnist.py --workdir=runs/simclr_v2_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='simclr', size=28, scale=(0.4, 1.0), jitter=0.8, blur=0.5)
  c.batch = 256
  c.steps = 300
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=32, stem='imagenet', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='simclr_v2', hidden=(256, 256), dim=64, temperature=0.4, momentum=0.99, queue=4096)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
