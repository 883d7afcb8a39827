"""Training with few labels, from scratch and from MAE's encoder: what arXiv:2303.13496 claims, for two CPU cores.

  python -m launch.table launch/tables/mae_prepretrain.py run --workers=2
"""
PROGRAM = dict(config='configs/mae_prepretrain.py:fashion_mnist', command='program')
NO_MAE = {'prepretrain.steps': 1, 'prepretrain.schedule.warmup_steps': 0, 'prepretrain.schedule.peak': 0.0}


def get_table():
  return dict(
      title='Accuracy of a ViT over labels a class, with and without MAE before them',
      differs='10,000 images of Fashion-MNIST, a ViT of three blocks, 800 steps of MAE (or one of rate 0), 300 with '
              'labels; the paper: three billion images with hashtags, ViTs of up to 6.5 billion parameters.',
      rows={'MAE, then labels': PROGRAM, 'labels alone': PROGRAM | dict(overrides=NO_MAE)},
      columns={str(count): {'pretrain.labels.per_class': count} for count in (4, 25)},
      seeds=(0, 1, 2, 3, 4),
      seed_keys=('prepretrain.seed', 'pretrain.seed', 'pretrain.labels.seed'),
      metrics={'accuracy': 'stages/pretrain/accuracy'})
