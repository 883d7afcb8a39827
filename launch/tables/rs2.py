"""Fresh random subsets in each epoch against one fixed subset, at the same budget: arXiv:2305.18424.

  python -m launch.table launch/tables/rs2.py run --workers=2
"""
SHORT = {'steps': 400, 'schedule.warmup_steps': 30, 'checkpoint.every_steps': 400, 'evaluate.every_steps': 0,
         'evaluate.baselines': False, 'evaluate.pictures': False, 'backbone.stem': 'imagenet'}
SHARES = (0.02, 0.1, 0.3)


def get_table():
  row = lambda **overrides: dict(config='configs/supervised.py:fashion_mnist', overrides=overrides)
  return dict(
      title='Repeated random subsets (RS2) against a fixed one, over the share of the data',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a residual network of three blocks whose stem '
              'quarters the sides, 400 steps of 128 whatever the share; the fixed subset is balanced; without '
              'replacement the share changes no number here, as it changes the length of a round alone. The paper: '
              'CIFAR, ImageNet, ResNet-18, 200 rounds.',
      rows={
          'RS2 without replacement': row(subset=dict(fraction=0.1, replacement=False)),
          **{f'RS2 with replacement, {share}': row(subset=dict(fraction=share, replacement=True)) for share in SHARES},
          **{f'fixed subset, {share}': row(labels=dict(per_class=int(1000 * share), seed=0)) for share in SHARES},
      },
      shared=SHORT, seeds=(0, 1, 2, 3, 4),
      metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'})
