"""Self Meta Pseudo Labels on the embedded Fashion-MNIST, 25 labels a class of 10,000 images.

A small-scale run: the published approximation; rates, threshold and ramp are not those of the paper and not tuned.
Everything else is as in configs/fixmatch/fashion_mnist.py.

  python -m pretrain train --config=configs/self_mpl/fashion_mnist.py --workdir=runs/self_mpl_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=112)
  c.views = dict(name='fixmatch')
  c.batch = 16
  c.steps = 1200
  c.backbone = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='self_mpl', classes=10, rate=0.03, second_order=False, threshold=0.95, unlabeled_weight=1.0,
                     ramp_steps=300)
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=300)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=300)
  return c
