"""SwAV, ResNet-50 on ImageNet-1k for 800 epochs, 2x224 + 6x96 crops: arXiv:2006.09882v5, 75.3 % (linear).

Settings of the authors' script `swav_800ep_pretrain.sh`. Deviations: LARS does not scale or decay biases and norms and
adds the decay before it takes the gradient's norm; the warm-up starts at 0 instead of 0.3; batch normalisation is over
the whole batch instead of groups of 8 devices; crops are cut out of 256 pixels (`python -m data prepare --size=256`),
not out of the whole photograph. Encoder in bfloat16. No `evaluate`: the probe holds all features in memory; give it a
labeled subset.
The set is one that `python -m data prepare` wrote; another place: --config.source.path=DIR.

  python -m pretrain train --config=configs/swav/resnet50_imagenet.py --workdir=runs/swav_resnet50
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='dino', size=224, local_size=96, local_crops=6, global_scale=(0.14, 1.0),
                 local_scale=(0.05, 0.14), jitter=(0.8, 0.8, 0.8, 0.2), blur=(0.5, 0.5, 0.5), solarize=0.0)
  c.batch = 4096
  c.epochs = 800.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.228, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='swav', hidden=(2048,), dim=128, prototypes=3000, temperature=0.1, epsilon=0.05, iterations=3,
                     freeze_prototypes_steps=313)
  c.schedule = dict(name='cosine', peak=4.8, end=0.0048, warmup_steps=3128, linspace=True)  # 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9, rate_in_velocity=False)
  c.checkpoint = dict(every_steps=2000)
  return c
