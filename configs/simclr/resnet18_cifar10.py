"""SimCLR on CIFAR-10, settings of arXiv:2002.05709v3 appendix B.9, with ResNet-18 instead of its ResNet-50.

As there: 3x3 stem without pooling, colour strength 0.5 without blur, LARS with linear scaling of the rate 1.0 (one of
0.5, 1.0, 1.5), temperature 0.5, a batch of 512, 1,000 epochs. ResNet-18 and these choices within the appendix's grids
are those of the authors' README, which expects about 91 % of the linear probe.
The folder holds train/ and test/ with one folder per class; another place: --config.source.path=DIR and the same for
evaluate.train.path and evaluate.test.path.

  python -m pretrain train --config=configs/simclr/resnet18_cifar10.py --workdir=runs/simclr_resnet18_cifar10
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path='data_sets/cifar10', split='train', size=32)
  c.views = dict(name='simclr', size=32, scale=(0.08, 1.0), jitter=0.5, blur=0.0)
  c.batch = 512
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=18, stem='cifar', channels=3, mean=(0.0,), std=(1.0,))
  c.objective = dict(name='simclr', hidden=(512,), dim=128, temperature=0.5)
  c.schedule = dict(name='cosine', peak=2.0, warmup_steps=977)  # 1.0 * 512 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9)
  c.checkpoint = dict(every_steps=1000)
  c.evaluate = dict(train=dict(name='folder', path='data_sets/cifar10', split='train', size=32),
                    test=dict(name='folder', path='data_sets/cifar10', split='test', size=32), every_steps=5000)
  return c
