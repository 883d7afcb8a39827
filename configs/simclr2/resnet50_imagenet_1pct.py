"""SimCLR v2, ResNet-50 on ImageNet with 1 % of the labels (arXiv:2006.10029v2, table 1: 57.9 % after fine-tuning).

Pretraining: 800 epochs in batches of 4096, other settings those of the command for ImageNet in the authors' README and
the defaults of their run.py. Fine-tuning: the README's command for 1 %. Self-distillation: rate and decay of their
notebook, 400 epochs from memory. Deviations: those of configs/simclr/resnet50_imagenet.py, no momentum memory, and the
1 % is drawn here. The paper's 73.9 % of ResNet-50 are those of a larger teacher.

  python -m pretrain program --config=configs/simclr2/resnet50_imagenet_1pct.py --workdir=runs/simclr2_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='simclr2')
  source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.0,), std=(1.0,), dtype='bfloat16')
  run = dict(seed=0, batch=4096, backbone=backbone, checkpoint=dict(every_steps=1000))
  supervised = dict(name='supervised', size=224, scale=(0.08, 1.0), flip=0.5)
  c.pretrain = run | dict(
      source=source, views=dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5), epochs=800.0,
      objective=dict(name='simclr', hidden=(2048, 2048), dim=128, temperature=0.1),
      schedule=dict(name='cosine', peak=4.8, warmup_steps=3127),  # 0.075 sqrt(4096); 10 epochs
      optimizer=dict(name='lars', weight_decay=1e-4, momentum=0.9))
  c.finetune = run | dict(
      source=source, labels=dict(count=12811, seed=0), views=supervised, batch=1024, epochs=60.0,
      objective=dict(name='supervised', classes=1000, projector=(2048,)),
      schedule=dict(name='cosine', peak=0.16), optimizer=dict(name='lars', weight_decay=0.0, momentum=0.9))
  c.distill = run | dict(
      views=supervised, epochs=400.0, objective=dict(name='distill', classes=1000, temperature=1.0),
      schedule=dict(name='cosine', peak=2.0), optimizer=dict(name='lars', weight_decay=1e-4, momentum=0.9))
  return c
