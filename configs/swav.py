"""SwAV: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (arXiv:2006.09882v5).

  python -m pretrain train --config=configs/swav.py:fashion_mnist --workdir=runs/swav
"""
from configs.common import on_imagenet, two_views


def fashion_mnist():
  """SwAV on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2006.09882v5 with the residual network of configs/demo.py: 128 prototypes instead of 3,000,
  2 local crops instead of 6, no queue.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 79.7 %, linear 83.0 % (n=1, docs/recipes.md); kNN 93.9 ± 0.7 %, linear 94.6 ± 0.8 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md. Measured before a change that
  docs/recipes.md names.
  """
  c = two_views()
  c.views = dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
                 jitter=(0.64, 0.64, 0.64, 0.16), blur=(0.5, 0.5, 0.5), solarize=0.0)
  c.objective = dict(name='swav', hidden=(256,), dim=64, prototypes=128, temperature=0.1, epsilon=0.05, iterations=3,
                     freeze_prototypes_steps=40)  # one epoch
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """SwAV, ResNet-50 on ImageNet-1k for 800 epochs, 2x224 + 6x96 crops: arXiv:2006.09882v5, 75.3 % (linear).

  Settings of the authors' script `swav_800ep_pretrain.sh`. Deviations: LARS does not scale or decay biases and norms
  and adds the decay before it takes the gradient's norm; the warm-up starts at 0 instead of 0.3; batch normalisation is
  over the whole batch instead of groups of 8 devices; crops are cut out of 256 pixels (`python -m data prepare
  --size=256`), not out of the whole photograph. Encoder in bfloat16. No `evaluate`: the probe holds all features in
  memory; give it a labeled subset. The set is one that `python -m data prepare` wrote; another place:
  --config.source.path=DIR.

  Cost: 250,227 steps of 4,096 examples (800 epochs); not run here.
  Published: linear, top-1 %: 75.3.
  """
  c = on_imagenet()
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
  return c


README = 'facebookresearch/swav, README.md, "Model Zoo"'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='75.3', source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, 200 epochs, batch 256', value='72.7', source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='SwAV', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
