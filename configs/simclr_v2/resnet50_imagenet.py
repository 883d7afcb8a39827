"""SimCLRv2's pretraining with its memory, ResNet-50 on ImageNet, 800 epochs in batches of 4096.

arXiv:2006.10029v2, section 2: a projector of three layers and the memory of MoCo, 65,536 keys and a momentum of 0.999
(from memory). Everything else is as in configs/simclr2/resnet50_imagenet_1pct.py, whose first stage is the authors'
code, without the memory.

  python -m pretrain train --config=configs/simclr_v2/resnet50_imagenet.py --workdir=runs/simclr_v2_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5)
  c.batch = 4096
  c.epochs = 800.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.0,), std=(1.0,), dtype='bfloat16')
  c.objective = dict(name='simclr_v2', hidden=(2048, 2048), dim=128, temperature=0.1, momentum=0.999, queue=65536)
  c.schedule = dict(name='cosine', peak=4.8, warmup_steps=3127)  # 0.075 sqrt(4096); 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-4, momentum=0.9)
  c.checkpoint = dict(every_steps=1000)
  return c
