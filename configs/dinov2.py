"""DINOv2: Learning Robust Visual Features without Supervision (arXiv:2304.07193v2).

Published numbers: on ImageNet-1k.

  python -m pretrain train --config=configs/dinov2.py:fashion_mnist --workdir=runs/dinov2
"""
from configs.common import VIT_224, crops_and_patches, on_imagenet


def fashion_mnist():
  """DINOv2 on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2304.07193v2: masks, Sinkhorn-Knopp and weights as there; 1,024 prototypes per head instead
  of 131,072, 2 local crops, and a teacher's momentum that starts at 0.98, for hundreds of steps.

  Cost: 600 steps of 128 examples; some ten minutes on two CPU cores.
  Result: kNN 67.5 ± 0.8 %, linear 68.0 ± 0.6 % (n=3; random backbone 60.5 ± 1.0 %, 66.2 ± 1.1 %) in the setting of
  docs/tables/learning_fashion_mnist.md. Measured before a change that docs/recipes.md names.
  """
  c = crops_and_patches()
  c.objective = dict(name='dinov2', prototypes=1024, patch_prototypes=1024, hidden=256, bottleneck=64,
                     patch_bottleneck=64, mask_ratio=(0.1, 0.5), koleo_weight=0.1, student_temperature=0.1,
                     teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=180,
                     momentum=0.98, freeze_prototypes_steps=78)  # one epoch
  return c


def fashion_mnist_large_crops():
  """DINOv2 with a last phase of large crops, on the embedded 10,000 images of Fashion-MNIST.

  As `configs/dinov2.py:fashion_mnist`, but the last tenth of the steps sees crops of 40 and 24 pixels instead of 28 and
  16, as arXiv:2304.07193v2, "Adapting the resolution" (from memory), ends at 518 pixels; learned positions are
  interpolated to their 10 x 10 and 6 x 6 patches.

  Cost: 600 steps of 128 examples; not run to its end here.
  Result: no number measured.
  """
  c = fashion_mnist()
  c.views.size, c.views.local_size = 40, 24
  c.phases = ((540, dict(size=28, local_size=16)),)
  c.evaluate.size = 28
  return c


def vit_l14_imagenet22k():
  """DINOv2, ViT-L/14 on ImageNet-22k for 625,000 steps: arXiv:2304.07193v2, vitl14.yaml of the authors' code.

  Their README gives 82.0 % (kNN) and 84.5 % (linear on ImageNet-1k). Deviations: plain MLPs instead of SwiGLU;
  drop_path rises with the depth, theirs is uniform; the patches' projection learns at the full rate, theirs at 0.2 of
  it; the gradient is clipped as a whole, theirs module by module; crops are cut out of 256 pixels (`python -m data
  prepare --size=256`); those of `views.dino`. Backbone in bfloat16. No `evaluate`: give it labeled subsets. Another
  place: --config.source.path=DIR.

  Cost: 625,000 steps of 3,072 examples; not run here. Predicted: 63 to 93 hours on v5e:16x16, 14 to 25 on h100:32x8,
  with `scan` and `remat` (docs/scale.md).
  Published: kNN, top-1 %: 82.0; linear, top-1 %: 84.5.
  """
  c = on_imagenet()
  c.source.path = 'data_sets/imagenet22k'
  c.views = dict(name='dino', size=224, local_size=98, local_crops=8, global_scale=(0.32, 1.0),
                 local_scale=(0.05, 0.32))
  c.batch = 3072
  c.steps = 625_000  # 500 "epochs" of 1250
  c.backbone = VIT_224 | dict(variant='L/14', drop_path=0.4, layer_scale=1e-5)
  c.objective = dict(name='dinov2', prototypes=131072, patch_prototypes=131072, hidden=2048, bottleneck=384,
                     patch_bottleneck=256, mask_ratio=(0.1, 0.5), koleo_weight=0.1, student_temperature=0.1,
                     teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=37_500,
                     momentum=0.994, freeze_prototypes_steps=1250)
  c.schedule = dict(name='cosine', peak=2e-4 * 3 ** 0.5, warmup_steps=100_000, end=1e-6, linspace=True)  # 3072 / 1024
  c.optimizer = dict(name='adamw', weight_decay=0.04, weight_decay_end=0.2, clip_norm=3.0)
  return c


def vit_g14_imagenet22k():
  """DINOv2, ViT-g/14 (1.1 billion parameters) on ImageNet-22k: vitg14.yaml of the authors' code, for 625,000 steps.

  Of that file's settings vitl14.yaml has the same; the batch is that of configs/dinov2.py:vit_l14_imagenet22k, as are
  the deviations. Their giant is 1536 wide with gated MLPs of 4096; here plain ones of 6144, of as many parameters.
  Their published ViT-g was trained on LVD-142M, which is not public. Another place: --config.source.path=DIR.

  Cost: 625,000 steps of 3,072 examples; not run here. Predicted: 212 to 271 hours on v5e:16x16, 36 to 71 on h100:32x8
  (docs/scale.md).
  Published: no number published in this setting.
  """
  c = vit_l14_imagenet22k()
  c.backbone = VIT_224 | dict(patch=14, width=1536, depth=40, heads=24, mlp=6144, drop_path=0.4, layer_scale=1e-5,
                              scan=True, remat='everything')
  return c


def vit_l14_imagenet22k_518px():
  """DINOv2, ViT-L/14: 10,000 steps at 518 pixels after those of vit_l14_imagenet22k; arXiv:2304.07193v2, appendix B.

  All that is said there, from memory: begun with the pretrained weights (here the teacher's), all schedules compressed
  into 10,000 steps, a smaller rate than before (how small is not said; here a tenth, not tuned). Local crops stay as
  they were, learned positions are interpolated to 37 x 37 patches. Deviations otherwise: those of the first run, and
  crops are cut out of 592 pixels (`python -m data prepare --size=592`).

  Cost: 10,000 steps of 3,072 examples; not run here.
  Published: no number published in this setting.
  """
  c = vit_l14_imagenet22k()
  c.source.path, c.source.size = 'data_sets/imagenet22k_592', 592
  c.views.size = 518
  c.steps = 10_000
  c.initialize = dict(workdir='runs/dinov2_vit_l14_imagenet22k', averaged=True,
                      parts=('backbone', 'head', 'patch_head'))
  c.objective.teacher_warmup_steps = 600
  c.objective.freeze_prototypes_steps = 20
  c.schedule = dict(name='cosine', peak=3.46e-5, warmup_steps=1600, end=1e-6, linspace=True)
  c.checkpoint.every_steps = 1000
  return c


README = 'facebookresearch/dinov2, README.md, "Long setup"'
MODELS = 'facebookresearch/dinov2, README.md, "Pretrained models"'

PUBLISHED = [
    dict(config='vit_l14_imagenet22k', metric='kNN, top-1 %', value='82.0', source=README, seen='read'),
    dict(config='vit_l14_imagenet22k', metric='linear, top-1 %', value='84.5', source=README, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-g/14, LVD-142M', value='83.5', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-g/14, LVD-142M', value='86.5', source=MODELS, seen='read'),
]

TABLE = dict(table='learning_fashion_mnist', row='DINOv2', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
