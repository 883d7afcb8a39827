"""A model's labels learned before the true ones, on the embedded Fashion-MNIST, 25 labels a class: three runs.

The method of arXiv:2011.09031v4 on images: a model of the labels labels all 10,000 images, on which a new network is
trained and then fine-tuned; 400 steps each, at one rate.

  python -m pretrain program --config=configs/predictions_plm/fashion_mnist.py --workdir=runs/predictions_plm
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='predictions_plm', unlabeled=dict(name='fashion_mnist', split='train'),
                   test=dict(name='fashion_mnist', split='test'))
  run = dict(
      seed=0,
      views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
      batch=64,
      steps=400,
      backbone=dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,)),
      objective=dict(name='supervised', classes=10),
      optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
      schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
      checkpoint=dict(every_steps=200))
  c.finetune = run | dict(source=dict(name='fashion_mnist', split='train'), labels=dict(per_class=25, seed=0))
  c.pretrain = run
  return c
