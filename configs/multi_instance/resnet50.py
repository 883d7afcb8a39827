"""Multi-instance prediction of 1,000 fractal codes, ResNet-50, 90 epochs of a million images: arXiv:2110.03091v2.

Data, network, optimizer and length are those of the authors' code, training/config (experiment multifrac, data
multifractal, model multilabelclass); fine-tuned it reaches 92.7-98.1 % of the accuracies of an ImageNet-trained network
(abstract). Deviations: one cosine instead of half ones up and down (OneCycle with no warm-up and an end of 1/25,000);
the batch of all their GPUs is not said there: 256; see the views for how images differ. No `evaluate`: it wants a set.

  python -m pretrain train --config=configs/multi_instance/resnet50.py --workdir=runs/fractals_resnet50
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fractals', codes=1000, per_code=1000)
  c.views = dict(name='fractal_scenes', size=224, channels=3, points=100_000, codes=1000, seed=0)
  c.batch = 256
  c.epochs = 90.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.485, 0.456, 0.406),
                    std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='multi_instance', classes=1000, weighted=True)
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=0)
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
  c.checkpoint = dict(every_steps=2000)
  return c
