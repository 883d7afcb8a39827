"""DINOv2, ViT-g/14 (1.1 billion parameters) on ImageNet-22k: vitg14.yaml of the authors' code, for 625,000 steps.

Of that file's settings vitl14.yaml has the same; the batch is that of configs/dinov2/vit_l14_imagenet22k.py, as are
the deviations. Their giant is 1536 wide with gated MLPs of 4096; here plain ones of 6144, of as many parameters. Their
published ViT-g was trained on LVD-142M, which is not public. Another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/dinov2/vit_g14_imagenet22k.py --workdir=runs/dinov2_vit_g14_imagenet22k
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet22k', split='train', size=256)
  c.views = dict(name='dino', size=224, local_size=98, local_crops=8, global_scale=(0.32, 1.0),
                 local_scale=(0.05, 0.32))
  c.batch = 3072
  c.steps = 625_000  # 500 "epochs" of 1250
  c.backbone = dict(name='vit', patch=14, width=1536, depth=40, heads=24, mlp=6144, image=224, channels=3,
                    drop_path=0.4, layer_scale=1e-5, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
                    dtype='bfloat16', scan=True, remat='everything')
  c.objective = dict(name='dinov2', prototypes=131072, patch_prototypes=131072, hidden=2048, bottleneck=384,
                     patch_bottleneck=256, mask_ratio=(0.1, 0.5), koleo_weight=0.1, student_temperature=0.1,
                     teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=37_500,
                     momentum=0.994, freeze_prototypes_steps=1250)
  c.schedule = dict(name='cosine', peak=2e-4 * 3 ** 0.5, warmup_steps=100_000, end=1e-6, linspace=True)  # 3072 / 1024
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.2, clip_norm=3.0)
  c.checkpoint = dict(every_steps=2000)
  return c
