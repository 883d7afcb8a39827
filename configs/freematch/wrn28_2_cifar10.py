"""FreeMatch, WRN-28-2 on CIFAR-10 with 250 labels (arXiv:2205.07246v3): 4.85 % error in USB, three seeds.

Settings of USB (microsoft/Semi-supervised-learning, config/classic_cv/freematch/freematch_cifar10_250_0.yaml and
semilearn/), by the authors; the paper's own runs are TorchSSL's, whose settings differ in the weight of fairness (0.01,
config/freematch_entropy). Deviation: the grey square of the strong views has half the side (theirs: up to half of it).
configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/freematch/wrn28_2_cifar10.py --workdir=runs/freematch_wrn28_2_cifar10
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
  c.objective = dict(name='freematch', classes=10, momentum=0.999, unlabeled_weight=1.0, fairness_weight=0.001,
                     ema_momentum=0.999)
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
