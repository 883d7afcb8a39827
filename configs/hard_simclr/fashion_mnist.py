"""SimCLR with the tenth of the negatives that is most similar, on the embedded 10,000 images of Fashion-MNIST.

A small-scale run of arXiv:2012.09740v2's hard contrastive loss with everything else as in configs/demo.py; the paper's
ResNet-18 learns CIFAR, SVHN and a part of ImageNet.

  python -m pretrain train --config=configs/hard_simclr/fashion_mnist.py --workdir=runs/hard_simclr_fashion_mnist
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
  c.objective = dict(name='hard_simclr', hidden=(256,), dim=64, temperature=0.4, share=0.1)
  c.schedule = dict(name='cosine', peak=8e-3, warmup_steps=30)
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=100)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=100)
  return c
