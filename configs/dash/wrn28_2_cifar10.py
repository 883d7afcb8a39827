"""Dash, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:2109.00650v1): 5.13 % error in USB, three seeds.

Settings of USB (microsoft/Semi-supervised-learning, config/classic_cv/dash/dash_cifar10_250_0.yaml and semilearn/): not
by the authors, whose one script (idstcv/Dash, start_train.sh) is for SVHN, with the same base, temperature and lowest
threshold, but no constant, twice the rate and a threshold that falls every 9 of its epochs, not 10. Deviations: the
grey square of the strong views has half the side (theirs: up to half of it); the first threshold is the mean labeled
loss of the last 100 steps of the warm-up (theirs: of the images that it is evaluated with, after it); the warm-up is
part of the 2^20 steps (theirs: before them); examples are selected by the loss of their class throughout (theirs: of
the soft target while there is one). configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/dash/wrn28_2_cifar10.py --workdir=runs/dash_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=448)
  c.views = dict(name='fixmatch', operations=3)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225))
  c.objective = dict(name='dash', classes=10, constant=1.0001, base=1.27, lowest=0.05, every_steps=10240,
                     warmup_steps=2048, estimate_steps=100, temperature=0.5, unlabeled_weight=1.0, ema_momentum=0.999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
