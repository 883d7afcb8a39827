"""iBOT, ViT-S/16 on ImageNet-1k for 800 epochs with 2x224 + 10x96 crops: arXiv:2111.07832v3, the command of the README.

The authors' README gives 75.2 % (kNN) and 77.9 % (linear). Deviations: the gradient is clipped as a whole, theirs array
by array; crops are cut out of 256 pixels (`python -m data prepare --size=256`); those of `views.dino`. Backbone in
bfloat16. No `evaluate`: the probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  python -m pretrain train --config=configs/ibot/vit_s16_imagenet.py --workdir=runs/ibot_vit_s16_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='dino', size=224, local_size=96, local_crops=10, global_scale=(0.25, 1.0),
                 local_scale=(0.05, 0.25))
  c.batch = 1024
  c.steps = 1000800  # 800 epochs of 1,281,167 // 1,024 = 1,251 steps
  c.backbone = dict(name='vit', variant='S/16', image=224, channels=3, drop_path=0.1, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='ibot', prototypes=8192, hidden=2048, bottleneck=256, normalize_last=False,
                     mask_probability=0.5, mask_ratio=(0.1, 0.5), student_temperature=0.1, teacher_temperature=0.07,
                     teacher_patch_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=37530,
                     teacher_warmup_every=1251, momentum=0.996, center_momentum=0.9, freeze_prototypes_steps=1251)
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=12510, end=1e-6, linspace=True)  # 5e-4 * 1024 / 256
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.4, clip_norm=3.0)
  c.checkpoint = dict(every_steps=2000)
  return c
