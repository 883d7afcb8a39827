"""EfficientTrain's curriculum on the embedded 10,000 images of Fashion-MNIST; not run to its end here.

No row of a paper: as arXiv:2211.09703 (ET_training.py of the authors' code) five phases of equal length, low
frequencies of 160, 160, 160, 192 and 224 of 224 pixels (here 20, 24 and 28 of 28) and RandAugment's magnitudes 1, 3, 5,
7, 9 of 10. Against the same without it: --config.phases="()"

  python -m pretrain train --config=configs/efficienttrain/fashion_mnist.py --workdir=runs/efficienttrain
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, magnitude=0.9)
  c.batch = 128
  c.steps = 500
  c.phases = tuple((100 * (i + 1), dict(bandwidth=b, magnitude=m))
                   for i, (b, m) in enumerate([(20, 0.1), (20, 0.3), (20, 0.5), (24, 0.7)]))
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='supervised', classes=10)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=50)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=250)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=250)
  return c
