"""SimCLR v2 on the embedded Fashion-MNIST, 25 labels a class of 10,000 images: three runs of 800, 200 and 600 steps.

A small-scale run: a projector of three layers, fine-tuning from its first one, and distillation without labels at
temperature 1 with crops and flips, as in arXiv:2006.10029v2; a ResNet of three blocks, which is its own student.

  python -m pretrain program --config=configs/simclr2/fashion_mnist.py --workdir=runs/simclr2
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='simclr2', test=dict(name='fashion_mnist', split='test'))
  source = dict(name='fashion_mnist', split='train')
  crops = dict(name='supervised', size=28, scale=(0.5, 1.0), flip=0.5)
  run = dict(
      seed=0,
      backbone=dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,)),
      optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=1e-4),
      checkpoint=dict(every_steps=200))
  c.pretrain = run | dict(
      source=source, batch=128, steps=800, schedule=dict(name='cosine', peak=0.2, warmup_steps=50),
      views=dict(name='simclr', size=28, scale=(0.3, 1.0), jitter=0.5, blur=0.0),
      objective=dict(name='simclr', hidden=(128, 128), dim=64, temperature=0.2))
  c.finetune = run | dict(
      source=source, labels=dict(per_class=25, seed=0), views=crops, batch=64, steps=200,
      objective=dict(name='supervised', classes=10, projector=(128,)), schedule=dict(name='cosine', peak=0.02))
  c.distill = run | dict(
      views=crops, batch=64, steps=600, objective=dict(name='distill', classes=10, temperature=1.0),
      schedule=dict(name='cosine', peak=0.1, warmup_steps=20))
  return c
