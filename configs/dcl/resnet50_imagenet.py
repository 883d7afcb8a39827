"""DCL, ResNet-50 on ImageNet-1k for 200 epochs in batches of 256: arXiv:2110.06848v3, 68.2 % (linear, abstract).

The paper's rates could not be looked up. Optimizer and views are those of the run of 100 epochs that lightly publishes
(lightly-ai/lightly, benchmarks/imagenet/resnet50/dcl.py; 65.1 %), which are SimCLR's: LARS, the rate with the square
root of the batch. Deviations: crops are cut out of the 256 pixels that `python -m data prepare --size=256` keeps.
Backbone in bfloat16. No `evaluate`: the probe holds all features in memory; give it a labeled subset. Another place of
the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/dcl/resnet50_imagenet.py --workdir=runs/dcl_resnet50_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5)
  c.batch = 256
  c.epochs = 200.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, zero_init=False,
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='dcl', hidden=(2048,), dim=128, temperature=0.1, sigma=None)
  c.schedule = dict(name='cosine', peak=1.2, warmup_steps=50040)  # 0.075 * sqrt(256); 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=5000)
  return c
