"""MAE pre-pretraining: The effectiveness of MAE pre-pretraining for billion-scale pretraining (arXiv:2303.13496v3).

Published numbers could not be looked up.

  python -m pretrain program --config=configs/mae_prepretrain.py:fashion_mnist --workdir=runs/mae_prepretrain
"""
from ml_collections import ConfigDict

from configs.common import FASHION_MNIST, FASHION_MNIST_TEST, VIT


def fashion_mnist():
  """MAE before supervised training on the embedded Fashion-MNIST: 10,000 images, then 25 labels per class.

  A small-scale run of arXiv:2303.13496v3, with few labels for many weak ones (`noisy_labels` makes weak ones), without
  the last stage. launch/tables/mae_prepretrain.py compares it with training from scratch.

  Cost: 800 and 300 steps of 128 examples; some minutes.
  Result: accuracy 69.4 ± 2.3 %, of labels alone 66.8 ± 3.0 % (n=5, docs/tables/mae_prepretrain.md). Measured before a
  change that docs/recipes.md names.
  """
  c = ConfigDict()
  c.program = dict(name='mae_prepretrain', test=FASHION_MNIST_TEST)
  run = dict(
      seed=0, batch=128, checkpoint=dict(every_steps=200), optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05),
      backbone=VIT | dict(width=96, mlp=192, pool='mean', positions='sincos'))
  c.prepretrain = run | dict(
      source=FASHION_MNIST, views=dict(name='mae', size=28, scale=(0.4, 1.0)), steps=800,
      objective=dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2, standardize=True),
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=80))
  c.pretrain = run | dict(
      source=FASHION_MNIST, labels=dict(per_class=25, seed=0), views=dict(name='supervised', size=28, pad=2, flip=0.5),
      objective=dict(name='supervised', classes=10), steps=300,
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=30))
  return c


PUBLISHED = []

TABLE = dict(table='mae_prepretrain', row='MAE, then labels', column='4', metric='accuracy',
             than=dict(row='labels alone'),
             claim='MAE before training with labels is better than labels from scratch.')
