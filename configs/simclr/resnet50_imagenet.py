"""SimCLR, ResNet-50 on ImageNet-1k, 100 epochs in batches of 4096: the default setting of arXiv:2002.05709v3.

Settings of the command for ImageNet in the authors' README ("reflects the default hyperparameters in our paper"), what
it leaves open from the defaults of their run.py; that README expects about 64.5 % of the linear probe. Pixels are not
standardised there. Deviations: crops are cut out of 256 pixels (`python -m data prepare --size=256`), not out of the
whole photograph; backbone in bfloat16. No `evaluate`: the probe holds all features in memory; give it a labeled subset.
Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/simclr/resnet50_imagenet.py --workdir=runs/simclr_resnet50_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5)
  c.batch = 4096
  c.epochs = 100.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.0,), std=(1.0,), dtype='bfloat16')
  c.objective = dict(name='simclr', hidden=(2048,), dim=128, temperature=0.1)
  c.schedule = dict(name='cosine', peak=4.8, warmup_steps=3127)  # 0.3 * 4096 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9)
  c.checkpoint = dict(every_steps=1000)
  return c
