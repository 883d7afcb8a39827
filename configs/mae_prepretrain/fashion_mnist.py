"""MAE before supervised training on the embedded Fashion-MNIST: 10,000 images, then 25 labels a class; some minutes.

A small-scale run of arXiv:2303.13496v3, with few labels for many weak ones (`noisy_labels` makes weak ones), without
the last stage. launch/tables/mae_prepretrain.py compares it with training from scratch.

  python -m pretrain program --config=configs/mae_prepretrain/fashion_mnist.py --workdir=runs/mae_prepretrain
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.program = dict(name='mae_prepretrain', test=dict(name='fashion_mnist', split='test'))
  source = dict(name='fashion_mnist', split='train')
  run = dict(
      seed=0, batch=128, checkpoint=dict(every_steps=200), optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05),
      backbone=dict(name='vit', image=28, channels=1, patch=4, width=96, depth=3, heads=2, mlp=192, pool='mean',
                    positions='sincos', mean=(0.286,), std=(0.353,)))
  c.prepretrain = run | dict(
      source=source, views=dict(name='mae', size=28, scale=(0.4, 1.0)), steps=800,
      objective=dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2, standardize=True),
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=80))
  c.pretrain = run | dict(
      source=source, labels=dict(per_class=25, seed=0), views=dict(name='supervised', size=28, pad=2, flip=0.5),
      objective=dict(name='supervised', classes=10), steps=300,
      schedule=dict(name='cosine', peak=1e-3, warmup_steps=30))
  return c
