"""SparK on the embedded 10,000 images of Fashion-MNIST: some minutes on two CPU cores.

A small-scale run: mask ratio and targets are those of arXiv:2301.03580; a ResNet of three blocks, patches of 4 pixels.

  python -m pretrain train --config=configs/spark/fashion_mnist.py --workdir=runs/spark_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='mae', size=28, scale=(0.67, 1.0))
  c.batch = 128
  c.steps = 400
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='spark', mask_ratio=0.6, decoder_width=64)
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=40)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=5.0)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=200)
  return c
