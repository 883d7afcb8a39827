"""SigLIP on the embedded 10,000 images of Fashion-MNIST, captioned with their classes' names: 3 minutes, two cores.

A small-scale run of arXiv:2303.15343v4 with the residual network of configs/demo.py and bytes as tokens. The captions
say the class, so it is not self-supervised; many pairs of a batch share a class, which keeps the loss high.

  python -m pretrain train --config=configs/siglip/fashion_mnist.py --workdir=runs/siglip_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='captions', source=dict(name='fashion_mnist', split='train'), tokenizer='bytes', length=40,
                  templates=('a photo of a {}', 'a picture of a {}', 'a {}', 'a grey photo of a {}'))
  c.views = dict(name='supervised', size=28, scale=(0.6, 1.0))
  c.batch = 128
  c.steps = 300
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=32, stem='imagenet', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='siglip', dim=64, temperature=0.1, bias=-10.0,
                     text=dict(name='text', vocabulary=260, length=40, width=64, depth=2, heads=2, mlp=128,
                               pool='last'))
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', b2=0.95, weight_decay=1e-4)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100, templates=('a photo of a {}', 'a {}'))
  return c
