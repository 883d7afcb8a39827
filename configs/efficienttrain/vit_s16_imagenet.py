"""DeiT-S/16 on ImageNet-1k for 300 epochs by EfficientTrain's curriculum: arXiv:2211.09703, ET_training.py there.

Five phases of 60 epochs: 160, 160, 160, 192, 224 of 224 pixels, RandAugment's magnitudes 1, 3, 5, 7, 9 of 10. The
authors' README gives 80.3 -> 81.3 % for DeiT-S (with EfficientTrain++). Deviations: no mixup, cutmix and erasing;
RandAugment and crops are those of `views.supervised`, out of 256 pixels (`python -m data prepare --size=256`).

  python -m pretrain train --config=configs/efficienttrain/vit_s16_imagenet.py --workdir=runs/efficienttrain_vit_s16
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='supervised', size=224, scale=(0.08, 1.0), operations=2, magnitude=0.9,
                 probability=0.5)
  c.batch = 4096
  c.steps = 93_835  # 300 epochs
  c.phases = tuple((18_767 * (i + 1), dict(bandwidth=b, magnitude=m))
                   for i, (b, m) in enumerate([(160, 0.1), (160, 0.3), (160, 0.5), (192, 0.7)]))
  c.backbone = dict(name='vit', variant='S/16', image=224, channels=3, drop_path=0.1, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='supervised', classes=1000, label_smoothing=0.1)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=6256, end=1e-6)  # 20 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.05, clip_norm=5.0)
  c.checkpoint = dict(every_steps=2000)
  c.evaluate = dict(train=dict(name='array_record', path='data_sets/imagenet', split='train', size=256),
                    test=dict(name='array_record', path='data_sets/imagenet', split='validation', size=256), size=224)
  return c
