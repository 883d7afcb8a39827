"""Self-training on the embedded Fashion-MNIST, 25 labels a class of 10,000 images: three runs of 400 steps.

No row of a paper: labels of a confidence of at least 0.9 train two students, one after the other; soft ones with
--config.program.admission="dict(threshold=0.9, soft=True)"
--config.student.objective="dict(name='distill', classes=10, temperature=1.0)".

  python -m pretrain program --config=configs/self_training/fashion_mnist.py --workdir=runs/self_training
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='self_training', admission=dict(threshold=0.9), generations=2,
                   test=dict(name='fashion_mnist', split='test'))
  run = dict(
      seed=0,
      views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
      batch=64,
      steps=400,
      backbone=dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='cifar', channels=1, mean=(0.286,),
                    std=(0.353,)),
      objective=dict(name='supervised', classes=10),
      schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
      optimizer=dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4),
      checkpoint=dict(every_steps=200))
  c.teacher = run | dict(source=dict(name='fashion_mnist', split='train'), labels=dict(per_class=25, seed=0))
  c.student = run
  return c
