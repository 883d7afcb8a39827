"""DINOv2, ViT-L/14: 10,000 steps at 518 pixels after those of vit_l14_imagenet22k.py; arXiv:2304.07193v2, appendix B.

All that is said there, from memory: begun with the pretrained weights (here the teacher's), all schedules compressed
into 10,000 steps, a smaller rate than before (how small is not said; here a tenth, not tuned). Local crops stay as they
were, learned positions are interpolated to 37 x 37 patches. Deviations otherwise: those of the first run, and crops are
cut out of 592 pixels (`python -m data prepare --size=592`).

  python -m pretrain train --config=configs/dinov2/vit_l14_imagenet22k_518px.py --workdir=runs/dinov2_vit_l14_518px
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet22k_592', split='train', size=592)
  c.views = dict(name='dino', size=518, local_size=98, local_crops=8, global_scale=(0.32, 1.0),
                 local_scale=(0.05, 0.32))
  c.batch = 3072
  c.steps = 10_000
  c.initialize = dict(workdir='runs/dinov2_vit_l14_imagenet22k', averaged=True,
                      parts=('backbone', 'head', 'patch_head'))
  c.backbone = dict(name='vit', variant='L/14', image=224, channels=3, drop_path=0.4, layer_scale=1e-5,
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='dinov2', prototypes=131072, patch_prototypes=131072, hidden=2048, bottleneck=384,
                     patch_bottleneck=256, mask_ratio=(0.1, 0.5), koleo_weight=0.1, student_temperature=0.1,
                     teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=600,
                     momentum=0.994, freeze_prototypes_steps=20)
  c.schedule = dict(name='cosine', peak=3.46e-5, warmup_steps=1600, end=1e-6, linspace=True)
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.2, clip_norm=3.0)
  c.checkpoint = dict(every_steps=1000)
  return c
