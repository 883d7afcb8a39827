"""UDA, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:1904.12848v6): 94.57 % accuracy in the authors' README.

Settings of the authors' code (google-research/uda, image/scripts/run_cifar10_gpu.sh and the defaults of image/main.py).
Deviations: labels are as many of each class; augmented images are new each time (theirs: one of 100 kept ones), the
operations are FixMatch's, of continuous strengths (theirs: fifteen, of nine strengths).
configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/uda/wrn28_2_cifar10.py --workdir=runs/uda_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=448)
  c.views = dict(name='fixmatch', probability=0.5)
  c.batch = 64
  c.steps = 500000
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.4914, 0.4822, 0.4465),
                    std=(0.2470, 0.2435, 0.2616))
  c.objective = dict(name='uda', classes=10, threshold=0.8, temperature=0.4, unlabeled_weight=1.0, ema_momentum=0.9999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
