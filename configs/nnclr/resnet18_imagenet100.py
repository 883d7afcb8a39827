"""NNCLR, ResNet-18 on ImageNet-100 for 400 epochs: 80.16 % (linear) in solo-learn's README; no row of the paper.

arXiv:2104.14548v2 (ResNet-50 on ImageNet-1k, 75.6 %) has no public code, and its settings could not be looked up. These
are of vturrisi/solo-learn, scripts/pretrain/imagenet-100/nnclr.yaml and augmentations/asymmetric.yaml. Deviations: LARS
multiplies its ratio by the rate, theirs takes the smaller of the two (clip_lr); the warm-up starts at 0; crops are cut
out of the 256 pixels that `python -m data prepare --size=256` keeps. Backbone in bfloat16. No `evaluate`: give it a
labeled subset. The set is 100 classes of ImageNet; another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/nnclr/resnet18_imagenet100.py --workdir=runs/nnclr_resnet18_imagenet100
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet100', split='train', size=256)
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 256
  c.epochs = 400.0
  c.backbone = dict(name='resnet', depth=18, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='nnclr', hidden=(2048, 2048), dim=256, predictor_hidden=4096, temperature=0.2, queue=65536)
  c.schedule = dict(name='cosine', peak=0.4, warmup_steps=4950)  # 0.4 * 256 / 256; 10 epochs of 126,689 images
  c.optimizer = dict(name='lars', weight_decay=1e-5, momentum=0.9, trust_coefficient=0.02, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=2000)
  return c
