"""DINOv2 with a last phase of large crops, on the embedded 10,000 images of Fashion-MNIST; not run to its end here.

As `configs/dinov2/fashion_mnist.py`, but the last tenth of the steps sees crops of 40 and 24 pixels instead of 28 and
16, as arXiv:2304.07193v2, "Adapting the resolution" (from memory), ends at 518 pixels; learned positions are
interpolated to their 10 x 10 and 6 x 6 patches.

  python -m pretrain train --config=configs/dinov2/fashion_mnist_large_crops.py --workdir=runs/dinov2_large_crops
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='dino', size=40, local_size=24, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 blur=(0.2, 0.1, 0.1), solarize=0.0)
  c.phases = ((540, dict(size=28, local_size=16)),)
  c.batch = 128
  c.steps = 600
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, mean=(0.286,),
                    std=(0.353,))
  c.objective = dict(name='dinov2', prototypes=1024, patch_prototypes=1024, hidden=256, bottleneck=64,
                     patch_bottleneck=64, mask_ratio=(0.1, 0.5), koleo_weight=0.1, student_temperature=0.1,
                     teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=180,
                     momentum=0.98, freeze_prototypes_steps=78)  # one epoch
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=3.0)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=150)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=150, size=28)
  return c
