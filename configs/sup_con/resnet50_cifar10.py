"""SupCon, ResNet-50 on CIFAR-10 for 1,000 epochs: arXiv:2004.11362v5 table 2.

Settings of the PyTorch code that the paper names; its README gives 96.0 % (linear). Their loss has a factor
temperature / 0.07, which is in the rate and the decay here: 0.5 / 0.7 and 1e-4 * 0.7. Deviations: biases and norms are
not decayed; the warm-up starts at 0 instead of 0.01.
The folder holds train/ and test/ with one folder per class; another place: --config.source.path=DIR and the same for
evaluate.train.path and evaluate.test.path.

  python -m pretrain train --config=configs/sup_con/resnet50_cifar10.py --workdir=runs/sup_con_resnet50
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.views = dict(name='simclr', size=32, scale=(0.2, 1.0), jitter=0.5, blur=0.0)
  c.batch = 1024
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=50, stem='cifar', channels=3, zero_init=False, mean=(0.4914, 0.4822, 0.4465),
                    std=(0.2023, 0.1994, 0.2010))
  c.objective = dict(name='sup_con', hidden=(2048,), dim=128, temperature=0.1)
  c.schedule = dict(name='cosine', peak=0.714, end=7.14e-4, warmup_steps=488)  # 10 epochs
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=7e-5)
  c.checkpoint = dict(every_steps=1000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=5000)
  return c
