"""Pi-model, WRN-28-2 on CIFAR-10 with 250 labels, as compared in arXiv:1905.02249v2: 53.02 % error.

The number as arXiv:1904.12848 quotes it in table 9; the network of arXiv:1610.02242v3 is another one. Settings of
google-research/mixmatch (pi_model.py with the flags of runs/table1.sh). Deviations: the weight grows as exp(-5 (1 -
x)^2), theirs linearly, over the same 0.4 of the run; labeled images take part in the consistency, and its gradient goes
through both passes. configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/pi_model/wrn28_2_cifar10.py --workdir=runs/pi_model_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0, labeled_strong=True)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='pi_model', classes=10, unlabeled_weight=20.0, ramp_steps=419430, ema_momentum=0.999)
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
