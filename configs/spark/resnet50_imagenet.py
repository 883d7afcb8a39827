"""SparK, ResNet-50 on ImageNet-1k for 1,600 epochs: the defaults of the authors' code, pretrain/utils/arg_util.py.

Their README: 80.6 % after fine-tuning at 224 pixels. Deviations: warm-up from 0 instead of 0.005 of the peak; crops
are cut out of the 256 pixels that `python -m data prepare --size=256` keeps, bilinear. No `evaluate`: the probe holds
all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/spark/resnet50_imagenet.py --workdir=runs/spark_resnet50_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='mae', size=224, scale=(0.67, 1.0), flip=0.5)
  c.batch = 4096
  c.epochs = 1600.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='spark', mask_ratio=0.6, decoder_width=768)
  c.schedule = dict(name='cosine', peak=3.2e-3, warmup_steps=12511, end=3.2e-6)  # 2e-4 * 4096 / 256; 40 epochs
  c.optimizer = dict(name='lamb', b2=0.95, weight_decay=0.04, weight_decay_end=0.2, clip_norm=5.0)
  c.checkpoint = dict(every_steps=2000)
  return c
