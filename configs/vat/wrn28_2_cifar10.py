"""VAT with entropy, WRN-28-2 on CIFAR-10 with 250 labels, as compared in arXiv:1905.02249v2: 36.03 % error.

The number as arXiv:1904.12848 quotes it in table 9; the network of arXiv:1704.03976v2 is another one, and its images
are whitened. Settings of google-research/mixmatch (vat.py with the flags of runs/table1.sh); a perturbation of length 6
of pixels in [-1, 1] is one of 3 here. Deviation: the weight does not grow, theirs does over 0.4 of the run.
configs/fixmatch/wrn28_2_cifar10.py says where the images are.

  python -m pretrain train --config=configs/vat/wrn28_2_cifar10.py --workdir=runs/vat_wrn28_2_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.views = dict(name='fixmatch', operations=0, cutout_share=0.0)
  c.batch = 64
  c.steps = 1048576
  c.backbone = dict(name='wide_resnet', depth=28, widen=2, channels=3, mean=(0.5,), std=(0.5,))
  c.objective = dict(name='vat', classes=10, epsilon=3.0, iterations=1, unlabeled_weight=0.3, entropy_weight=0.06,
                     ema_momentum=0.999)
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  c.checkpoint = dict(every_steps=5000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=20000)
  return c
