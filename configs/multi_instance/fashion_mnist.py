"""Multi-instance prediction of fractals, measured on Fashion-MNIST, of which training sees nothing: some minutes.

A small-scale run: 100 codes (1,000 in arXiv:2110.03091), grey scenes of 28 pixels on black, a ResNet of three blocks.

  python -m pretrain train --config=configs/multi_instance/fashion_mnist.py --workdir=runs/fractals
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fractals', codes=100, per_code=200)
  c.views = dict(name='fractal_scenes', size=28, channels=1, points=512, codes=100, seed=0, instances=(1, 3),
                 sides=(0.4, 1.0), background=False)
  c.batch = 128
  c.steps = 600
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='multi_instance', classes=100, weighted=True)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=50)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300, size=28)
  return c
